/** Programs that tests start, and how they come onto a machine. */
import { NATS_DIRECTORY, NATS_SERVER } from "../tests/helpers/nats_server.ts";
import { run } from "./run.ts";

/** Every such program that is not on every Debian machine, and its package; a test that needs another adds it here. */
const PROGRAMS = [
  { name: "chromium-headless-shell", debian: "chromium-headless-shell" },
  { name: "curl", debian: "curl" },
  { name: "fish", debian: "fish" },
  { name: "logrotate", debian: "logrotate" },
  { name: "nginx", debian: "nginx-light" },
  { name: "openssl", debian: "openssl" },
  { name: "zsh", debian: "zsh" },
];

const installLimitMs = 5 * 60_000;

/** Debian's release with a nats-server that can do what a cluster needs (docs/cluster.md). */
const NATS_RELEASE = "sid";

/** Makes sure that nats-server is there: unpacked beside the machine's own programs, not installed. False says that it was told what to do. */
export async function ensureNatsServer(): Promise<boolean> {
  if (isExecutable(NATS_SERVER)) return true;
  console.log(`set-up: nats-server of Debian ${NATS_RELEASE}, into ${NATS_DIRECTORY}`);
  const script = new URL("nats_server.sh", import.meta.url).pathname;
  await run(["bash", script, NATS_RELEASE, NATS_DIRECTORY], { limitMs: installLimitMs });
  if (isExecutable(NATS_SERVER)) return true;
  console.error("tests need nats-server 2.12 or newer: name one in STREAM_NATS");
  return false;
}

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
