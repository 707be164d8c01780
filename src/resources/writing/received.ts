/**
 * Bytes that were received and wait to be written.
 * @module
 */
import { LIMITS } from "../../protocol.ts";

/** Small pieces are joined up to this size before they are written and shared with followers. */
export const BLOCK_BYTES = LIMITS.dataMessageBytes;

/** Bytes that wait, and since when. */
export class Received {
  #pieces: Uint8Array[] = [];
  #byteCount = 0;
  #sinceMs: number | null = null;

  /** How many bytes there are. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** When the first of them came; null when there are none. */
  get sinceMs(): number | null {
    return this.#sinceMs;
  }

  /** Takes the next bytes. */
  add(bytes: Uint8Array): void {
    this.#sinceMs ??= performance.now();
    this.#pieces.push(bytes);
    this.#byteCount += bytes.length;
  }

  /** Gives all of them away, small pieces joined. */
  take(): Uint8Array[] {
    const blocks = joinSmall(this.#pieces);
    this.#pieces = [];
    this.#byteCount = 0;
    this.#sinceMs = null;
    return blocks;
  }
}

/** Joins neighbours into blocks of at most BLOCK_BYTES; large ones pass without a copy. */
function joinSmall(parts: readonly Uint8Array[]): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  let run: Uint8Array[] = [], runBytes = 0;
  const flush = () => {
    if (run.length === 1) blocks.push(run[0]);
    else if (run.length > 1) blocks.push(join(run, runBytes));
    run = [];
    runBytes = 0;
  };
  for (const part of parts) {
    if (runBytes + part.length > BLOCK_BYTES) flush();
    run.push(part);
    runBytes += part.length;
  }
  flush();
  return blocks;
}

function join(parts: readonly Uint8Array[], byteCount: number): Uint8Array {
  const joined = new Uint8Array(byteCount);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
