/**
 * Files that come one after the other at one path, as logs do that are rotated.
 * @module
 */
import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { StreamError, toStreamError } from "../protocol.ts";
import { GrowingFile, type GrowingFileOptions, isOver, type Successors } from "./growing_file.ts";
import { checkFollowed, OpenFile, unreadable } from "./open_file.ts";
import { WatchedProcess } from "./process.ts";
import { pull, type Source } from "./source.ts";

/** Interval of looking whether another file is at the path, also while nobody reads. */
const LOOK_EVERY_MS = 200;
/** The same where something happens: logs that rotate fast have each of their files for a moment. */
const BUSY_LOOK_MS = 10;
/** A path where nothing happened for so long is quiet. */
const BUSY_MS = 1000;
/** What is wrong at the path for so long is told: that a rotation has its file made and given away takes less. */
const FAILING_MS = 1000;
/** Files that are held open to be read later. */
const MAX_WAITING = 64;

/** How files of one name are followed. */
export interface NamedFilesOptions extends Omit<GrowingFileOptions, "from"> {
  /** A path without a file is given up after so many ms; never by default. */
  waitMs?: number;
  /** Called when there is no file at the path, once until there is one. */
  onMissing?: () => void;
  /** Called when what is at the path could not be read for a second, once until it can; it is looked at again. */
  onUnreadable?: (failure: StreamError) => void;
  /** Called before a file that others came before which nobody read; without it they end all with this error. */
  onMissed?: (missed: StreamError) => void;
}

/** A file to be read later. */
interface Waiting {
  file: OpenFile;
  came: Date;
  /** Those between it and the one before it, which were let go; null when there are none. */
  missed: { count: number; from: Date; to: Date } | null;
}

/**
 * Follows a path: each file that is there, from its beginning, one after the other, every byte of a file before the next
 * (rename and create, a link that moves on). A file that is truncated and written anew counts as another one; what was
 * written since the last read is lost then, as it is nowhere any more. Files that come while 64 wait are missed, all but
 * the newest.
 *
 * @param path The path.
 * @param options What ends it, and how long a file is waited for.
 * @returns The files as sources; each has to be read to its end before the next is asked for.
 * @throws {StreamError} SOURCE_FAILED when no file comes in time or before its producer is done, one cannot be read, or
 * some were missed; ABORTED when it is stopped before there is one.
 */
export async function* openNamedFiles(
  path: string,
  options: NamedFilesOptions = {},
): AsyncGenerator<Source, void, void> {
  const { untilPid } = options;
  const producer = untilPid === undefined ? null : new WatchedProcess(untilPid);
  const files = new NamedFiles(path, options);
  let growing: GrowingFile | null = null;
  try {
    for (let file: OpenFile | null = await files.first(producer); file !== null;) {
      growing = new GrowingFile(file, producer, options, files);
      yield { stream: pull(growing), size: null, name: basename(path) };
      file = growing.rewritten ?? await files.next();
    }
  } finally {
    await growing?.rewritten?.close();
    await files.close();
  }
}

/** What is at the path cannot be read. */
interface Failure {
  error: StreamError;
  sinceMs: number;
  isTold: boolean;
}

/** The files of a path as they come; they are opened when they do, so that none is missed as long as few wait. */
class NamedFiles implements Successors {
  readonly #waiting: Waiting[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #happenedAtMs = -Infinity;
  #newest: OpenFile | null = null;
  #looking: Promise<void> = Promise.resolve();
  #failure: Failure | null = null;
  #missingSinceMs: number | null = null;
  #arrivedAtMs = 0;

  constructor(private readonly path: string, private readonly options: NamedFilesOptions) {
    this.#lookLater();
  }

  get count(): number {
    return this.#waiting.length;
  }

