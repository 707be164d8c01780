/**
 * Where a log comes from: a resource of a server, or one long line of it cut into pieces.
 * @module
 */
import {
  type AppendedText,
  getLines,
  getResource,
  type ResourceStatus,
  type ResourceWithLines,
  search,
  statusEvents,
  StreamError,
} from "../../client.ts";
import { isTransient, toStreamError } from "../../protocol.ts";
import type { LoadedLines } from "./line_cache.ts";
import type { LineRange } from "./row_map.ts";
import type { Find } from "./searcher.ts";

/** Where a resource is, and what is presented there. */
export interface Address {
  /** Reference with the signed link, if there is one. */
  reference: string;
  token: string | undefined;
}

/** Hears that a connection is lost, and when it is tried again. */
export type OnRetry = (error: StreamError, delayMs: number) => void;

/** Hears what was appended. */
export type OnText = (appended: AppendedText) => void;

/** What a log is made of. */
export interface LogSource {
  /** What its lines are: those of a resource, or pieces of one of them. */
  readonly unit: "line" | "piece";
  /**
   * What the resource is, and its status.
   * @param first A line whose text is wanted in the same answer, with some around it.
   */
  info(first?: number): Promise<ResourceWithLines>;
  /** Statuses until the last; before each, where that costs no request, what was appended. */
  statuses(signal: AbortSignal, onRetry: OnRetry, onText: OnText): AsyncIterable<ResourceStatus>;
  /** Some lines, with the times of their arrival where those are wanted and known. */
  lines(
    start: number,
    count: number,
    signal: AbortSignal,
    times?: boolean,
  ): Promise<LoadedLines>;
  /** The first line that arrived at a time or later; the number of lines for none. Null where times mean nothing. */
  readonly lineSince: ((timeMs: number) => Promise<number>) | null;
  /**
   * The whole text of lines, without line breaks; one that is not ended yet is among them.
   * @throws {StreamError} MESSAGE_TOO_LARGE for more than `maxBytes`.
   */
  texts(range: LineRange, maxBytes: number, signal: AbortSignal): Promise<string[]>;
  /** Reads bytes. */
  readonly read: ReadBytes;
  /** Searches; null where nothing can be searched. */
  readonly find: Find | null;
}

/** A resource of a server. */
export class ResourceSource implements LogSource {
  readonly unit = "line";

  /**
   * @param address Where it is.
   * @param read Reads its bytes.
   * @param watch Tells its statuses in another way than by a connection of its own.
   */
  constructor(
    private readonly address: Address,
    readonly read: ReadBytes,
    private readonly watch?: (
      signal: AbortSignal,
      onRetry: OnRetry,
    ) => AsyncIterable<ResourceStatus>,
  ) {}

  info(first?: number): Promise<ResourceWithLines> {
    const { reference, token } = this.address;
    if (first === undefined) return getResource(reference, { token });
    const start = Math.max(0, first - FIRST_LINES);
    return getResource(reference, { token, start, count: 2 * FIRST_LINES });
  }

  statuses(signal: AbortSignal, onRetry: OnRetry, onText: OnText): AsyncIterable<ResourceStatus> {
    const { reference, token } = this.address;
    return this.watch?.(signal, onRetry) ??
      statusEvents(reference, { token, signal, onRetry, onText, retryForMs: Infinity });
  }

  lines(start: number, count: number, signal: AbortSignal, times = false): Promise<LoadedLines> {
    const { reference, token } = this.address;
    return getLines(reference, { start, count, signal, token, times });
  }

  async texts([from, to]: LineRange, maxBytes: number, signal: AbortSignal): Promise<string[]> {
    const { startOffset } = await this.lines(from, 1, signal);
    const last = await this.lines(to - 1, 1, signal);
    const isThere = last.linesCount > 0;
    const endOffset = isThere ? last.endOffset : (await this.info()).currentSize;
    checkLength(endOffset - startOffset, maxBytes);
    const text = decoder.decode(await this.read(startOffset, endOffset, signal));
    return text.split(/\r?\n/).slice(0, to - from);
  }

  readonly lineSince = async (timeMs: number): Promise<number> => {
    const { reference, token } = this.address;
    return (await getLines(reference, { timeMs, count: 0, token })).startingLineIndex;
  };

  readonly find: Find = (...asked) => this.#find(...asked);

