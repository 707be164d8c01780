/** Part 3: many followers of one live log. */
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { LINE_BYTES } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { addLatencies, latenciesOf, type Load } from "./helpers/pace.ts";

interface Pace {
  name: string;
  burstBytes: number;
  intervalMs: number;
}

const LINES: Pace = { name: "20 lines/s", burstBytes: LINE_BYTES, intervalMs: 50 };
const BULK: Pace = { name: "5 MB/s", burstBytes: 250_000, intervalMs: 50 };
const FOLLOW_PROCESSES = 2;

export const fanout: Part = {
  name: "fanout",
  title: "many followers of one live log",
  async run(bench) {
    const repeats = bench.size(3, 1, 1);
    for (const pace of [LINES, BULK]) {
      for (const followers of followersOf(bench, pace)) {
        const what = `${followers} followers at ${pace.name}`;
        await bench.repeat(repeats, what, () => measure(bench, pace, followers));
      }
    }
  },
};

/** A thousand at 5 MB/s are 5 GB/s: more than a loopback of two cores carries, so the quick form does without. */
function followersOf(bench: Bench, pace: Pace): number[] {
  const bulk = bench.size([1, 100, 1000], [100], [2]);
  return pace === BULK ? bulk : bench.size([1, 100, 1000], [1, 1000], [2]);
}

async function measure(bench: Bench, pace: Pace, followers: number): Promise<void> {
  const seconds = bench.size(5, 4, 0.5);
  const server = await bench.startServer();
  await measureOn(bench, server, pace, followers, seconds, "");
  if (pace !== LINES || !bench.program!.yardsticks) return;
  await measureOn(bench, await bench.startRelay(), pace, followers, seconds, ", bare relay");
}

/** One load on one server, which is stopped. */
async function measureOn(
  bench: Bench,
  server: Server,
  { name, burstBytes, intervalMs }: Pace,
  followers: number,
  seconds: number,
  suffix: string,
): Promise<void> {
  try {
    const bursts = Math.ceil(seconds * 1000 / intervalMs);
    const load: Load = {
      // What our library computes for each follower is not what this part is about.
      ...{ client: "thin", server: server.url, uploads: 1, followers },
      ...{ burstBytes, intervalMs, bursts, followProcesses: FOLLOW_PROCESSES },
    };
    const before = new Meter(server.pid).read().rssMB;
    let meter!: Meter;
    const paced = await latenciesOf(bench, load, () => meter = new Meter(server.pid));
    const { cpuSeconds, peakRssMB } = meter.read();
    const [written] = paced.writtenAtMs;
    const figure = `${followers} × ${name}${suffix}`;
    const late = paced.arrivedAtMs.flatMap((all) => all.map((at, index) => at - written[index]));
    addLatencies(bench, figure, late);
    const behind = Math.max(...paced.arrivedAtMs.map(({ length }) => bursts - length));
    bench.add(`${figure}, slowest follower misses`, "bursts", behind);
    bench.add(`${figure}, CPU of the server`, "cores", cpuSeconds / seconds);
    bench.add(`${figure}, CPU of the clients`, "cores", paced.cpuSeconds / seconds);
    bench.add(`${figure}, RSS`, "KB/follower", (peakRssMB - before) * 1e3 / followers);
  } finally {
    await server.stop();
  }
}
