/**
 * Throughput and latency of a server on its own process, with medians: `deno task bench`, `bench:quick`.
 *
 * Times on a shared machine say little by themselves; compare runs of one evening.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { follow, push } from "../mod.ts";

const quick = process.argv.includes("--quick");
const SCENARIO_BYTES = (quick ? 256 : 2048) * 1024 * 1024;
const REPEATS = quick ? 3 : 5;
const LINES = quick ? 50 : 200;

/** The executable itself: npx would stay between us and what is measured. */
const bun = execFileSync("npx", ["-y", "bun@1", "-p", "process.execPath"], { encoding: "utf8" });

const SERVERS: Record<string, string[]> = {
  deno: [process.execPath, "run", "-A", "cli.ts"],
  bun: [bun.trim(), "cli.ts"],
};

for (const [name, command] of Object.entries(SERVERS)) {
  const directory = await mkdtemp(join(tmpdir(), "stream-bench-"));
  const server = await start(command, directory);
  try {
    const scenarios = [];
    for (let run = 0; run < REPEATS; run++) scenarios.push(await scenario(server.url));
    const latencies = (await latency(server.url)).toSorted((a, b) => a - b);
    console.log(JSON.stringify({
      server: name,
      bytes: SCENARIO_BYTES,
      uploadAndFollowMBs: median(scenarios.map(({ live }) => live)),
      downloadMBs: median(scenarios.map(({ again }) => again)),
      latencyP50Ms: at(latencies, 0.5),
      latencyP99Ms: at(latencies, 0.99),
      serverPeak: await peakMemory(server.child),
    }));
  } finally {
    server.child.kill("SIGTERM");
    await once(server.child, "exit");
    await rm(directory, { recursive: true, force: true });
  }
}
process.exit(0);

async function start(
  [program, ...args]: string[],
  directory: string,
): Promise<{ child: ChildProcess; url: string }> {
  const options = ["serve", "--port", "0", "--data", join(directory, "data")];
  const child = spawn(program, [...args, ...options], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = await once(createInterface(child.stdout!), "line");
  return { child, url: String(line).replace("listening on ", "") };
}

/** An upload with a parallel follower, and a second download; MB/s of all bytes moved. */
async function scenario(url: string): Promise<{ live: number; again: number }> {
  const startedAt = performance.now();
  const upload = await push(url, {
    filename: "bench.bin",
    mimeType: "application/octet-stream",
    supportsLineAccess: false,
  });
  const following = count(follow(upload.reference));
  const writer = upload.writable.getWriter();
  const chunk = new Uint8Array(64 * 1024).fill(7);
  for (let sent = 0; sent < SCENARIO_BYTES; sent += chunk.length) await writer.write(chunk);
  await writer.close();
  await following;
  const middle = performance.now();
  await count(follow(upload.reference));
  const end = performance.now();
  return {
    live: 2 * SCENARIO_BYTES / 1e3 / (middle - startedAt),
    again: SCENARIO_BYTES / 1e3 / (end - middle),
  };
}

async function count(bytes: ReadableStream<Uint8Array>): Promise<number> {
  let size = 0;
  for await (const chunk of bytes) size += chunk.length;
  return size;
}

/** Time from the write of a line to its arrival at a follower, 10 lines/s, in ms. */
async function latency(url: string): Promise<number[]> {
  const metadata = { filename: "l.log", mimeType: "text/plain", supportsLineAccess: true };
  const upload = await push(url, metadata);
  const reader = follow(upload.reference).getReader();
  const writer = upload.writable.getWriter();
  const times: number[] = [];
  for (let line = 0; line < LINES; line++) {
    const writtenAt = performance.now();
    await Promise.all([writer.write(new TextEncoder().encode(`line ${line}\n`)), reader.read()]);
    times.push(performance.now() - writtenAt);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await writer.close();
  await reader.cancel();
  return times;
}

async function peakMemory({ pid }: ChildProcess): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return /VmHWM:\s*(.+)/.exec(status)?.[1] ?? "unknown";
}

function median(values: number[]): number {
  return at(values.toSorted((a, b) => a - b), 0.5);
}

function at(sorted: number[], share: number): number {
  return Math.round(sorted[Math.floor((sorted.length - 1) * share)] * 100) / 100;
}
