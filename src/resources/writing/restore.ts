/**
 * The digest of a log that is taken over, and how far that log can be believed.
 *
 * What was written and not flushed lasts as long as the machine runs, and as the disk takes it. After that the size of a
 * file may be right and its pages zeros: a digest that was saved before says so, and what came behind it nobody but the
 * uploader can prove (docs/durability.md).
 * @module
 */
import type { DigestState, FlushedState, ResourceRecord } from "../../catalog.ts";
import { createDigest, DIGEST_VERSION, type RunningDigest } from "../../digest.ts";
import { type DigestAlgorithm, StreamError } from "../../protocol.ts";
import type { LogReader, Storage } from "../../storage.ts";
import { lifeOf } from "../status.ts";

/** Step of a read that brings a digest up to date. */
const DIGEST_READ_BYTES = 1024 * 1024;

/** The digest of what a log holds. */
export interface LogDigest {
  /** The digest; more bytes may follow. */
  running: RunningDigest;
  /** First byte that a stop of the machine may have changed before it was read, or that was lost; null for none. */
  doubtfulFrom: number | null;
  /** The state up to which all was flushed; null where nobody knows, or where nothing has to be flushed. */
  flushed: FlushedState | null;
}

/** The state of a log of which nothing was flushed yet. */
export function nothingFlushed({ boot }: Storage, fresh: RunningDigest): FlushedState | null {
  return boot === undefined ? null : { byteOffset: 0, state: fresh.save() };
}

/**
 * Brings the digest of a log up to date.
 *
 * @param storage Where the log is.
 * @param record Its record.
 * @throws {StreamError} OFFSET_LOST when the log does not hold what the uploader sent; STORAGE_FAILED.
 */
export async function restoreDigest(storage: Storage, record: ResourceRecord): Promise<LogDigest> {
  const { id, size, digestState: saved } = record;
  const reader = await storage.openReader(id, lifeOf(record));
  try {
    const state = saved !== null && saved.byteOffset <= size ? await takeUp(saved) : null;
    const doubtfulFrom = isShort(record) ? size : doubtIn(storage, record);
    if (state !== null && isBelieved(storage, record)) {
      await readOn(reader, state, saved!.byteOffset, size);
      return { running: state, doubtfulFrom, flushed: saved!.flushed };
    }
    const known = state === null ? null : flushedIn(storage, record);
    const running = await createDigest(algorithmOf(saved), known?.state);
    const flushed = known ?? nothingFlushed(storage, running);
    const from = known?.byteOffset ?? 0;
    if (state === null) {
      await readOn(reader, running, from, size);
      return { running, doubtfulFrom, flushed };
    }
    const { byteOffset, boot } = saved!;
    await readOn(reader, running, from, byteOffset);
    if (running.value() !== state.value()) throw changed(storage, record);
    await readOn(reader, running, byteOffset, size);
    const isBehind = boot !== storage.boot && byteOffset < size;
    return {
      running,
      doubtfulFrom: saved!.doubtfulFrom ?? (isBehind ? byteOffset : null),
      flushed,
    };
  } finally {
    await reader.close();
  }
}

/**
 * First byte of a log that a stop of the machine may have changed, as long as nobody has read it again.
 *
 * @param storage Where the log is.
 * @param record Its record.
 * @returns Its offset; null when every byte can be believed.
 */
export function doubtIn(storage: Storage, record: ResourceRecord): number | null {
  const { size, durableSize, digestState: saved } = record;
  const doubtfulFrom = saved?.doubtfulFrom ?? null;
  if (storage.boot === undefined || saved?.boot === storage.boot) return doubtfulFrom;
  const flushed = Math.min(durableSize, doubtfulFrom ?? Infinity);
  return flushed < size ? flushed : doubtfulFrom;
}

/** Whether a log lost bytes that nobody sends again, as nobody owns the upload: what comes next stands behind a hole. */
function isShort({ ownedBy, size, digestState }: ResourceRecord): boolean {
  return ownedBy === "ANYBODY" && digestState !== null && size < digestState.byteOffset;
}

/** Whether the log must still hold what the saved state of its digest covers: all that was flushed. */
function isBelieved(storage: Storage, record: ResourceRecord): boolean {
  const { byteOffset, boot, flushed } = record.digestState!;
  // An earlier version did not keep what was flushed.
  const isUnknown = boot === storage.boot && flushed === null;
  return storage.boot === undefined || isUnknown || byteOffset <= flushedSize(storage, record);
}

/** The state up to which all was flushed in this boot; null where nobody knows. */
function flushedIn({ boot }: Storage, { digestState }: ResourceRecord): FlushedState | null {
  return digestState?.boot === boot ? digestState!.flushed : null;
}

/**
 * Bytes of a log that are known to be on disk.
 *
 * @param storage Where the log is.
 * @param record Its record.
 */
export function flushedSize(storage: Storage, record: ResourceRecord): number {
  return Math.max(record.durableSize, flushedIn(storage, record)?.byteOffset ?? 0);
}

function algorithmOf(saved: DigestState | null): DigestAlgorithm {
  return saved?.algorithm ?? "md5";
}

/** The digest that was saved; null when this program cannot take it up. */
async function takeUp({ algorithm, state, version }: DigestState): Promise<RunningDigest | null> {
  if (version !== DIGEST_VERSION) return null;
  try {
    return await createDigest(algorithm, state);
  } catch {
    return null;
  }
}

async function readOn(
  reader: LogReader,
  digest: RunningDigest,
  from: number,
  to: number,
): Promise<void> {
  for (let at = from; at < to;) {
    const bytes = await reader.read(at, Math.min(DIGEST_READ_BYTES, to - at));
    digest.update(bytes);
    at += bytes.length;
  }
}

function changed(storage: Storage, record: ResourceRecord): StreamError {
  const { byteOffset, boot } = record.digestState!;
  const why = boot === storage.boot
    ? "the server stopped, the disk refused bytes"
    : "the machine stopped";
  return new StreamError(
    "OFFSET_LOST",
    `${why}, and of bytes ${
      flushedSize(storage, record)
    } to ${byteOffset} some are not what was sent any more`,
  );
}
