/**
 * The file of arrivals beside a log. It is a convenience: what the disk refuses here fails no upload, and what is
 * missing is not known.
 * @module
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { ARRIVAL_BYTES, decodeArrival, encodeArrival } from "../arrivals.ts";

/** Entries are written together: so many of them, or those of so long, in ms; a crash loses no more. */
const MOST_WAITING = 256;
const MOST_WAITING_MS = 1000;

/** Notes when bytes arrived. */
export class ArrivalWriter {
  #file: number | null = null;
  #entries = 0;
  #waiting: Uint8Array[] = [];
  #waitingSinceMs = 0;
  #last = 0;
  /** Bytes before this arrived when nobody took notes. */
  #unknownEnd = 0;
  #broken = false;

  /** @param path The file; made with its first entry. */
  constructor(private readonly path: string) {}

  /** Stands at the end of what is there, and agrees with the log. */
  align(size: number): void {
    this.#attempt(() => {
      this.#unknownEnd = size;
      this.#file = openIfThere(this.path);
      if (this.#file === null) return;
      this.#entries = Math.floor(fstatSync(this.#file).size / ARRIVAL_BYTES);
      // What a crash took from the log it takes from here.
      while (this.#entries > 0 && this.#offsetAt(this.#entries - 1) > size) this.#entries--;
      ftruncateSync(this.#file, this.#entries * ARRIVAL_BYTES);
      this.#last = this.#entries === 0 ? 0 : this.#offsetAt(this.#entries - 1);
    });
  }

  /** The log ends here now, at a checkpoint. */
  note(byteOffset: number): void {
    if (byteOffset <= this.#last) return;
    this.#attempt(() => {
      const nowMs = Date.now();
      if (this.#unknownEnd > this.#last) this.#add(nowMs, false, this.#unknownEnd);
      if (byteOffset > this.#last) this.#add(nowMs, true, byteOffset);
      const isDue = nowMs - this.#waitingSinceMs >= MOST_WAITING_MS;
      if (isDue || this.#waiting.length >= MOST_WAITING) this.#write();
    });
  }

  /** Writes what was noted, for somebody who reads it. */
  settle(): void {
    this.#attempt(() => this.#write());
  }

  /** Releases the file; what was not written by then belongs to bytes of the next owner. */
  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
    this.#broken = true;
  }

  #add(timeMs: number, isKnown: boolean, byteOffset: number): void {
    if (this.#waiting.length === 0) this.#waitingSinceMs = timeMs;
    this.#waiting.push(encodeArrival(timeMs, isKnown, byteOffset));
    this.#last = byteOffset;
  }

  #write(): void {
    if (this.#waiting.length === 0) return;
    this.#file ??= openSync(this.path, "w+");
    const entries = new Uint8Array(this.#waiting.length * ARRIVAL_BYTES);
    for (const [index, entry] of this.#waiting.entries()) entries.set(entry, index * ARRIVAL_BYTES);
    writeSync(this.#file, entries, 0, entries.length, this.#entries * ARRIVAL_BYTES);
    this.#entries += this.#waiting.length;
    this.#waiting = [];
  }

  #offsetAt(index: number): number {
    const entry = new Uint8Array(ARRIVAL_BYTES);
    readSync(this.#file!, entry, 0, ARRIVAL_BYTES, index * ARRIVAL_BYTES);
    return decodeArrival(entry, 0).byteOffset;
  }

  #attempt(step: () => void): void {
    if (this.#broken) return;
    try {
      step();
    } catch {
      this.close();
    }
  }
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, "r+");
  } catch {
    return null;
  }
}
