/** Memory that is lent: it is the lender's again at a moment that was agreed on, and overwritten at once. */
import { Buffer } from "node:buffer";

/** What stands where lent bytes were. */
const OVERWRITTEN = 0xee;

/** Bytes in memory that can be taken back. */
export class Lent {
  /** The bytes; a view within a larger buffer, whose `slice` copies nothing, as runtimes hand them out. */
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    const memory = Buffer.alloc(bytes.length + 3, OVERWRITTEN);
    memory.set(bytes, 3);
    this.bytes = memory.subarray(3);
  }

  takeBack(): void {
    this.bytes.fill(OVERWRITTEN);
  }
}

/** Lends bytes to somebody until that is over. */
export async function lend<T>(
  bytes: Uint8Array,
  use: (bytes: Uint8Array) => Promise<T>,
): Promise<T> {
  const lent = new Lent(bytes);
  try {
    return await use(lent.bytes);
  } finally {
    lent.takeBack();
  }
}

/** A stream of chunks, each of which is taken back when the next one is asked for. */
export function lending(chunks: Iterable<Uint8Array>): ReadableStream<Uint8Array> {
  const rest = chunks[Symbol.iterator]();
  let last: Lent | null = null;
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      last?.takeBack();
      const { done, value } = rest.next();
      if (done) return controller.close();
      last = new Lent(value);
      controller.enqueue(last.bytes);
    },
  }, { highWaterMark: 0 });
}
