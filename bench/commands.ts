/** Part 9: the commands as people run them, with all data in memory. */
import { rm } from "node:fs/promises";
import { type Bench, memoryPath, type Part, type Server } from "./helpers/bench.ts";
import { makeFile } from "./helpers/content.ts";
import { cpuSecondsOfEnded, Meter } from "./helpers/meter.ts";
import { Process } from "./helpers/processes.ts";
import { measureCurl } from "./yardsticks/peers.ts";

const MIB = 1024 * 1024;
const TIMEOUT_MS = 10 * 60_000;

export const commands: Part = {
  name: "commands",
  title: "`push FILE`, `serve` and `follow -o /dev/null`, with file and data in memory",
  async run(bench) {
    const file = await makeFile(memoryPath(), bytesOf(bench));
    await bench.repeat(bench.size(5, 3, 1), "all three", () => measure(bench, file));
    await rm(file.path);
  },
  async others(bench) {
    // A smoke run installs nothing.
    if (bench.extent === "smoke") return;
    const file = await makeFile(memoryPath(), bytesOf(bench));
    await measureCurl(bench, file);
    await rm(file.path);
  },
};

function bytesOf(bench: Bench): number {
  return bench.size(2048, 1024, 4) * MIB;
}

async function measure(bench: Bench, file: { path: string; bytes: number }): Promise<void> {
  const directory = memoryPath();
  const server = await bench.startServer(directory);
  try {
    await transfer(bench, server, file);
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Processor time is that of whole processes; only of the server it begins with the transfer. */
async function transfer(
  bench: Bench,
  server: Server,
  { path, bytes }: { path: string; bytes: number },
): Promise<void> {
  const stream = bench.command;
  const gib = bytes / 1024 ** 3;
  const meter = new Meter(server.pid);
  const beforeSeconds = cpuSecondsOfEnded();
  const startedAtMs = performance.now();
  const pushing = new Process([...stream, "push", path, "--binary", "--server", server.url]);
  const reference = await pushing.line();
  const following = new Process([...stream, "follow", reference, "-o", "/dev/null"]);
  await Promise.all([pushing.end(TIMEOUT_MS), following.end(TIMEOUT_MS)]);
  const liveMs = performance.now() - startedAtMs;
  const clientSeconds = cpuSecondsOfEnded() - beforeSeconds;
  const { cpuSeconds, peakRssMB } = meter.read();
  bench.add("push + follow", "MB/s moved", 2 * bytes / 1e3 / liveMs);
  bench.add("CPU of push + serve + follow", "s/GiB", (clientSeconds + cpuSeconds) / gib);
  bench.add("CPU of push + follow", "s/GiB", clientSeconds / gib);
  bench.add("CPU of serve", "s/GiB", cpuSeconds / gib);
  bench.add("peak RSS of serve", "MB", peakRssMB);
  const againAtMs = performance.now();
  const again = new Process([...stream, "follow", reference, "-o", "/dev/null"]);
  await again.end(TIMEOUT_MS);
  bench.add("follow again", "MB/s", bytes / 1e3 / (performance.now() - againAtMs));
}
