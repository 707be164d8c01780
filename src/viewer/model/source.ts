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
  type StreamError,
} from "../../client.ts";
import { toStreamError } from "../../protocol.ts";
import type { LoadedLines } from "./line_cache.ts";
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
  /** Reads bytes. */
  readonly read: ReadBytes;
  /** Searches; null where nothing can be searched. */
  readonly find: Find | null;
}

/** A resource of a server. */
export class ResourceSource implements LogSource {
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

  readonly lineSince = async (timeMs: number): Promise<number> => {
    const { reference, token } = this.address;
    return (await getLines(reference, { timeMs, count: 0, token })).startingLineIndex;
  };

  readonly find: Find = (...asked) => this.#find(...asked);

  async *#find(
    ...[{ pattern, ...how }, from, limit, signal, onProgress]: Parameters<Find>
  ): ReturnType<Find> {
    const { reference, token } = this.address;
    const options = { ...how, from, limit, signal, token, onProgress };
    for (;;) {
      try {
        return yield* search(reference, pattern, options);
      } catch (error) {
        // It is refused before anything was found: others search, too.
        if (toStreamError(error).code !== "LIMIT_REACHED") throw error;
        await pause(BUSY_MS, signal);
      }
    }
  }
}

/** Lines on each side of the first one shown that come together with what the resource is. */
const FIRST_LINES = 80;
/** After so long a server that runs as many searches as it can is asked again, in ms. */
const BUSY_MS = 1000;

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
    const { startOffset, endOffset, lines } = await this.whole.lines(
      this.line,
      1,
      new AbortController().signal,
    );
    const isWhole = lines.at(-1)?.endsWith("\n") ?? false;
    const bytes = endOffset - startOffset - (isWhole ? 1 : 0);
    this.#window = { startOffset, bytes };
    const numberOfLines = Math.max(1, Math.ceil(bytes / PIECE_BYTES));
    return { ...info, numberOfLines, currentSize: bytes, transferStatus: "COMPLETED" };
  }

  async *statuses(): AsyncGenerator<ResourceStatus> {}

  async lines(start: number, count: number, signal: AbortSignal): Promise<LoadedLines> {
    const { startOffset, bytes } = this.#window!;
    const from = start * PIECE_BYTES;
    const to = Math.min(bytes, (start + count) * PIECE_BYTES);
    const before = Math.min(from, CHARACTER_BYTES);
    const after = Math.min(bytes - to, CHARACTER_BYTES);
    const read = await this.read(startOffset + from - before, startOffset + to + after, signal);
    const lines = piecesOfBytes(read, before, to - from);
    return { lines, next: null, linesCount: lines.length, startOffset: from, endOffset: to };
  }
}

/**
 * The text of pieces of equal length; a character on an edge belongs to the piece in which it begins.
 * @param bytes The bytes, with some before and behind.
 * @param start Where the first piece begins.
 * @param length Bytes of all pieces.
 */
export function piecesOfBytes(bytes: Uint8Array, start: number, length: number): string[] {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
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
