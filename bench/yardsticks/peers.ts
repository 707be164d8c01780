/**
 * Yardsticks from npm: piping-server, `@durable-streams/server` and `@tus/server`, on Node, with the clients their
 * authors recommend. They are installed beside, once, and are no dependencies of this project.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Bench, temporaryPath } from "../helpers/bench.ts";
import { Meter } from "../helpers/meter.ts";
import { Process, ROOT } from "../helpers/processes.ts";
import { accepts, freePort } from "./nginx.ts";

/** What was measured is written beside the figures. */
export const PEERS = [
  "piping-server@1.12.9",
  "@durable-streams/server@0.3.7",
  "@durable-streams/client@0.2.7",
  "@tus/server@2.4.5",
  "@tus/file-store@2.1.1",
  "tus-js-client@4.3.1",
];

const INSTALLED = join(tmpdir(), `stream-bench-peers-${PEERS.join("+").replace(/[^\w.-]+/g, "-")}`);
const run = promisify(execFile);
/** Longer than the slowest of them takes for a gigabyte. */
const TIMEOUT_MS = 5 * 60_000;

/** A file that is sent. */
export interface File {
  path: string;
  bytes: number;
}

/** All of them, one after the other. */
export async function measurePeers(bench: Bench, file: File): Promise<void> {
  const repeats = bench.size(3, 1, 1);
  await bench.attempt(`install ${PEERS.join(" ")}`, install);
  for (let count = 1; count <= repeats; count++) {
    await bench.attempt("piping-server", () => measurePiping(bench, file));
    await bench.attempt("@durable-streams/server", () => measureScript(bench, "durable", file));
    await bench.attempt("@tus/server", () => measureScript(bench, "tus", file));
  }
}

/** The one that is nearest to our commands. */
export async function measureCurl(bench: Bench, file: File): Promise<void> {
  await bench.attempt(`install ${PEERS.join(" ")}`, install);
  for (let count = 1; count <= bench.size(3, 3, 1); count++) {
    await bench.attempt("piping-server", () => measurePiping(bench, file));
  }
}

/** Installs what is missing into a temporary directory. */
export async function install(): Promise<void> {
  if (existsSync(INSTALLED)) return;
  // Whoever is interrupted leaves no half of it.
  const beside = temporaryPath();
  await mkdir(beside, { recursive: true });
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefix", beside, ...PEERS]);
  await rename(beside, INSTALLED);
}

/** curl sends while curl receives; nothing is stored. */
async function measurePiping(bench: Bench, { path, bytes }: File): Promise<void> {
  const port = await freePort();
  const script = join(INSTALLED, "node_modules/piping-server/dist/src/index.js");
  const server = new Process(["node", script, "--host", "127.0.0.1", "--http-port", String(port)]);
  try {
    await accepts(port);
    const meter = new Meter(server.pid);
    const url = `http://127.0.0.1:${port}/bench`;
    const startedAtMs = performance.now();
    const format = "%{size_download}";
    const receiving = run("curl", ["-sSf", "-o", "/dev/null", "-w", format, url]);
    await Promise.all([run("curl", ["-sSf", "-T", path, url]), receiving]);
    const ms = performance.now() - startedAtMs;
    const received = Number((await receiving).stdout);
    if (received !== bytes) throw new Error(`${received} of ${bytes} bytes arrived`);
    bench.add("piping-server: upload + follow", "MB/s moved", 2 * bytes / 1e3 / ms);
    bench.add("piping-server: peak RSS", "MB", meter.read().peakRssMB);
  } finally {
    await server.stop();
  }
}

/** Protocols with a script that serves them, and one that does the work. */
export type Protocol = "durable" | "tus" | "tusByCurl";
const WORK = {
  durable: "@durable-streams: upload + follow",
  tus: "tus: upload",
  tusByCurl: "tus: upload by curl",
};
const SCRIPTS = { durable: "durable", tus: "tus", tusByCurl: "tus" };

function scriptOf(protocol: Protocol, part: "server" | "client" | "append"): string {
  return join(ROOT, "bench/yardsticks", `${SCRIPTS[protocol]}_${part}.mjs`);
}

/** A script here that starts its server, says so, and does the work when it is told to. */
export async function measureScript(bench: Bench, protocol: Protocol, file: File): Promise<void> {
  const directory = temporaryPath();
  await mkdir(directory, { recursive: true });
  const server = new Process(["node", scriptOf(protocol, "server"), INSTALLED, directory]);
  try {
    const url = await addressOf(server);
    const meter = new Meter(server.pid);
    const path = { durable: "", tus: "/files", tusByCurl: "/files" }[protocol];
    await measureClient(bench, protocol, url + path, file);
    bench.add(`${WORK[protocol]}, peak RSS`, "MB", meter.read().peakRssMB);
  } finally {
    await server.stop();
  }
}

/** Has the client of a protocol do its work with a server. */
export async function measureClient(
  bench: Bench,
  protocol: Protocol,
  url: string,
  file: File,
): Promise<void> {
  const sender = protocol === "tusByCurl" ? ["curl"] : [];
  const script = scriptOf(protocol, "client");
  const client = new Process(["node", script, INSTALLED, url, file.path, ...sender]);
  const { ms, movedBytes, isComplete } = JSON.parse(await client.line(TIMEOUT_MS));
  await client.end(TIMEOUT_MS);
  const suffix = isComplete ? "" : ", cut off after 30 s";
  bench.add(`${WORK[protocol]}${suffix}`, "MB/s moved", movedBytes / 1e3 / ms);
}

/** Appends little, again and again, to a durable stream. */
export async function measureAppends(bench: Bench, url: string): Promise<void> {
  const count = bench.size(3000, 3000, 10);
  const client = new Process(["node", scriptOf("durable", "append"), url, String(count)]);
  const { p50Ms, p99Ms } = JSON.parse(await client.line(TIMEOUT_MS));
  await client.end(TIMEOUT_MS);
  bench.add("small append, p50", "ms", p50Ms);
  bench.add("small append, p99", "ms", p99Ms);
}

/** Where it listens; servers say other things before. */
async function addressOf(server: Process): Promise<string> {
  for (;;) {
    const [, url] = /^listening on (.+)$/.exec(await server.line()) ?? [];
    if (url !== undefined) return url;
  }
}
