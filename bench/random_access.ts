/** Part 5: ranges and windows of lines out of a large text, while an upload runs. */
import type { RandomAccess } from "./clients/jobs.ts";
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { blocksFor } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { percentile } from "./helpers/statistics.ts";

const MIB = 1024 * 1024;
const CONNECTIONS = 32;
const PROCESSES = 2;
const RANGE_BYTES = 64 * 1024;
const WINDOW_LINES = 100;
/** The upload beside: 10 MB/s. */
const BESIDE = { burstBytes: 500_000, intervalMs: 50 };

const ACCESSES: Record<RandomAccess, string> = {
  chunk: "64 KiB by RequestChunk",
  follow: "64 KiB by Follow from..to (library)",
  http: "64 KiB by HTTP range",
  lines: "100 lines by RequestLines (library)",
};

export const randomAccess: Part = {
  name: "random",
  title: "random access to a large text by 32 clients, while an upload of 10 MB/s runs",
  async run(bench) {
    const server = await bench.startServer();
    try {
      const reference = await upload(bench, server);
      const repeats = bench.size(3, 1, 1);
      for (let count = 1; count <= repeats; count++) {
        for (const access of Object.keys(ACCESSES) as RandomAccess[]) {
          const what = `${ACCESSES[access]}, ${count} of ${repeats}`;
          await bench.attempt(what, () => measure(bench, server, reference, access));
        }
      }
    } finally {
      await server.stop();
    }
  },
};

/** The text everything is read from. */
async function upload(bench: Bench, { url }: Server): Promise<string> {
  const blocks = blocksFor("lines", bench.size(5120, 1024, 8) * MIB);
  const job = { do: "upload" as const, client: "thin" as const, server: url };
  const uploading = await bench.startClient<"upload">({ ...job, form: "lines", blocks });
  await uploading.go();
  return uploading.ready.references[0];
}

async function measure(
  bench: Bench,
  server: Server,
  reference: string,
  access: RandomAccess,
): Promise<void> {
  const forMs = bench.size(8000, 2500, 200);
  const bursts = Math.ceil(forMs / BESIDE.intervalMs);
  const pace = { do: "pace" as const, client: "thin" as const, server: server.url, uploads: 1 };
  const beside = await bench.startClient<"pace">({ ...pace, ...BESIDE, bursts });
  const job = {
    ...{ do: "random" as const, reference, access, connections: CONNECTIONS / PROCESSES, forMs },
    ...{ bytes: RANGE_BYTES, lines: WINDOW_LINES },
  };
  const clients = await Promise.all(
    Array.from({ length: PROCESSES }, () => bench.startClient<"random">(job)),
  );
  const uploading = beside.go();
  const meter = new Meter(server.pid);
  const results = await Promise.all(clients.map((client) => client.go()));
  const { cpuSeconds } = meter.read();
  await uploading;
  const sorted = Float64Array.from(results.flatMap(({ latenciesMs }) => latenciesMs)).sort();
  const name = ACCESSES[access];
  bench.add(name, "requests/s", sorted.length / (forMs / 1000));
  for (const [part, label] of [[0.5, "p50"], [0.99, "p99"], [1, "max"]] as const) {
    bench.add(`${name}, ${label}`, "ms", percentile(sorted, part));
  }
  const clientCpu = results.reduce((sum, result) => sum + result.cpuSeconds, 0);
  bench.add(`${name}, CPU of the server`, "cores", cpuSeconds / (forMs / 1000));
  bench.add(`${name}, CPU of the clients`, "cores", clientCpu / (forMs / 1000));
}
