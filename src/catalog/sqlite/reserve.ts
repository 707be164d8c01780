/**
 * Disk space that is kept for deletions: on a full disk even they need some before they give any.
 * @module
 */
import { closeSync, openSync, rmSync, statSync, writeSync } from "node:fs";

/** More than a write-ahead log has when it begins again from its start (1000 pages of 4 KiB). */
const RESERVE_BYTES = 5 * 1024 * 1024;
const BLOCK_BYTES = 64 * 1024;

/** A file that holds disk space until that is needed. */
export class Reserve {
  readonly #path: string;

  /** @param path The file. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Makes the file unless it is there; where there is no room for it, there is none. */
  keep(): void {
    if (statSync(this.#path, { throwIfNoEntry: false })?.size === RESERVE_BYTES) return;
    try {
      const file = openSync(this.#path, "w", 0o600);
      try {
        // Zeros would take no space where a file system compresses.
        const block = crypto.getRandomValues(new Uint8Array(BLOCK_BYTES));
        for (let at = 0; at < RESERVE_BYTES; at += BLOCK_BYTES) {
          if (writeSync(file, block, 0, BLOCK_BYTES, at) < BLOCK_BYTES) throw new Error("no room");
        }
      } finally {
        closeSync(file);
      }
    } catch {
      this.release();
    }
  }

  /**
   * Gives the space to whoever writes next.
   * @returns Whether there was any.
   */
  release(): boolean {
    try {
      const isThere = statSync(this.#path, { throwIfNoEntry: false }) !== undefined;
      rmSync(this.#path, { force: true });
      return isThere;
    } catch {
      return false;
    }
  }
}
