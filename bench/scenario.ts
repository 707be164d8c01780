/** Part 1: a large upload with a parallel follower, and the same bytes downloaded again. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { parseReference } from "../src/protocol.ts";
import { logPath } from "../src/storage/layout.ts";
import type { Client } from "./clients/connections.ts";
import { type Bench, clientName, type Part, type Server, temporaryPath } from "./helpers/bench.ts";
import { blockOf, blocksFor, type Form, makeFile } from "./helpers/content.ts";
import { Meter } from "./helpers/meter.ts";
import { startNginx } from "./yardsticks/nginx.ts";
import { measurePeers } from "./yardsticks/peers.ts";

const MIB = 1024 * 1024;
/** The others are too slow for more. */
const PEER_BYTES = 1024 * MIB;

export const scenario: Part = {
  name: "scenario",
  title: "upload with a parallel follower, then downloaded again",
  async run(bench) {
    for (const form of ["binary", "lines"] as const) {
      const repeats = form === "binary" ? bench.size(2, 2, 1) : bench.size(2, 1, 1);
      await bench.repeat(repeats, form, () => measure(bench, form));
    }
    await bench.attempt("the library as client", () => measureLibrary(bench));
  },
  async others(bench) {
    // A smoke run installs nothing.
    if (bench.extent !== "smoke") {
      await measurePeers(bench, await makeFile(temporaryPath(), PEER_BYTES));
    }
  },
};

function bytesOf(bench: Bench): number {
  return bench.size(5120, 1024, 4) * MIB;
}

/** One repeat, and its yardsticks right after it. */
async function measure(bench: Bench, form: Form): Promise<void> {
  const server = await bench.startServer();
  try {
    const blocks = blocksFor(form, bytesOf(bench));
    const bytes = blocks * blockOf(form).length;
    const meter = new Meter(server.pid);
    const live = await transfer(bench, server, form, blocks, "thin");
    const againMs = await download(bench, live.reference);
    const { cpuSeconds, peakRssMB } = meter.read();
    bench.add(`${form}: upload + follow`, "MB/s moved", 2 * bytes / 1e3 / live.ms);
    bench.add(`${form}: downloaded again`, "MB/s", bytes / 1e3 / againMs);
    bench.add(`${form}: all three`, "MB/s moved", 3 * bytes / 1e3 / (live.ms + againMs));
    bench.add(`${form}: CPU of the server`, "s/GB moved", cpuSeconds / (3 * bytes / 1e9));
    bench.add(
      `${form}: CPU of uploader + follower`,
      "s/GB moved",
      live.cpuSeconds / (2 * bytes / 1e9),
    );
    bench.add(`${form}: peak RSS of the server`, "MB", peakRssMB);
    if (bench.program!.yardsticks) {
      const relay = await measureRelay(bench, form, blocks);
      const liveRate = 2 * bytes / 1e3 / relay.liveMs;
      bench.add(`${form}: bare relay, upload + follow`, "MB/s moved", liveRate);
      bench.add(`${form}: bare relay, download`, "MB/s", bytes / 1e3 / relay.againMs);
      bench.add(`${form}: upload + follow, of the relay`, "%", 100 * relay.liveMs / live.ms);
      bench.add(`${form}: downloaded again, of the relay`, "%", 100 * relay.againMs / againMs);
    }
    if (form === "binary") await measureHttp(bench, server, live.reference, bytes);
  } finally {
    await server.stop();
  }
}

/** An upload and its follower, from the first byte until the last has arrived. */
async function transfer(
  bench: Bench,
  server: Server,
  form: Form,
  blocks: number,
  client: Client,
): Promise<{ reference: string; ms: number; cpuSeconds: number }> {
  const uploader = await bench.startClient({
    do: "upload",
    client,
    server: server.url,
    form,
    blocks,
  });
  const [reference] = uploader.ready.references;
  const follower = await bench.startClient({ do: "follow", client, reference });
  const following = follower.go();
  const [upload, follow] = await Promise.all([uploader.go(), following]);
  const bytes = blocks * blockOf(form).length;
  if (follow.bytes !== bytes) throw new Error(`the follower got ${follow.bytes} of ${bytes} bytes`);
  const ms = Math.max(upload.endedAtMs, follow.endedAtMs) - upload.startedAtMs;
  return { reference, ms, cpuSeconds: upload.cpuSeconds + follow.cpuSeconds };
}

/** Time of a download through a WebSocket. */
async function download(
  bench: Bench,
  reference: string,
  client: Client = "thin",
  to?: number,
): Promise<number> {
  const follower = await bench.startClient({ do: "follow", client, reference, to });
  const { startedAtMs, endedAtMs } = await follower.go();
  return endedAtMs - startedAtMs;
}

async function measureRelay(bench: Bench, form: Form, blocks: number) {
  const relay = await bench.startRelay();
  try {
    const { ms } = await transfer(bench, relay, form, blocks, "thin");
    const source = `${relay.url.replace("http", "ws")}/ws/streaming/download/source`;
    const bytes = blocks * blockOf(form).length;
    return { liveMs: ms, againMs: await download(bench, source, "thin", bytes) };
  } finally {
    await relay.stop();
  }
}

/** A finished download by curl, from us and from nginx, which gets the very file our server wrote. */
async function measureHttp(
  bench: Bench,
  server: Server,
  reference: string,
  bytes: number,
): Promise<void> {
  const { id } = parseReference(reference);
  let nginxSeconds = Infinity;
  // A smoke run installs nothing.
  if (bench.extent !== "smoke" && bench.program!.yardsticks) {
    await bench.attempt("nginx", async () => {
      const nginx = await startNginx(server.directory);
      try {
        nginxSeconds = await curl(`${nginx.url}/${logPath("", id)}`, bytes);
        bench.add("binary: nginx", "MB/s", bytes / 1e6 / nginxSeconds);
      } finally {
        await nginx.stop();
      }
    });
  }
  await bench.attempt("finished download by HTTP", async () => {
    const seconds = await curl(`${server.url}/resources/${id}/content`, bytes);
    bench.add("binary: finished, by HTTP", "MB/s", bytes / 1e6 / seconds);
    if (nginxSeconds === Infinity) return;
    bench.add("binary: finished, by HTTP, of nginx", "%", 100 * nginxSeconds / seconds);
  });
}

/** Seconds that curl took for so many bytes. */
async function curl(url: string, bytes: number): Promise<number> {
  const format = "%{http_code} %{size_download} %{time_total}";
  const words = ["-sS", "-o", "/dev/null", "-w", format, url];
  const { stdout } = await promisify(execFile)("curl", words);
  const [code, size, seconds] = stdout.split(" ").map(Number);
  if (code !== 200) throw new Error(`${url} was answered ${code}`);
  if (size !== bytes) throw new Error(`${url} gave ${size} of ${bytes} bytes`);
  return seconds;
}

async function measureLibrary(bench: Bench): Promise<void> {
  const server = await bench.startServer();
  try {
    const blocks = blocksFor("binary", bytesOf(bench));
    const bytes = blocks * blockOf("binary").length;
    const live = await transfer(bench, server, "binary", blocks, "library");
    const againMs = await download(bench, live.reference, "library");
    const name = clientName("library");
    bench.add(`${name}upload + follow`, "MB/s moved", 2 * bytes / 1e3 / live.ms);
    bench.add(`${name}downloaded again`, "MB/s", bytes / 1e3 / againMs);
    bench.add(
      `${name}CPU of uploader + follower`,
      "s/GB moved",
      live.cpuSeconds / (2 * bytes / 1e9),
    );
  } finally {
    await server.stop();
  }
}
