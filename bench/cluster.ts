/** Part 9: several nodes on an engine of three members, all on this machine, with the local disk beside them. */
import { EngineCluster } from "../tests/cluster/engine.ts";
import { DOWNLOAD_PATH, parseReference } from "../src/protocol.ts";
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { blockOf, blocksFor, LINE_BYTES } from "./helpers/content.ts";
import { addLatencies, latenciesOf } from "./helpers/pace.ts";
import { Process } from "./helpers/processes.ts";

const MIB = 1024 * 1024;
/** Room of the engine, and of all logs in it: a log has no more than its shard. */
const ROOM = { fileStore: "200GB", logs: "90GB" };
const SETUP_MS = 60_000;
const RANGE_BYTES = 64 * 1024;
const LINE_INTERVAL_MS = 20;
const SLOW_LINE_INTERVAL_MS = 100;

/** Where something is written, read by those who follow it, and read by those who never saw it. */
type Places = readonly [writer: Server, reader: Server, other: Server];

export const cluster: Part = {
  name: "cluster",
  title: "three nodes on an engine of three members, and the local disk",
  async run(bench) {
    await bench.attempt("local disk", async () => {
      const server = await bench.startServer();
      try {
        await measure(bench, "local disk", [server, server, server]);
      } finally {
        await server.stop();
      }
    });
    await bench.attempt("engine", () => measureEngine(bench));
  },
};

async function measureEngine(bench: Bench): Promise<void> {
  await using engine = await EngineCluster.start({ fileStore: ROOM.fileStore });
  const words = [...bench.command, "cluster", "init", "--cluster", engine.url, "--size", ROOM.logs];
  const monitors = engine.members.flatMap(({ monitor }) => [
    ...["--monitor", `http://127.0.0.1:${monitor}`],
  ]);
  await new Process([...words, ...monitors]).end(SETUP_MS);
  const nodes: Server[] = [];
  try {
    for (let count = 0; count < 3; count++) {
      const options = ["--cluster", engine.url, "--base-url", "http://cluster.bench"];
      nodes.push(await bench.startServer(undefined, options));
    }
    const [a, b, c] = nodes;
    await measure(bench, "engine", [a, b, c]);
  } finally {
    for (const node of nodes) await node.stop();
  }
}

async function measure(bench: Bench, name: string, [writer, reader, other]: Places): Promise<void> {
  const blocks = blocksFor("binary", bench.size(1024, 384, 4) * MIB);
  const rate = (ms: number, uploads = 1) => uploads * blocks * blockOf("binary").length / 1e3 / ms;
  const upload = { do: "upload" as const, client: "thin" as const, form: "binary" as const };
  await bench.attempt(`${name}: one upload`, async () => {
    const uploader = await bench.startClient<"upload">({ ...upload, blocks, server: writer.url });
    const [reference] = uploader.ready.references;
    const follow = { do: "follow" as const, client: "thin" as const };
    const follower = await bench.startClient<"follow">({
      ...follow,
      reference: at(reader, reference),
    });
    const following = follower.go();
    const [{ startedAtMs }, { endedAtMs }] = await Promise.all([uploader.go(), following]);
    bench.add(`${name}: upload, followed elsewhere`, "MB/s", rate(endedAtMs - startedAtMs));
    const again = await bench.startClient<"follow">({ ...follow, reference: at(other, reference) });
    const read = await again.go();
    bench.add(`${name}: downloaded elsewhere`, "MB/s", rate(read.endedAtMs - read.startedAtMs));
    const random = await bench.startClient<"random">({
      ...{ do: "random", reference: at(other, reference), access: "http", connections: 1 },
      ...{ forMs: bench.size(5000, 3000, 200), bytes: RANGE_BYTES, lines: 1 },
    });
    addLatencies(bench, `${name}: range of 64 KiB`, (await random.go()).latenciesMs);
  });
  const many = bench.size(8, 8, 2);
  await bench.attempt(`${name}: ${many} uploads`, async () => {
    const some = Math.ceil(blocks / many);
    const uploaders = await Promise.all(
      Array.from(
        { length: many },
        () => bench.startClient<"upload">({ ...upload, blocks: some, server: writer.url }),
      ),
    );
    const times = await Promise.all(uploaders.map((uploader) => uploader.go()));
    const startedAtMs = Math.min(...times.map((each) => each.startedAtMs));
    const endedAtMs = Math.max(...times.map((each) => each.endedAtMs));
    bench.add(`${name}: ${many} uploads at a time`, "MB/s", rate(endedAtMs - startedAtMs));
  });
  for (const followers of [1, bench.size(1000, 1000, 20)]) {
    await bench.attempt(`${name}: lines to ${followers}`, async () => {
      const { writtenAtMs, arrivedAtMs } = await latenciesOf(bench, {
        ...{ client: "thin", server: writer.url, uploads: 1, followers },
        ...{ burstBytes: LINE_BYTES, intervalMs: LINE_INTERVAL_MS },
        bursts: bench.size(1000, 400, 10),
        readAt: (reference) => at(reader, reference),
      });
      const times = arrivedAtMs.flatMap((each) =>
        each.map((arrivedMs, index) => arrivedMs - writtenAtMs[0][index])
      );
      addLatencies(bench, `${name}: line to ${followers} elsewhere`, times);
    });
  }
  await bench.attempt(`${name}: many uploads`, async () => {
    const places = [writer, reader, other];
    const loads = await Promise.all(places.map((server, index) =>
      latenciesOf(bench, {
        ...{ client: "thin", server: server.url, uploads: bench.size(166, 166, 4), followers: 1 },
        ...{ burstBytes: LINE_BYTES, intervalMs: SLOW_LINE_INTERVAL_MS },
        bursts: bench.size(200, 100, 5),
        readAt: (reference) => at(places[(index + 1) % places.length], reference),
      })
    ));
    const times = loads.flatMap(({ writtenAtMs, arrivedAtMs }) =>
      arrivedAtMs.flatMap((each, upload) => each.map((ms, line) => ms - writtenAtMs[upload][line]))
    );
    addLatencies(bench, `${name}: line of one of 498 uploads, on three nodes`, times);
  });
}

/** The same resource, at a node. */
function at({ url }: Server, reference: string): string {
  return `${url.replace("http", "ws")}${DOWNLOAD_PATH}/${parseReference(reference).id}`;
}
