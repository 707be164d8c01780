/**
 * The digest of a log that is taken over, and how far that log can be believed.
 *
 * What was written and not flushed lasts as long as the machine runs. After that the size of a file may be
 * right and its pages zeros: a digest that was saved before says so, and what came behind it nobody but the
 * uploader can prove (docs/durability.md).
 * @module
 */
import type { DigestState, ResourceRecord } from "../../catalog.ts";
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
      return { running: state, doubtfulFrom };
    }
    const running = await createDigest(algorithmOf(saved));
    if (state === null) {
      await readOn(reader, running, 0, size);
      return { running, doubtfulFrom };
    }
    const { byteOffset } = saved!;
    await readOn(reader, running, 0, byteOffset);
    if (running.value() !== state.value()) throw changed(record);
    await readOn(reader, running, byteOffset, size);
    return {
      running,
      doubtfulFrom: saved!.doubtfulFrom ?? (byteOffset < size ? byteOffset : null),
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

/** Whether the log must still hold what the saved state of its digest covers. */
function isBelieved({ boot }: Storage, { durableSize, digestState }: ResourceRecord): boolean {
  return boot === undefined || digestState!.boot === boot || digestState!.byteOffset <= durableSize;
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

function changed({ durableSize, digestState }: ResourceRecord): StreamError {
  return new StreamError(
    "OFFSET_LOST",
    `the machine stopped, and of bytes ${durableSize} to ${
      digestState!.byteOffset
    } some are not what was sent any more`,
  );
}
