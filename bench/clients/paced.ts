/** Uploads at a steady pace, and who follows them: when each burst was written, and when it had arrived. */
import { setTimeout as sleep } from "node:timers/promises";
import { nowMs } from "../helpers/clock.ts";
import { digestOf, linesOf, metadataOf } from "../helpers/content.ts";
import { LIMITS } from "../../src/protocol.ts";
import { type Follower, openFollower, startUpload, type Uploader } from "./connections.ts";
import type { PaceJob, Prepared, WatchJob } from "./jobs.ts";

/** Connections that are opened at once: a listener's queue is not endless. */
const OPENED_AT_ONCE = 50;

export async function preparePace(job: PaceJob): Promise<Prepared<"pace">> {
  const uploads = await openAll(job.uploads, () => {
    return startUpload(job.client, job.server, metadataOf("lines"));
  });
  const go = async () => {
    const startAtMs = nowMs() + job.intervalMs;
    const writtenAtMs = await Promise.all(uploads.map((upload, index) => {
      // Uploads of different people do not beat in time.
      return pace(upload, job, startAtMs + job.intervalMs * index / uploads.length);
    }));
    return { writtenAtMs };
  };
  return { ready: { references: uploads.map(({ reference }) => reference) }, go };
}

async function pace(upload: Uploader, job: PaceJob, startAtMs: number): Promise<number[]> {
  const burst = piecesOf(job.burstBytes);
  const writtenAtMs: number[] = [];
  for (let count = 0; count < job.bursts; count++) {
    const waitMs = startAtMs + count * job.intervalMs - nowMs();
    if (waitMs > 0) await sleep(waitMs);
    writtenAtMs.push(nowMs());
    for (const piece of burst) await upload.write(piece);
  }
  if (job.trailing !== undefined) {
    writtenAtMs.push(nowMs());
    for (const piece of piecesOf(job.trailing.burstBytes)) await upload.write(piece);
    await sleep(job.trailing.silenceMs);
  }
  await upload.finish(() => digestOfBursts(job));
  return writtenAtMs;
}

/** A burst in messages. */
function piecesOf(byteCount: number): Uint8Array[] {
  const bytes = linesOf(byteCount);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < byteCount; at += LIMITS.dataMessageBytes) {
    pieces.push(bytes.subarray(at, at + LIMITS.dataMessageBytes));
  }
  return pieces;
}

async function digestOfBursts({ burstBytes, bursts, trailing }: PaceJob): Promise<string> {
  const last = trailing === undefined ? undefined : linesOf(trailing.burstBytes);
  return await digestOf(linesOf(burstBytes), bursts, last);
}

export async function prepareWatch(job: WatchJob): Promise<Prepared<"watch">> {
  const references = job.references.flatMap((reference) => {
    return Array<string>(job.followers).fill(reference);
  });
  const followers = await openAll(references.length, (index) => {
    return openFollower(job.client, references[index]);
  });
  // They are there before the first burst is.
  const watched = followers.map((follower) => startWatching(follower, job));
  const go = async () => {
    const late = new AbortController();
    const limit = sleep(job.limitMs, null, late).catch(() => {});
    await Promise.race([limit, Promise.all(watched.map(({ reading }) => reading))]);
    late.abort();
    for (const follower of followers) follower.close();
    return { arrivedAtMs: watched.map(({ arrivedAtMs }) => arrivedAtMs) };
  };
  return { ready: null, go };
}

/** Notes when each burst had arrived; fewer where the follower does not keep up. */
function startWatching(follower: Follower, job: WatchJob) {
  const arrivedAtMs: number[] = [];
  let received = 0, next = job.burstBytes;
  const reading = follower.read(undefined, (byteCount) => {
    received += byteCount;
    if (received < next) return;
    const now = nowMs();
    while (received >= next) {
      arrivedAtMs.push(now);
      next += arrivedAtMs.length < job.bursts ? job.burstBytes : job.trailingBytes ?? Infinity;
    }
  });
  return { arrivedAtMs, reading };
}

async function openAll<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  while (opened.length < count) {
    const batch = Math.min(OPENED_AT_ONCE, count - opened.length);
    const start = opened.length;
    opened.push(...await Promise.all(Array.from({ length: batch }, (_, at) => open(start + at))));
  }
  return opened;
}
