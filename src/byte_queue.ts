/**
 * Bytes of a stream between two offsets, copied into blocks whose memory is used again.
 *
 * What Bun allocates and does not free at once is memory that was never touched, and each page of it costs a fault:
 * chunks that waited for their acknowledgement cost more than everything else that an upload does.
 * @module
 */
import { LIMITS } from "./protocol.ts";

/** The longest message fits in. */
const BLOCK_BYTES = LIMITS.agreedMessageBytes;
/** Most blocks that are kept for the next bytes of any queue: 8 MiB. */
const MOST_SPARE = 32;

const spare: Uint8Array[] = [];

/** The bytes from {@link ByteQueue.start} to {@link ByteQueue.end}. */
export class ByteQueue {
  #blocks: Uint8Array[] = [];
  /** Offset of the first byte of the first block. */
  #blocksFrom: number;
  #start: number;
  #end: number;

  /** @param offset Where the first byte will be. */
  constructor(offset: number) {
    this.#blocksFrom = this.#start = this.#end = offset;
  }

  /** Offset of the first byte. */
  get start(): number {
    return this.#start;
  }

  /** Offset after the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Copies bytes to the end. */
  append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const inBlocks = this.#end - this.#blocksFrom;
      const position = inBlocks % BLOCK_BYTES;
      if (inBlocks === this.#blocks.length * BLOCK_BYTES) {
        this.#blocks.push(spare.pop() ?? new Uint8Array(BLOCK_BYTES));
      }
      const part = bytes.subarray(at, at + BLOCK_BYTES - position);
      this.#blocks[this.#blocks.length - 1].set(part, position);
      this.#end += part.length;
      at += part.length;
    }
  }

  /**
   * The bytes from an offset on, as far as one block has them; they change after they were dropped.
   * @param offset One of a byte.
   * @param mostBytes Most bytes to show, at least one.
   */
  view(offset: number, mostBytes: number): Uint8Array {
    const inBlocks = offset - this.#blocksFrom;
    const position = inBlocks % BLOCK_BYTES;
    const length = Math.min(mostBytes, this.#end - offset);
    return this.#blocks[Math.floor(inBlocks / BLOCK_BYTES)].subarray(position, position + length);
  }

  /** Lets go of the bytes from an offset on, one between start and end. */
  dropFrom(offset: number): void {
    this.#end = offset;
    const count = Math.ceil((offset - this.#blocksFrom) / BLOCK_BYTES);
    keepSpare(this.#blocks.splice(count));
  }

  /** Lets go of the bytes before an offset; one behind the end becomes the end. */
  dropBefore(offset: number): void {
    this.#start = Math.max(this.#start, offset);
    this.#end = Math.max(this.#end, this.#start);
    const isEmpty = this.#start === this.#end;
    const inBlocks = this.#start - this.#blocksFrom;
    const count = isEmpty
      ? this.#blocks.length
      : Math.min(this.#blocks.length, Math.floor(inBlocks / BLOCK_BYTES));
    keepSpare(this.#blocks.splice(0, count));
    this.#blocksFrom = isEmpty ? this.#end : this.#blocksFrom + count * BLOCK_BYTES;
  }
}

function keepSpare(blocks: readonly Uint8Array[]): void {
  for (const block of blocks) if (spare.length < MOST_SPARE) spare.push(block);
}

/**
 * Gives memory back at once: nobody knows when it would be collected, and what is allocated until then was never
 * touched, and costs a fault a page.
 * @param bytes Bytes that nobody looks at any more; those that are a part of their buffer are left alone.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (byteLength === buffer.byteLength) (buffer as ArrayBuffer).transfer(0);
}
