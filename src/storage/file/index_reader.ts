/**
 * The line break index of a log as its readers see it: no entry is believed that the log does not confirm.
 *
 * An entry is right when it names a line break of the data, lies between its neighbours, and no other break is
 * between it and the one before. What `stream check --repair` has put in its place is opened when one is not.
 * @module
 */
import { type FileHandle, open } from "node:fs/promises";
import { StreamError } from "../../protocol.ts";
import { decodeEntry, INDEX_ENTRY_BYTES, indexPath, labelOf } from "../layout.ts";

const LINE_BREAK = 10;
/** Bytes before a line break in which no other may be; longer lines are not looked through. */
const CHECKED_BYTES = 4096;

/** Reads up to so many bytes of a file; fewer only at its end. */
export type ReadSome = (
  file: FileHandle,
  position: number,
  byteCount: number,
) => Promise<Uint8Array>;

/** Reads one index, beside its data. */
export class IndexReader {
  readonly #path: string;
  readonly #data: FileHandle;
  readonly #read: ReadSome;
  #file: FileHandle | null;
  /** Those that were replaced; somebody may still read them. */
  readonly #replaced: FileHandle[] = [];
  /** Lines and size for which the whole was checked. */
  #checked: string | null = null;

  /**
   * @param path Path of the data.
   * @param data The data.
   * @param file The index; null where there was none.
   * @param read How both are read.
   */
  constructor(path: string, data: FileHandle, file: FileHandle | null, read: ReadSome) {
    this.#path = indexPath(path);
    this.#data = data;
    this.#file = file;
    this.#read = read;
  }

  /**
   * Position of a line break.
   * @throws {StreamError} STORAGE_FAILED when the index is shorter, INDEX_DAMAGED when what it tells is not true.
   */
  async lineBreak(index: number): Promise<number> {
    let found = await this.#find(index);
    if (typeof found !== "number" && await this.#reopen()) found = await this.#find(index);
    if (found === "ABSENT") {
      throw new StreamError(
        "STORAGE_FAILED",
        `the index ${labelOf(this.#path)} has no entry ${index}`,
      );
    }
    return found === "WRONG" ? this.#refuse(`entry ${index} names no line break`) : found;
  }

  /**
   * Checks that there are as many entries as line breaks, once.
   * @param lines Lines of a log that was completed.
   * @param size Bytes of it.
   * @throws {StreamError} INDEX_DAMAGED.
   */
  async check(lines: number, size: number): Promise<void> {
    const key = `${lines} ${size}`;
    if (this.#checked === key) return;
    const isRight = await this.#hasLines(lines, size) ||
      await this.#reopen() && await this.#hasLines(lines, size);
    if (!isRight) this.#refuse(`it is not that of ${lines} lines`);
    this.#checked = key;
  }

  /** Closes whatever was opened. */
  async close(): Promise<void> {
    for (const file of [this.#file, ...this.#replaced]) await file?.close();
  }

  async #hasLines(lines: number, size: number): Promise<boolean> {
    if (this.#file === null) return false;
    const [last] = size === 0 ? [LINE_BREAK] : await this.#read(this.#data, size - 1, 1);
    const breaks = last === LINE_BREAK ? lines : lines - 1;
    if ((await this.#file.stat()).size !== breaks * INDEX_ENTRY_BYTES) return false;
    return breaks === 0 || last !== LINE_BREAK || await this.#find(breaks - 1) === size - 1;
  }

  /** What an entry says, if that is true. */
  async #find(index: number): Promise<number | "ABSENT" | "WRONG"> {
    const file = this.#file;
    if (file === null) return "ABSENT";
    const first = Math.max(0, index - 1);
    const entries = await this.#read(
      file,
      first * INDEX_ENTRY_BYTES,
      (index - first + 2) * INDEX_ENTRY_BYTES,
    );
    const entry = (wanted: number) => {
      const at = (wanted - first) * INDEX_ENTRY_BYTES;
      return at + INDEX_ENTRY_BYTES <= entries.length ? decodeEntry(entries, at) : null;
    };
    const position = entry(index);
    if (position === null) return "ABSENT";
    const before = index === 0 ? -1 : entry(index - 1)!;
    // The newest entry of a log that grows has none behind it.
    if (position <= before || position >= (entry(index + 1) ?? Infinity)) return "WRONG";
    const from = Math.max(before + 1, position - CHECKED_BYTES);
    const line = await this.#read(this.#data, from, position - from + 1);
    return line.indexOf(LINE_BREAK) === position - from ? position : "WRONG";
  }

  /** Opens what stands in the place of the index now; false when that is what was open already. */
  async #reopen(): Promise<boolean> {
    const file = await open(this.#path, "r").catch(() => null);
    if (file === null) return false;
    const [known, found] = [await this.#file?.stat(), await file.stat()];
    if (known?.ino === found.ino && known.dev === found.dev) {
      await file.close();
      return false;
    }
    if (this.#file !== null) this.#replaced.push(this.#file);
    this.#file = file;
    this.#checked = null;
    return true;
  }

  #refuse(what: string): never {
    throw new StreamError(
      "INDEX_DAMAGED",
      `the index ${labelOf(this.#path)} is damaged, ${what}: stream check --repair builds it anew`,
    );
  }
}
