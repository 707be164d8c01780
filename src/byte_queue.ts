/**
 * Bytes of a stream between two offsets, copied into blocks whose memory is used again.
 *
 * What a runtime allocates and does not free at once is memory that was never touched, and each page of it costs a
 * fault: chunks that wait until they are done with cost more than everything else that is done with them.
 * @module
 */
import { LIMITS } from "./protocol.ts";

/** The longest message fits in. */
const BLOCK_BYTES = LIMITS.agreedMessageBytes;
/** Lengths of blocks, and how many of each are kept for the next bytes of any queue: 13 MiB. */
const SIZES = [
  { bytes: 4 * 1024, most: 256 },
  { bytes: 64 * 1024, most: 64 },
  { bytes: BLOCK_BYTES, most: 32 },
];
/** Blocks end with a page of the offsets, so that whole ones are cheap to write. */
const PAGE_BYTES = 4096;

/** Blocks that are not in use, by their length. */
const spare = new Map<number, Uint8Array[]>(SIZES.map(({ bytes }) => [bytes, []]));

/** A part of a queue. */
interface Block {
  /** Offset of its first byte. */
  from: number;
  /** Offset that it ends before when it is full. */
  to: number;
  memory: Uint8Array;
}

/** The bytes from {@link ByteQueue.start} to {@link ByteQueue.end}. */
export class ByteQueue {
  readonly #leastBytes: number;
  #blocks: Block[] = [];
  #start: number;
  #end: number;

  /**
   * @param offset Where the first byte will be.
   * @param leastBytes Least memory that a few bytes take; what waits is in few pieces where it is long.
   */
  constructor(offset: number, leastBytes: number = BLOCK_BYTES) {
    this.#leastBytes = leastBytes;
    this.#start = this.#end = offset;
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
      let block = this.#blocks.at(-1);
      if (block === undefined || block.to === this.#end) {
        block = this.#makeBlock(bytes.length - at);
        this.#blocks.push(block);
      }
      const part = bytes.subarray(at, at + block.to - this.#end);
      block.memory.set(part, this.#end - block.from);
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
    const { from, to, memory } = this.#blocks.findLast(({ from }) => from <= offset)!;
    return memory.subarray(offset - from, Math.min(offset + mostBytes, to, this.#end) - from);
  }

  /** Lets go of the bytes from an offset on, one between start and end. */
  dropFrom(offset: number): void {
    this.#end = offset;
    while (this.#blocks.length > 0 && this.#blocks.at(-1)!.from >= offset) {
      keepSpare(this.#blocks.pop()!);
    }
  }

  /** Lets go of the bytes before an offset; one behind the end becomes the end. */
  dropBefore(offset: number): void {
    this.#start = Math.max(this.#start, offset);
    this.#end = Math.max(this.#end, this.#start);
    const isEmpty = this.#start === this.#end;
    while (this.#blocks.length > 0 && (isEmpty || this.#blocks[0].to <= this.#start)) {
      keepSpare(this.#blocks.shift()!);
    }
  }

  #makeBlock(byteCount: number): Block {
    const wanted = Math.max(this.#leastBytes, this.#end - this.#start + byteCount);
    const { bytes } = SIZES.find(({ bytes }) => bytes >= wanted) ?? SIZES.at(-1)!;
    const memory = spare.get(bytes)!.pop() ?? new Uint8Array(bytes);
    const from = this.#end;
    return { from, to: from + bytes - from % PAGE_BYTES, memory };
  }
}

function keepSpare({ memory }: Block): void {
  const { bytes, most } = SIZES.find(({ bytes }) => bytes === memory.length)!;
  const kept = spare.get(bytes)!;
  if (kept.length < most) kept.push(memory);
}

/**
 * Gives memory back at once: nobody knows when it would be collected.
 * @param bytes Bytes that nobody looks at any more; those that are a part of their buffer are left alone.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  if (byteLength === buffer.byteLength) (buffer as ArrayBuffer).transfer(0);
}

/**
 * Byte arrays as one.
 * @param parts The arrays, in order.
 * @returns Their bytes in memory of their own.
 */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
