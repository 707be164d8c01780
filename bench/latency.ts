/** Part 2: from the write of a line to its arrival at a follower. */
import type { Client } from "./clients/connections.ts";
import type { PaceJob } from "./clients/jobs.ts";
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { LINE_BYTES } from "./helpers/content.ts";
import { addLatencies, latenciesOf } from "./helpers/pace.ts";
import { percentile } from "./helpers/statistics.ts";

/** Lines of the last burst before a silence. */
const TRAILING_LINES = 50;
/** Bursts are written at a whole number of milliseconds. */
const FAST_INTERVAL_MS = 1;

export const latency: Part = {
  name: "latency",
  title: "from the write of a line to its arrival at one follower",
  async run(bench) {
    const repeats = bench.size(3, 1, 1);
    for (let count = 1; count <= repeats; count++) {
      await bench.attempt(`${count} of ${repeats}`, () => measure(bench));
    }
  },
};

async function measure(bench: Bench): Promise<void> {
  const server = await bench.startServer();
  const relay = await bench.startRelay();
  try {
    const secondsSlow = bench.size(60, 20, 1), secondsFast = bench.size(20, 5, 0.5);
    const slow = { intervalMs: 100, bursts: Math.ceil(secondsSlow * 10) };
    const fast = { intervalMs: FAST_INTERVAL_MS, bursts: Math.ceil(secondsFast * 1000) };
    await measureOne(bench, "10 lines/s", server, "library", slow);
    await measureOne(bench, "10 lines/s, bare relay", relay, "library", slow);
    await measureOne(bench, "1000 lines/s", server, "library", fast);
    await measureOne(bench, "1000 lines/s, bare relay", relay, "library", fast);
    await measureTrailing(bench, server);
  } finally {
    await server.stop();
    await relay.stop();
  }
}

type Pace = Pick<PaceJob, "intervalMs" | "bursts" | "trailing">;

async function measureOne(
  bench: Bench,
  name: string,
  { url }: Server,
  client: Client,
  pace: Pace,
): Promise<void> {
  const load = { client, server: url, uploads: 1, followers: 1, burstBytes: LINE_BYTES, ...pace };
  const { writtenAtMs, arrivedAtMs } = await latenciesOf(bench, load);
  addLatencies(bench, name, arrivedAtMs[0].map((at, index) => at - writtenAtMs[0][index]));
}

/** The last burst of a busy time, after which the uploader is silent. */
async function measureTrailing(bench: Bench, { url }: Server): Promise<void> {
  const times: number[] = [];
  for (let count = 0; count < bench.size(20, 10, 2); count++) {
    const trailing = { burstBytes: TRAILING_LINES * LINE_BYTES, silenceMs: 300 };
    const pace = { intervalMs: FAST_INTERVAL_MS, bursts: bench.size(500, 300, 100), trailing };
    const load = { client: "library" as const, server: url, uploads: 1, followers: 1 };
    const run = await latenciesOf(bench, { ...load, burstBytes: LINE_BYTES, ...pace });
    const [written, arrived] = [run.writtenAtMs[0].at(-1)!, run.arrivedAtMs[0].at(-1)!];
    if (run.arrivedAtMs[0].length !== pace.bursts + 1) {
      throw new Error("a last burst did not arrive");
    }
    times.push(arrived - written);
  }
  const sorted = times.toSorted((a, b) => a - b);
  bench.add("last burst before silence, p50", "ms", percentile(sorted, 0.5));
  bench.add("last burst before silence, longest", "ms", percentile(sorted, 1));
}
