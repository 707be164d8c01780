/** Part 7: from the start of the process until it listens, and until a command has answered. */
import { startUpload } from "./clients/connections.ts";
import { type Bench, type Part, temporaryPath } from "./helpers/bench.ts";
import { fillCatalog } from "./helpers/catalog.ts";
import { metadataOf } from "./helpers/content.ts";
import { cpuSecondsOfEnded } from "./helpers/meter.ts";
import { Process } from "./helpers/processes.ts";

const TIMEOUT_MS = 60_000;
/** Digest of no bytes. */
const EMPTY_XXH128 = "99aa06d3014798d86001c324468d497f";

export const start: Part = {
  name: "start",
  title: "from the start of the process until it listens",
  async run(bench) {
    const repeats = bench.size(10, 5, 1);
    const resources = bench.size(100_000, 100_000, 1000);
    await bench.attempt(`empty, ${repeats} times`, async () => {
      for (let count = 0; count < repeats; count++) await measure(bench, "empty", temporaryPath());
    });
    await bench.attempt(`status, ${repeats} times`, () => measureStatus(bench, repeats));
    await bench.attempt(`${resources} resources, ${repeats} times`, async () => {
      const directory = temporaryPath();
      await fillCatalog(bench.program!.root, directory, resources);
      for (let count = 0; count < repeats; count++) {
        await measure(bench, `${resources} resources`, directory);
      }
    });
  },
};

async function measure(bench: Bench, name: string, directory: string): Promise<void> {
  const server = await bench.startServer(directory);
  bench.add(name, "ms", server.startMs);
  await server.stop();
}

/** `stream status REF`, from its start to its end. */
async function measureStatus(bench: Bench, repeats: number): Promise<void> {
  const server = await bench.startServer();
  try {
    const upload = await startUpload("thin", server.url, metadataOf("lines"));
    await upload.finish(() => Promise.resolve(EMPTY_XXH128));
    for (let count = 0; count < repeats; count++) {
      const startedAtMs = performance.now();
      const beforeSeconds = cpuSecondsOfEnded();
      await new Process([...bench.command, "status", upload.reference]).end(TIMEOUT_MS);
      bench.add("stream status REF", "ms", performance.now() - startedAtMs);
      const cpuSeconds = cpuSecondsOfEnded() - beforeSeconds;
      bench.add("stream status REF, CPU", "ms", cpuSeconds * 1000);
    }
  } finally {
    await server.stop();
  }
}
