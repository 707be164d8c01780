/** Clients that read here and there in a large resource. */
import { type Download, getResource, open } from "../../mod.ts";
import { DOWNLOAD_PATH, parseReference } from "../../src/protocol.ts";
import { LINE_BYTES } from "../helpers/content.ts";
import { nowMs } from "../helpers/clock.ts";
import type { Prepared, RandomJob } from "./jobs.ts";
import { ThinClient } from "./thin.ts";

/** Reads once, somewhere; the number of bytes it got. */
type Read = () => Promise<number>;

export async function prepareRandom(job: RandomJob): Promise<Prepared<"random">> {
  const { currentSize } = await getResource(job.reference);
  const reads = await Promise.all(
    Array.from({ length: job.connections }, () => readerFor(job, currentSize)),
  );
  return { ready: null, go: () => readAround(reads, job.forMs) };
}

async function readAround(reads: Read[], forMs: number) {
  const latenciesMs: number[] = [];
  let bytes = 0;
  const endAtMs = nowMs() + forMs;
  await Promise.all(reads.map(async (read) => {
    for (let startedAtMs = nowMs(); startedAtMs < endAtMs;) {
      bytes += await read();
      const now = nowMs();
      latenciesMs.push(now - startedAtMs);
      startedAtMs = now;
    }
  }));
  return { latenciesMs, bytes };
}

async function readerFor(job: RandomJob, size: number): Promise<Read> {
  const somewhere = () => Math.floor(Math.random() * (size - job.bytes));
  switch (job.access) {
    case "chunk":
      return await chunkReader(job, somewhere);
    case "follow": {
      const download = await open(job.reference);
      return () => readRange(download, somewhere(), job.bytes);
    }
    case "http":
      return httpReader(job, somewhere);
    case "lines": {
      const download = await open(job.reference);
      const linesCount = Math.floor(size / LINE_BYTES) - job.lines;
      return () => readLines(download, Math.floor(Math.random() * linesCount), job.lines);
    }
  }
}

/** RequestChunk by a bare WebSocket; the library has no use for it. */
async function chunkReader(job: RandomJob, somewhere: () => number): Promise<Read> {
  const { server, id } = parseReference(job.reference);
  const client = await ThinClient.open(server, `${DOWNLOAD_PATH}/${id}`);
  await client.next("StatusChanged");
  return async () => {
    const startOffset = somewhere();
    let got = 0;
    client.onData = (byteCount) => got += byteCount;
    const complete = new Promise<void>((resolve) => client.onDataEnd = resolve);
    client.send({ "@": "RequestChunk", startOffset, endOffset: startOffset + job.bytes });
    await complete;
    return expect(got, job.bytes);
  };
}

async function readRange(download: Download, from: number, byteCount: number): Promise<number> {
  let got = 0;
  for await (const bytes of download.read({ from, to: from + byteCount })) got += bytes.length;
  return expect(got, byteCount);
}

function httpReader(job: RandomJob, somewhere: () => number): Read {
  const { server, id } = parseReference(job.reference);
  return async () => {
    const from = somewhere();
    const range = `bytes=${from}-${from + job.bytes - 1}`;
    const response = await fetch(`${server}/resources/${id}/content`, { headers: { range } });
    const bytes = await response.arrayBuffer();
    if (response.status !== 206) throw new Error(`a content range was answered ${response.status}`);
    return expect(bytes.byteLength, job.bytes);
  };
}

async function readLines(download: Download, start: number, linesCount: number): Promise<number> {
  let count = 0, characters = 0;
  for await (const line of download.lines(start, linesCount)) {
    count++;
    characters += line.length;
  }
  expect(count, linesCount);
  return characters;
}

function expect(got: number, wanted: number): number {
  if (got !== wanted) throw new Error(`${got} arrived instead of ${wanted}`);
  return got;
}