  /** Others search, too, and connections break: it goes on where it was. */
  async *#find(
    ...[{ pattern, ...how }, start, limit, signal, onProgress]: Parameters<Find>
  ): ReturnType<Find> {
    const { reference, token } = this.address;
    let from = start, found = 0, pauseMs = AGAIN_MS;
    const progressed = (lines: number) => {
      from = Math.max(from, lines);
      pauseMs = AGAIN_MS;
      onProgress?.(lines);
    };
    for (;;) {
      const options = { ...how, from, limit: limit - found, signal, token, onProgress: progressed };
      const matches = search(reference, pattern, options);
      try {
        for (;;) {
          const { done, value } = await matches.next();
          if (done) return value;
          from = value.line + 1;
          pauseMs = AGAIN_MS;
          found++;
          yield value;
        }
      } catch (error) {
        if (!isTransient(toStreamError(error))) throw error;
      }
      if (found === limit) return { nextLine: from, truncated: true };
      await pause(pauseMs, signal);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }
}

/** A byte order mark is a character like any other. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function checkLength(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  const length = `${bytes.toLocaleString("en")} bytes`;
  throw new StreamError("MESSAGE_TOO_LARGE", `${length} are too many at once: download them.`);
}

/** Lines on each side of the first one shown that come together with what the resource is. */
const FIRST_LINES = 80;
/** After so long a server that searches as much as it can, or does not answer, is asked again, in ms. */
const AGAIN_MS = 1000;
/** The same where it goes on like that. */
const LONGEST_PAUSE_MS = 10_000;

/** Waits; a signal ends it with its reason. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    signal.addEventListener("abort", aborted);
  });
}

/** Bytes of a piece of a long line. */
export const PIECE_BYTES = 4096;
/** Longest character of UTF-8. */
const CHARACTER_BYTES = 4;

/** Reads bytes of a resource. */
export type ReadBytes = (from: number, to: number, signal: AbortSignal) => Promise<Uint8Array>;

/** One long line, in pieces that are shown like lines. */
export class LongLineSource implements LogSource {
  readonly unit = "piece";
  readonly find = null;
  readonly lineSince = null;
  #window: { startOffset: number; bytes: number } | null = null;

  /**
   * @param whole The log of the line.
   * @param line Index of the line.
   */
  constructor(private readonly whole: LogSource, private readonly line: number) {}

  get read(): ReadBytes {
    return this.whole.read;
  }

  async info(): Promise<ResourceWithLines> {
    const info = await this.whole.info();
    const { signal } = new AbortController();
    const { linesCount, startOffset, endOffset } = await this.whole.lines(this.line, 1, signal);
    if (linesCount === 0) {
      throw new StreamError("LINES_NOT_AVAILABLE", `there is no line ${this.line + 1} yet`);
    }
    const end = await this.read(Math.max(startOffset, endOffset - 2), endOffset, signal);
    const bytes = endOffset - startOffset - breakBytes(end);
    this.#window = { startOffset, bytes };
    const numberOfLines = Math.max(1, Math.ceil(bytes / PIECE_BYTES));
    return { ...info, numberOfLines, currentSize: bytes, transferStatus: "COMPLETED" };
  }

  async *statuses(): AsyncGenerator<ResourceStatus> {}

  async lines(start: number, count: number, signal: AbortSignal): Promise<LoadedLines> {
    const { startOffset, bytes } = this.#window!;
    if (bytes === 0) {
      return { lines: [""], next: null, linesCount: 1, startOffset, endOffset: startOffset };
    }
    const from = start * PIECE_BYTES;
    const to = Math.min(bytes, (start + count) * PIECE_BYTES);
    const before = Math.min(from, CHARACTER_BYTES);
    const after = Math.min(bytes - to, CHARACTER_BYTES);
    const read = await this.read(startOffset + from - before, startOffset + to + after, signal);
    const lines = piecesOfBytes(read, before, to - from);
    return { lines, next: null, linesCount: lines.length, startOffset: from, endOffset: to };
  }

  async texts([from, to]: LineRange, maxBytes: number, signal: AbortSignal): Promise<string[]> {
    checkLength((to - from) * PIECE_BYTES, maxBytes);
    return [...(await this.lines(from, to - from, signal)).lines];
  }
}

/** Bytes of the line break at the end of a line. */
function breakBytes(end: Uint8Array): number {
  if (end.at(-1) !== 0x0a) return 0;
  return end.at(-2) === 0x0d ? 2 : 1;
}

/**
 * The text of pieces of equal length; a character on an edge belongs to the piece in which it begins.
 * @param bytes The bytes, with some before and behind.
 * @param start Where the first piece begins.
 * @param length Bytes of all pieces.
 */
export function piecesOfBytes(bytes: Uint8Array, start: number, length: number): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const from = characterFrom(bytes, start + at);
    const to = characterFrom(bytes, start + Math.min(length, at + PIECE_BYTES));
    pieces.push(decoder.decode(bytes.subarray(from, to)));
  }
  return pieces;
}

/** The next place that is not within a character. */
function characterFrom(bytes: Uint8Array, at: number): number {
  let place = at;
  while (place < bytes.length && place - at < CHARACTER_BYTES && isContinuation(bytes[place])) {
    place++;
  }
  return at === 0 ? 0 : place;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
