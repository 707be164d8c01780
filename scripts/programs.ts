/** Programs that tests start, and how they come onto a machine. */
import { run } from "./run.ts";

/** Every such program that is not on every Debian machine, and its package; a test that needs another adds it here. */
const PROGRAMS = [
  { name: "chromium", debian: "chromium" },
  { name: "curl", debian: "curl" },
  { name: "logrotate", debian: "logrotate" },
  { name: "nginx", debian: "nginx-light" },
  { name: "openssl", debian: "openssl" },
];

const installLimitMs = 5 * 60_000;

/** The engine of clusters: Debian's stable one is too old, so the newest is unpacked here, and installed nowhere. */
const ENGINE = "nats-server";
const engineDirectory = "dist/engine";
const engineProgram = `${engineDirectory}/root/usr/sbin/${ENGINE}`;

/** Makes sure that all are there; installs them where that needs nobody. False says that it was told what to do. */
export async function ensurePrograms(): Promise<boolean> {
  if (missing().length === 0) return true;
  const asRoot = await aptAsRoot();
  if (asRoot !== null) await install(asRoot);
  const names = missing().map(({ name }) => name).join(", ");
  if (names === "") return true;
  const packages = missing().map(({ debian }) => debian).join(" ");
  console.error(`tests need ${names}: install that first (Debian: apt-get install ${packages})`);
  return false;
}

/**
 * Makes sure that the engine of clusters is there: the one that STREAM_NATS names, or the newest of Debian.
 * @returns Where it is; null when it could not be had, which was told.
 */
export async function ensureEngine(): Promise<string | null> {
  const named = Deno.env.get("STREAM_NATS");
  if (named !== undefined) return named;
  if (!isExecutable(engineProgram) && !await unpackEngine()) {
    console.error(`tests need ${ENGINE} 2.12 or newer: name it in STREAM_NATS`);
    return null;
  }
  return await Deno.realPath(engineProgram);
}

/** Asks the machine's own mirror for Debian's newest, with settings that change nothing else. */
async function unpackEngine(): Promise<boolean> {
  const mirror = debianMirror();
  if (mirror === null || !await works(["apt-get", "--version"])) return false;
  for (const part of ["lists/partial", "cache/archives/partial", "root"]) {
    await Deno.mkdir(`${engineDirectory}/${part}`, { recursive: true });
  }
  const at = await Deno.realPath(engineDirectory);
  await Deno.writeTextFile(`${at}/sources.list`, `deb ${mirror} sid main\n`);
  const settings = [
    ...["-o", `Dir::Etc::SourceList=${at}/sources.list`, "-o", "Dir::Etc::SourceParts=/dev/null"],
    ...["-o", `Dir::State::Lists=${at}/lists`, "-o", `Dir::Cache=${at}/cache`],
    ...["-o", "APT::Sandbox::User=root"],
  ];
  console.log(`set-up: apt-get download ${ENGINE}`);
  const shell = [
    `cd "$0" && apt-get -qq "$@" update && apt-get -qq "$@" download ${ENGINE}`,
    `dpkg-deb -x ${ENGINE}_*.deb root && rm -r lists cache`,
  ].join(" && ");
  return await run(["sh", "-c", shell, at, ...settings], { limitMs: installLimitMs }) &&
    isExecutable(engineProgram);
}

/** Where this machine gets Debian from. */
function debianMirror(): string | null {
  const files = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
  const texts = files.flatMap((path) => {
    try {
      return [Deno.readTextFileSync(path)];
    } catch {
      return [];
    }
  });
  return /^(?:URIs:|deb) +(https?:\S+\/debian\/?)(?:\s|$)/m.exec(texts.join("\n"))?.[1] ?? null;
}

function missing(): typeof PROGRAMS {
  // Debian keeps servers where only root looks.
  const directories = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin"];
  return PROGRAMS.filter(({ name }) =>
    !directories.some((directory) => isExecutable(`${directory}/${name}`))
  );
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** The words before apt-get, where it can be used without asking; else null. */
async function aptAsRoot(): Promise<string[] | null> {
  if (!await works(["apt-get", "--version"])) return null;
  if (Deno.uid() === 0) return [];
  return await works(["sudo", "-n", "true"]) ? ["sudo", "-n"] : null;
}

async function works([command, ...args]: string[]): Promise<boolean> {
  try {
    const settings = { args, stdin: "null", stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, settings).output()).success;
  } catch {
    return false;
  }
}

async function install(asRoot: string[]): Promise<void> {
  const packages = missing().map(({ debian }) => debian);
  console.log(`set-up: apt-get install ${packages.join(" ")}`);
  const apt = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"];
  await run([...apt, "update"], { limitMs: installLimitMs });
  const words = [...apt, "install", "-y", "--no-install-recommends", ...packages];
  await run(words, { limitMs: installLimitMs });
}
