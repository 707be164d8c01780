/**
 * The bytes of a resource in order: a range that is there, or all that comes until the transfer ends.
 * @module
 */
import { Bell } from "../../bell.ts";
import { isFinal, type ResourceStatus, StreamError } from "../../protocol.ts";
import type { Resource } from "./resource.ts";

/** One read: every reader may hold one or two, and thousands may be slow. */
const READ_BYTES = 256 * 1024;
/** One read of some: a byte costs a fifth less than in the other ones on Deno, and a quarter less on Bun. */
const LARGE_READ_BYTES = 1024 * 1024;
/** Those who may read so much at once at the same time. */
const MAX_LARGE_READERS = 32;

/**
 * Sockets take so much of any answer, whoever reads it (`tcp_wmem`): no reader has shown yet that it takes anything,
 * and thousands that do not would leave gigabytes of large pieces to be collected.
 */
const UNPROVEN_BYTES = 4 * 1024 * 1024;
/** One read of those. */
const FIRST_READ_BYTES = 64 * 1024;

/** What all readers together hold of what was read for them and not taken; each has a piece made and one that waits. */
const UNTAKEN_BYTES = 128 * 1024 * 1024;
const PIECES_HELD = 2;
/** With more readers than fill that, pieces are smaller, down to this. */
const MIN_READ_BYTES = 16 * 1024;

/** Memory is the process's. */
let largeReaders = 0;
let readers = 0;

/** Largest read of one reader at present. */
function readBytesNow(): number {
  const share = Math.floor(UNTAKEN_BYTES / PIECES_HELD / readers);
  return Math.min(READ_BYTES, Math.max(MIN_READ_BYTES, share));
}

/** Largest read of a reader that was given so many bytes. */
function mostBytesAfter(givenBytes: number): number {
  return givenBytes < UNPROVEN_BYTES ? FIRST_READ_BYTES : Infinity;
}

/** A reader in its own way, which counts like the others until it is disposed of. */
export class CountedReader implements Disposable {
  constructor() {
    readers++;
  }

  /** Its largest read at present, after it was given so many bytes. */
  pieceBytes(givenBytes: number): number {
    return Math.min(readBytesNow(), mostBytesAfter(givenBytes));
  }

  [Symbol.dispose](): void {
    readers--;
  }
}

/**
 * Reads a range that the newest status shows.
 *
 * @param resource The resource.
 * @param first Position of the first byte.
 * @param end Position behind the last one.
 * @param signal Ends it with its reason.
 * @throws {StreamError} DELETED, STORAGE_FAILED.
 */
export async function* readRange(
  resource: Resource,
  first: number,
  end: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  readers++;
  try {
    yield* readPieces(resource, first, end, { signal, pieceBytes: readBytesNow });
  } finally {
    readers--;
  }
}

/** What a range is read into. */
export interface ReadMemory {
  /** Whether the reader is done with each piece when it asks for the next: then their memory is the same. */
  lends?: boolean;
  /** Memory of the reader's for the first piece; new memory by default. */
  memory?: Uint8Array;
}

interface Pieces extends ReadMemory {
  signal?: AbortSignal;
  /** Largest piece at present. */
  pieceBytes: () => number;
}

async function* readPieces(
  resource: Resource,
  first: number,
  end: number,
  { signal, pieceBytes, lends = false, memory }: Pieces,
): AsyncGenerator<Uint8Array, void, void> {
  for (let next = first; next < end;) {
    signal?.throwIfAborted();
    const byteCount = Math.min(end - next, pieceBytes(), mostBytesAfter(next - first));
    if (lends && (memory?.length ?? 0) < byteCount) memory = new Uint8Array(byteCount);
    const bytes = await resource.read(next, byteCount, memory);
    next += bytes.length;
    yield bytes;
    if (!lends) memory = undefined;
  }
}

/** Reads a range like `readRange`, for a reader that is done with each piece when it asks for the next: their memory is the same. */
export async function* lendRange(
  resource: Resource,
  first: number,
  end: number,
): AsyncGenerator<Uint8Array, void, void> {
  const buffer = new Uint8Array(Math.min(end - first, READ_BYTES));
  for (let next = first; next < end;) {
    const bytes = await resource.read(next, Math.min(end - next, buffer.length), buffer);
    next += bytes.length;
    yield bytes;
  }
}

