/** Part 10: a server that knows very many resources. */
import { startUpload, type Uploader } from "./clients/connections.ts";
import { type Bench, type Part, type Server, temporaryPath } from "./helpers/bench.ts";
import { fillCatalog } from "./helpers/catalog.ts";
import { metadataOf } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { percentile } from "./helpers/statistics.ts";

/** A page of one context's resources, as `stream ls --context` asks for it. */
const PAGE = "/resources?context=run-0&status=COMPLETED&limit=100";

export const catalog: Part = {
  name: "catalog",
  title: "a server that knows very many resources",
  async run(bench) {
    const resources = bench.size(1_000_000, 1_000_000, 1000);
    await bench.attempt("empty", () => measure(bench, "empty", temporaryPath()));
    await bench.attempt(`${resources} resources`, async () => {
      const directory = temporaryPath();
      await fillCatalog(bench.program!.root, directory, resources);
      await measure(bench, `${resources} resources`, directory);
    });
  },
};

async function measure(bench: Bench, name: string, directory: string): Promise<void> {
  const starts = bench.size(5, 3, 1);
  for (let count = 1; count <= starts; count++) {
    const server = await bench.startServer(directory);
    try {
      bench.add(`${name}, start`, "ms", server.startMs);
      // What this registers is left unfinished, and a later start would have to take it over.
      if (count < starts) continue;
      await measureServer(bench, name, server);
      bench.add(`${name}, RSS`, "MB", new Meter(server.pid).read().rssMB);
    } finally {
      await server.stop();
    }
  }
}

async function measureServer(bench: Bench, name: string, { url }: Server): Promise<void> {
  const times = bench.size(300, 200, 5);
  const page = await timesOf(times, async () => {
    const response = await fetch(url + PAGE);
    await response.arrayBuffer();
    if (response.status !== 200) throw new Error(`${PAGE} was answered ${response.status}`);
  });
  const uploads: Uploader[] = [];
  const registration = await timesOf(times, async () => {
    uploads.push(await startUpload("thin", url, metadataOf("binary")));
  });
  for (const [what, sorted] of [["page of 100", page], ["registration", registration]] as const) {
    bench.add(`${name}, ${what}, p50`, "ms", percentile(sorted, 0.5));
    bench.add(`${name}, ${what}, p99`, "ms", percentile(sorted, 0.99));
  }
  for (const upload of uploads) upload.close();
}

/** How long each of several attempts took, in ms, sorted. */
async function timesOf(times: number, step: () => Promise<void>): Promise<Float64Array> {
  const taken = new Float64Array(times);
  for (let count = 0; count < times; count++) {
    const startedAtMs = performance.now();
    await step();
    taken[count] = performance.now() - startedAtMs;
  }
  return taken.sort();
}