  get sinceMs(): number | null {
    if (this.#waiting.length > 0) return this.#arrivedAtMs;
    return this.#isGone() ? this.#missingSinceMs : null;
  }

  grew(): void {
    const wasQuiet = this.#isQuiet();
    this.#happenedAtMs = performance.now();
    if (wasQuiet) this.#lookLater();
  }

  /** Waits for the first file, but not for one that is made when it is over. */
  async first(producer: WatchedProcess | null): Promise<OpenFile> {
    for (let isTold = false;;) {
      const wasOver = isOver(this.options, producer);
      const file = await this.next();
      if (file !== null) return file;
      if (this.options.stop?.aborted) {
        throw new StreamError("ABORTED", `interrupted before there was a file at ${this.path}`);
      }
      if (wasOver) throw this.#missing("its producer is done");
      if (this.#isGone()) throw this.#missing(`none came in ${this.options.waitMs} ms`);
      if (!isTold) this.options.onMissing?.();
      isTold = true;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS / 4));
    }
  }

  /** The file after the one that was read, also one that came at the last moment; null when there is none. */
  async next(): Promise<OpenFile | null> {
    await this.look();
    this.#tellMissed();
    const next = this.#waiting.shift();
    if (next === undefined && this.#failure !== null) throw this.#failure.error;
    return next?.file ?? null;
  }

  /** Looks whether there is another file; what is wrong for a moment, as rights in a rotation, is no failure later. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look())
      .then(() => void (this.#failure = null), (error) => this.#failed(toStreamError(error)));
    return this.#looking;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    await Promise.all(this.#waiting.map(({ file }) => file.close()));
  }

  #lookLater(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const lookAgain = () => this.look().then(() => this.#lookLater());
    this.#timer = setTimeout(lookAgain, this.#isQuiet() ? LOOK_EVERY_MS : BUSY_LOOK_MS);
  }

  #isQuiet(): boolean {
    return performance.now() - this.#happenedAtMs > BUSY_MS;
  }

  async #look(): Promise<void> {
    const named = await this.#stat();
    if (named === null) {
      this.#missingSinceMs ??= performance.now();
      return;
    }
    this.#missingSinceMs = null;
    if (this.#newest?.isSame(named)) return;
    checkFollowed(this.path, named);
    const file = await OpenFile.open(this.path, 0, this.options.bufferBytes);
    this.#newest = file;
    this.grew();
    await this.#keep({ file, came: new Date(), missed: null });
  }

  #failed(error: StreamError): void {
    const { sinceMs, isTold } = this.#failure ?? { sinceMs: performance.now(), isTold: false };
    const tells = !isTold && performance.now() - sinceMs >= FAILING_MS;
    if (tells) this.options.onUnreadable?.(error);
    this.#failure = { error, sinceMs, isTold: isTold || tells };
  }

  /** The newest is always kept, and the one before it let go where too many wait. */
  async #keep(next: Waiting): Promise<void> {
    const last = this.#waiting.length < MAX_WAITING ? undefined : this.#waiting.pop();
    if (last !== undefined) {
      const { count, from } = last.missed ?? { count: 0, from: last.came };
      next.missed = { count: count + 1, from, to: last.came };
    }
    if (this.#waiting.push(next) === 1) this.#arrivedAtMs = performance.now();
    await last?.file.close();
  }

  #tellMissed(): void {
    const [next] = this.#waiting;
    if (!next?.missed) return;
    const { count, from, to } = next.missed;
    next.missed = null;
    const error = new StreamError(
      "SOURCE_FAILED",
      `files at ${this.path} were missed, ${count} in all, that came from ${from.toISOString()} ` +
        `to ${to.toISOString()}: ${MAX_WAITING} others waited to be read`,
    );
    if (this.options.onMissed === undefined) throw error;
    this.options.onMissed(error);
  }

  async #stat(): Promise<BigIntStats | null> {
    return await stat(this.path, { bigint: true }).catch((error) => {
      if (error.code === "ENOENT") return null;
      throw unreadable(this.path, error);
    });
  }

  #missing(why: string): StreamError {
    const message = `cannot read ${this.path}: there is no such file, and ${why}`;
    return new StreamError("SOURCE_FAILED", message);
  }

  #isGone(): boolean {
    const { waitMs = Infinity } = this.options;
    return this.#missingSinceMs !== null && performance.now() - this.#missingSinceMs >= waitMs;
  }
}
