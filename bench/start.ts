/** Part 7: from the start of the process until it listens. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Bench, type Part, temporaryPath } from "./helpers/bench.ts";

export const start: Part = {
  name: "start",
  title: "from the start of the process until it listens",
  async run(bench) {
    const repeats = bench.size(10, 5, 2);
    const resources = bench.size(100_000, 100_000, 1000);
    await bench.attempt(`empty, ${repeats} times`, async () => {
      for (let count = 0; count < repeats; count++) await measure(bench, "empty", temporaryPath());
    });
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

/** Records of finished uploads; their data is not looked at when a server starts. */
export async function fillCatalog(
  root: string,
  directory: string,
  resources: number,
): Promise<void> {
  // A catalog of another version than the program's would be migrated, or refused.
  const { SqliteCatalog }: typeof import("../mod.ts") = await import(join(root, "mod.ts"));
  await mkdir(directory, { recursive: true });
  const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
  for (let count = 0; count < resources; count++) {
    await catalog.create(recordOf(count));
  }
  await catalog.close();
}

function recordOf(index: number) {
  const createdAtMs = Date.UTC(2026, 0) + index;
  return {
    id: crypto.randomUUID(),
    metadata: { filename: `${index}.log`, mimeType: "text/plain", supportsLineAccess: true },
    contextId: `run-${index % 1000}`,
    ...{ createdAtMs, updatedAtMs: createdAtMs },
    transferStatus: "COMPLETED" as const,
    ...{
      size: 1_000_000,
      durableSize: 1_000_000,
      lines: 10_000,
      epoch: 1,
      sequence: 9,
      failure: null,
    },
    digest: { algorithm: "xxh128" as const, value: "0".repeat(32) },
    ...{ digestState: null, secretHash: null, ownedBy: "CONNECTION" as const, revision: 1 },
    announced: { size: null, checksum: null },
    owner: null,
  };
}
