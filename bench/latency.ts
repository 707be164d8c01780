/** Part 2: from the write of a line to its arrival at a follower. */
import type { PaceJob } from "./clients/jobs.ts";
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { LINE_BYTES } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { addLatencies, latenciesOf } from "./helpers/pace.ts";
import { percentile } from "./helpers/statistics.ts";

/** Lines of the last burst before a silence. */
const TRAILING_LINES = 50;
/** Bursts are written at a whole number of milliseconds. */
const FAST_INTERVAL_MS = 1;

const ONE_TO_ONE = { client: "library" as const, uploads: 1, followers: 1 };

export const latency: Part = {
  name: "latency",
  title: "from the write of a line to its arrival at one follower",
  async run(bench) {
    await bench.repeat(bench.size(3, 1, 1), "all paces", () => measure(bench));
  },
};

async function measure(bench: Bench): Promise<void> {
  const server = await bench.startServer();
  const relay = bench.program!.yardsticks ? await bench.startRelay() : null;
  try {
    const slow = { intervalMs: 100, bursts: bench.size(200, 80, 5) };
    const fast = { intervalMs: FAST_INTERVAL_MS, bursts: bench.size(8000, 4000, 200) };
    await measureOne(bench, "10 lines/s", server, slow);
    if (relay) await measureOne(bench, "10 lines/s, bare relay", relay, half(slow));
    await measureOne(bench, "1000 lines/s", server, fast);
    if (relay) await measureOne(bench, "1000 lines/s, bare relay", relay, half(fast));
    await measureTrailing(bench, server);
  } finally {
    await server.stop();
    await relay?.stop();
  }
}

type Pace = Pick<PaceJob, "intervalMs" | "bursts">;

/** The yardstick needs less time. */
function half({ intervalMs, bursts }: Pace): Pace {
  return { intervalMs, bursts: Math.ceil(bursts / 2) };
}

async function measureOne(
  bench: Bench,
  name: string,
  { url, pid }: Server,
  pace: Pace,
): Promise<void> {
  const load = { ...ONE_TO_ONE, server: url, burstBytes: LINE_BYTES, ...pace };
  let meter!: Meter;
  const paced = await latenciesOf(bench, load, () => meter = new Meter(pid));
  const { cpuSeconds } = meter.read();
  const [written] = paced.writtenAtMs;
  addLatencies(bench, name, paced.arrivedAtMs[0].map((at, index) => at - written[index]));
  const seconds = pace.bursts * pace.intervalMs / 1000;
  bench.add(`${name}, CPU of the server`, "ms/s", cpuSeconds * 1000 / seconds);
  bench.add(`${name}, CPU of the clients`, "ms/s", paced.cpuSeconds * 1000 / seconds);
}

/** The last burst of a busy time, after which the uploader is silent. */
async function measureTrailing(bench: Bench, { url }: Server): Promise<void> {
  const times: number[] = [];
  for (let count = 0; count < bench.size(6, 5, 1); count++) {
    const trailing = { burstBytes: TRAILING_LINES * LINE_BYTES, silenceMs: 300 };
    const pace = { intervalMs: FAST_INTERVAL_MS, bursts: bench.size(500, 300, 100), trailing };
    const run = await latenciesOf(bench, {
      ...ONE_TO_ONE,
      server: url,
      burstBytes: LINE_BYTES,
      ...pace,
    });
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
