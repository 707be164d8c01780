/**
 * The file of arrivals beside a log. It is a convenience: what the disk refuses here fails no upload, and what is
 * missing is not known.
 * @module
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { ARRIVAL_BYTES, decodeArrival, encodeArrival } from "../arrivals.ts";

/** Notes when bytes arrived. */
export class ArrivalWriter {
  #file: number | null = null;
  #entries = 0;
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
    });
  }

  /** Releases the file. */
  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
    this.#broken = true;
  }

  #add(timeMs: number, isKnown: boolean, byteOffset: number): void {
    this.#file ??= openSync(this.path, "w+");
    const entry = encodeArrival(timeMs, isKnown, byteOffset);
    writeSync(this.#file, entry, 0, entry.length, this.#entries * ARRIVAL_BYTES);
    this.#entries++;
    this.#last = byteOffset;
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
