/** Part 4: many live uploads at once, each with a follower. */
import type { Bench, Part } from "./helpers/bench.ts";
import { LINE_BYTES } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { addLatencies, latenciesOf } from "./helpers/pace.ts";

const FOLLOW_PROCESSES = 2;

export const many: Part = {
  name: "many",
  title: "many live uploads of 10 lines/s at once, each with a follower",
  async run(bench) {
    await bench.repeat(bench.size(3, 1, 1), "all uploads", () => measure(bench));
  },
};

async function measure(bench: Bench): Promise<void> {
  const uploads = bench.size(500, 500, 20);
  const seconds = bench.size(15, 6, 1);
  const intervalMs = 100, bursts = Math.ceil(seconds * 1000 / intervalMs);
  const server = await bench.startServer();
  try {
    const load = {
      ...{ client: "library" as const, server: server.url, uploads, followers: 1 },
      ...{ burstBytes: LINE_BYTES, intervalMs, bursts, followProcesses: FOLLOW_PROCESSES },
    };
    let meter!: Meter;
    const paced = await latenciesOf(bench, load, () => meter = new Meter(server.pid));
    const { cpuSeconds, peakRssMB } = meter.read();
    const late = paced.arrivedAtMs.flatMap((all, upload) =>
      all.map((at, index) => at - paced.writtenAtMs[upload][index])
    );
    addLatencies(bench, `${uploads} uploads`, late);
    const missing = uploads * bursts - late.length;
    bench.add(`${uploads} uploads, lines that did not arrive`, "lines", missing);
    bench.add(`${uploads} uploads, CPU of the server`, "cores", cpuSeconds / seconds);
    bench.add(`${uploads} uploads, CPU of the clients`, "cores", paced.cpuSeconds / seconds);
    bench.add(`${uploads} uploads, peak RSS of the server`, "MB", peakRssMB);
  } finally {
    await server.stop();
  }
}
