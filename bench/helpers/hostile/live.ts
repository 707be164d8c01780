/** Uploads of a log at a steady pace, each with a follower. */
import { setTimeout as sleep } from "node:timers/promises";
import { follow, push, type TransportOptions } from "../../../src/client.ts";
import { nowMs, readStamp, stampedLine } from "../stamp.ts";

const METADATA = { filename: "live.log", mimeType: "text/plain", supportsLineAccess: true };

/** What came of some uploads. */
export interface LiveResult {
  /** From write to receive, in ms, rising. */
  delaysMs: number[];
  /** Lines that were missing, came twice or in the wrong order, and uploads that failed. */
  lost: number;
  /** Uploads and followers whose WebSocket did not open in time. */
  byHttp: number;
}

/**
 * Runs uploads for some time.
 * @param url The server.
 * @param uploads How many.
 * @param lines How many lines each gets.
 * @param everyMs The time between two of them.
 */
export async function liveUploads(
  url: string,
  uploads: number,
  lines: number,
  everyMs: number,
): Promise<LiveResult> {
  const results = await Promise.all(
    Array.from(
      { length: uploads },
      (_, index) => sleep(index * everyMs / uploads).then(() => liveUpload(url, lines, everyMs)),
    ),
  );
  return {
    delaysMs: results.flatMap(({ delaysMs }) => delaysMs).sort((a, b) => a - b),
    lost: sumOf(results, "lost"),
    byHttp: sumOf(results, "byHttp"),
  };
}

function sumOf(results: LiveResult[], name: "lost" | "byHttp"): number {
  return results.reduce((sum, result) => sum + result[name], 0);
}

async function liveUpload(url: string, lines: number, everyMs: number): Promise<LiveResult> {
  let byHttp = 0;
  const options = { onFallback: () => void byHttp++ };
  const upload = await push(url, METADATA, options);
  const seen = followLines(upload.reference, options);
  const writer = upload.writable.getWriter();
  const startedAtMs = performance.now();
  for (let line = 0; line < lines; line++) {
    await sleep(Math.max(0, startedAtMs + line * everyMs - performance.now()));
    await writer.write(new TextEncoder().encode(stampedLine(line)));
  }
  await writer.close();
  const { delaysMs, wrong } = await seen;
  return { delaysMs, lost: wrong + lines - delaysMs.length, byHttp };
}

async function followLines(
  reference: string,
  options: TransportOptions,
): Promise<{ delaysMs: number[]; wrong: number }> {
  const decoder = new TextDecoder();
  const delaysMs: number[] = [];
  let rest = "", wrong = 0;
  for await (const chunk of follow(reference, options)) {
    const arrivedAtMs = nowMs();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const { writtenAtMs, index } = readStamp(line);
      if (index !== delaysMs.length) wrong++;
      delaysMs.push(arrivedAtMs - writtenAtMs);
    }
  }
  return { delaysMs, wrong: wrong + (rest === "" ? 0 : 1) };
}
