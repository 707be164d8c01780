/**
 * How the allocator of the C library treats what was freed.
 * @module
 */

/** Bytes of the block that is freed; glibc keeps twice as many from then on, and takes shorter blocks from what it keeps. */
const BLOCK_BYTES = 8 * 1024 * 1024;

/**
 * Has the process keep some memory that was freed: glibc gives what is free at the end of the heap back to the system
 * from 128 KiB on, and Deno takes the memory of each message from there: a fault a page, each time.
 */
export function keepFreedMemory(): void {
  // Bun has an allocator of its own.
  if ("Deno" in globalThis) new ArrayBuffer(BLOCK_BYTES).transfer(0);
}