/**
 * Reads a range like `readRange`, for a whole download: more at once, while not too many do.
 *
 * @param into What it is read into.
 */
export async function* readFast(
  resource: Resource,
  first: number,
  end: number,
  signal: AbortSignal,
  into: ReadMemory,
): AsyncGenerator<Uint8Array, void, void> {
  if (largeReaders === MAX_LARGE_READERS) return yield* readRange(resource, first, end, signal);
  largeReaders++;
  try {
    yield* readPieces(resource, first, end, {
      ...into,
      signal,
      pieceBytes: () => LARGE_READ_BYTES,
    });
  } finally {
    largeReaders--;
  }
}

/**
 * Reads to the end of the transfer, as fast as it comes.
 *
 * @param resource The resource.
 * @param first Position of the first byte.
 * @param signal Ends it with its reason.
 * @throws {StreamError} ABORTED by a transfer that failed; RANGE_NOT_AVAILABLE by one that ended before the first
 * byte; OFFSET_LOST when another owner found less than was read; DELETED, STORAGE_FAILED.
 */
export async function* followFrom(
  resource: Resource,
  first: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  let next = first;
  const bell = new Bell();
  const losses = new LossWatch(resource, bell, () => ({ from: first, next }));
  signal.addEventListener("abort", bell.ring);
  const leave = resource.meter.follows(() => resource.status.currentSize - next);
  readers++;
  try {
    for (;;) {
      signal.throwIfAborted();
      losses.check();
      const byteCount = resource.status.currentSize - next;
      if (byteCount > 0) {
        const mostBytes = Math.min(readBytesNow(), mostBytesAfter(next - first));
        const bytes = await resource.read(next, Math.min(byteCount, mostBytes));
        next += bytes.length;
        yield bytes;
      } else if (hasEnded(resource, next)) return;
      else await bell.rung();
    }
  } finally {
    readers--;
    leave();
    losses.stop();
    signal.removeEventListener("abort", bell.ring);
  }
}

/** Rings for every status of a resource, and keeps in mind that bytes which its follower has are gone. */
export class LossWatch {
  /** Ends it. */
  readonly stop: () => void;
  #lost: StreamError | null = null;

  /**
   * @param resource The resource.
   * @param bell Wakes the follower.
   * @param follower Tells where it began, and the byte behind the last that it has.
   */
  constructor(resource: Resource, bell: Bell, follower: () => { from: number; next: number }) {
    this.stop = resource.watch((status) => {
      const place = follower();
      if (isLost(place, status)) this.#lost ??= offsetLost(place.next, status);
      bell.ring();
    });
  }

  /** @throws {StreamError} OFFSET_LOST. */
  check(): void {
    if (this.#lost !== null) throw this.#lost;
  }
}

/**
 * Whether bytes that somebody has are gone, as another owner found less: what comes in their place does not follow them.
 * @param follower Where it began, and the byte behind the last that it has.
 * @param status The newest status; each has to be looked at.
 */
export function isLost(
  { from, next }: { from: number; next: number },
  { currentSize, transferStatus }: ResourceStatus,
): boolean {
  return next > from && currentSize < next && !isFinal(transferStatus);
}

/** What a follower is told whose bytes are gone. */
export function offsetLost(next: number, { currentSize }: ResourceStatus): StreamError {
  return new StreamError(
    "OFFSET_LOST",
    `byte ${next} was reached; the resource now has ${currentSize} bytes`,
  );
}

/** Whether no byte comes any more; one that was waited for in vain is an error. */
function hasEnded({ id, deleted, status }: Resource, next: number): boolean {
  const { transferStatus, currentSize, failure } = status;
  if (deleted) throw new StreamError("DELETED", `resource ${id} was deleted`);
  if (transferStatus === "FAILED") throw new StreamError("ABORTED", `FAILED: ${failure}`);
  if (transferStatus !== "COMPLETED") return false;
  if (next === currentSize) return true;
  throw new StreamError("RANGE_NOT_AVAILABLE", `${id} has no byte ${next}`);
}
