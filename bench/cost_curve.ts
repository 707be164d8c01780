/** Part 6: what a byte and a follower cost, from few to many; the curves are to be flat. */
import type { Bench, Part } from "./helpers/bench.ts";
import { blockOf, blocksFor, LINE_BYTES } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { latenciesOf } from "./helpers/pace.ts";
import { percentile } from "./helpers/statistics.ts";

const GIB = 1024 ** 3;
/** Lines that are followed: 20 a second. */
const INTERVAL_MS = 50;
/** Sockets of one process stay far below its limit of open files. */
const FOLLOWERS_PER_PROCESS = 2500;

export const costCurve: Part = {
  name: "cost",
  title: "cost of a byte against size, and of a follower against their number",
  async run(bench) {
    for (const gib of bench.size([0.1, 1, 10], [0.1, 1], [0.01])) {
      for (let count = 0; count < bench.size(gib > 1 ? 1 : 3, 1, 1); count++) {
        await bench.attempt(`${gib} GiB`, () => measureSize(bench, gib));
      }
    }
    for (const followers of bench.size([1, 10, 100, 1000, 5000], [10, 1000], [2])) {
      await bench.attempt(`${followers} followers`, () => measureFollowers(bench, followers));
    }
  },
};

async function measureSize(bench: Bench, gib: number): Promise<void> {
  const server = await bench.startServer();
  try {
    const blocks = blocksFor("lines", gib * GIB);
    const gigabytes = blocks * blockOf("lines").length / 1e9;
    const meter = new Meter(server.pid);
    const job = { do: "upload" as const, client: "thin" as const, server: server.url };
    const uploader = await bench.startClient<"upload">({ ...job, form: "lines", blocks });
    const [reference] = uploader.ready.references;
    const follower = await bench.startClient<"follow">({ do: "follow", client: "thin", reference });
    const following = follower.go();
    const [upload, follow] = await Promise.all([uploader.go(), following]);
    const { cpuSeconds, peakRssMB } = meter.read();
    const ms = Math.max(upload.endedAtMs, follow.endedAtMs) - upload.startedAtMs;
    bench.add(`${gib} GiB of lines, upload + follow`, "s/GB", ms / 1e3 / gigabytes);
    bench.add(`${gib} GiB of lines, CPU of the server`, "s/GB", cpuSeconds / gigabytes);
    bench.add(`${gib} GiB of lines, peak RSS of the server`, "MB", peakRssMB);
  } finally {
    await server.stop();
  }
}

async function measureFollowers(bench: Bench, followers: number): Promise<void> {
  const seconds = bench.size(10, 3, 0.5);
  const server = await bench.startServer();
  try {
    const before = new Meter(server.pid).read().rssMB;
    const load = {
      ...{ client: "thin" as const, server: server.url, uploads: 1, followers },
      ...{ burstBytes: LINE_BYTES, intervalMs: INTERVAL_MS },
      bursts: Math.ceil(seconds * 1000 / INTERVAL_MS),
      followProcesses: Math.ceil(followers / FOLLOWERS_PER_PROCESS),
    };
    let meter!: Meter;
    const paced = await latenciesOf(bench, load, () => meter = new Meter(server.pid));
    const { cpuSeconds, peakRssMB } = meter.read();
    const [written] = paced.writtenAtMs;
    const late = Float64Array.from(
      paced.arrivedAtMs.flatMap((all) => all.map((at, index) => at - written[index])),
    ).sort();
    const name = `${followers} followers at 20 lines/s`;
    bench.add(`${name}, p99`, "ms", percentile(late, 0.99));
    bench.add(`${name}, CPU of the server`, "µs/line and follower", cpuSeconds * 1e6 / late.length);
    bench.add(`${name}, RSS`, "KB/follower", (peakRssMB - before) * 1e3 / followers);
  } finally {
    await server.stop();
  }
}
