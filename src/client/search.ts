/**
 * Searching the lines of a resource on the server (PROTOCOL.md 6.3).
 * @module
 */
import { type SearchEnd, type SearchMatch, type SearchProgress, StreamError } from "../protocol.ts";
import { parseJson } from "./connection/http.ts";
import { askFor, type CancelOptions, type ReferenceOptions, targetOf } from "./target.ts";

const MATCHES_TYPE = "application/x-ndjson";
/** One match has 4 KiB of text at most, which JSON makes six times as long at worst. */
const MAX_MATCH_CHARS = 64 * 1024;

/** Kind and place of a search. */
export interface SearchOptions extends ReferenceOptions, CancelOptions {
  /** Whether the pattern is a regular expression in the syntax of RE2; a text by default. */
  regex?: boolean | undefined;
  /** Whether letters are equal whatever their case. */
  ignoreCase?: boolean | undefined;
  /** Index of the first line to look at; negative from the end; 0 by default. */
  from?: number | undefined;
  /** Index of the line behind the last one to look at; all that are there by default. */
  to?: number | undefined;
  /** Called about every 250 ms with the number of lines that were looked at. */
  onProgress?: ((searchedLines: number) => void) | undefined;
  /** Matches at most, up to 10 000; 1000 by default. */
  limit?: number | undefined;
}

/**
 * Searches the lines that are there now; matches come as the server finds them.
 *
 * @param reference What a push printed, its HTTP form, or an id.
 * @param pattern What is looked for: 1 to 1024 bytes of UTF-8.
 * @param options How, and where.
 * @returns The matches in the order of their lines; at the end, where another search goes on.
 * @throws {StreamError} BAD_REQUEST for a wrong expression, NOT_FOUND, NO_LINE_ACCESS, LIMIT_REACHED, UNREACHABLE;
 * INTERRUPTED for an answer that broke off; the signal's reason.
 *
 * @example
 * ```ts
 * import { search } from "@stream/live/client";
 *
 * async function printErrors(reference: string) {
 *   for await (const { line, text } of search(reference, "error", { ignoreCase: true })) {
 *     console.log(line + 1, text);
 *   }
 * }
 * ```
 */
export async function* search(
  reference: string,
  pattern: string,
  options: SearchOptions = {},
): AsyncGenerator<SearchMatch, SearchEnd, void> {
  const { recipient, path } = targetOf(reference, options);
  const stop = new AbortController();
  const signal = options.signal === undefined
    ? stop.signal
    : AbortSignal.any([options.signal, stop.signal]);
  try {
    const query = queryOf(pattern, options);
    const { body } = await askFor(recipient, `${path}/search?${query}`, MATCHES_TYPE, signal);
    for await (const text of linesOf(body!, signal)) {
      const answer = parseJson<SearchMatch | SearchProgress | ({ end: true } & SearchEnd)>(
        text,
        recipient.service.server,
      );
      if ("searchedLines" in answer) options.onProgress?.(answer.searchedLines);
      else if (!("end" in answer)) yield answer;
      else {
        const { nextLine, truncated, partialLines } = answer;
        return { nextLine, truncated, partialLines };
      }
    }
    throw new StreamError("INTERRUPTED", "the answer to a search broke off");
  } finally {
    stop.abort();
  }
}

function queryOf(pattern: string, options: SearchOptions): URLSearchParams {
  const { regex = false, ignoreCase = false, from = 0, to, limit } = options;
  const query = new URLSearchParams({ q: pattern, from: String(from) });
  if (regex) query.set("regex", "true");
  if (ignoreCase) query.set("ignoreCase", "true");
  if (options.onProgress !== undefined) query.set("progress", "true");
  if (to !== undefined) query.set("to", String(to));
  if (limit !== undefined) query.set("limit", String(limit));
  return query;
}

/** The lines of an answer as they arrive. */
async function* linesOf(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<string, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (let rest = "";;) {
    const { done, value } = await arrived(reader.read(), signal);
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop()!;
    if (rest.length > MAX_MATCH_CHARS) {
      throw new StreamError("BAD_MESSAGE", `a match is longer than ${MAX_MATCH_CHARS} characters`);
    }
    yield* lines;
  }
}

async function arrived<T>(reading: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    signal.throwIfAborted();
    throw new StreamError("INTERRUPTED", "the answer to a search broke off", { cause });
  }
}
