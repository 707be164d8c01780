/**
 * When lines arrived, as the server's index of arrivals tells.
 * @module
 */
import { getLines, getResource, retrying } from "../../client.ts";
import { UsageError } from "../command.ts";
import type { NamedResource } from "../references.ts";

/** Ways to show a time. */
export const TIME_FORMATS = ["utc", "local", "start"] as const;
/** One of them. */
export type TimeFormat = typeof TIME_FORMATS[number];

/** Lines of one request, at most. */
const PAGE_LINES = 10_000;
/** Stands where nobody knows the time. */
export const UNKNOWN = "-";

/**
 * The format that was chosen.
 * @throws {UsageError} For what is none.
 */
export function timeFormatOf(text: string): TimeFormat {
  const format = TIME_FORMATS.find((name) => name === text);
  if (format !== undefined) return format;
  throw new UsageError(`--time-format ${text}: that is none of ${TIME_FORMATS.join(", ")}`);
}

/** Tells when the lines of one resource arrived. */
export class LineTimes {
  readonly #resource: NamedResource;
  readonly #format: TimeFormat;
  readonly #retryForMs: number | undefined;
  #startMs: number | null = null;

  /**
   * @param resource The resource.
   * @param format How times are shown.
   * @param retryForMs How long a server that is away is asked again.
   */
  constructor(resource: NamedResource, format: TimeFormat, retryForMs: number | undefined) {
    this.#resource = resource;
    this.#format = format;
    this.#retryForMs = retryForMs;
  }

  /**
   * The times of lines, as they are shown, all equally wide.
   * @param first Index of the first line.
   * @param count How many.
   */
  async of(first: number, count: number): Promise<string[]> {
    if (this.#format === "start") this.#startMs ??= await this.#beginning();
    const shown: string[] = [];
    while (shown.length < count) {
      const { reference, ...credentials } = this.#resource;
      const start = first + shown.length;
      const { times = [] } = await this.#asked(() =>
        getLines(reference, {
          ...credentials,
          start,
          count: Math.min(count - shown.length, PAGE_LINES),
          times: true,
        })
      );
      // A line that the index does not have yet is one whose time nobody knows.
      if (times.length === 0) times.push(null);
      for (const timeMs of times) shown.push(this.#show(timeMs));
    }
    return shown;
  }

  async #beginning(): Promise<number> {
    const { reference, ...credentials } = this.#resource;
    const { createdAt } = await this.#asked(() => getResource(reference, credentials));
    return Date.parse(createdAt);
  }

  #asked<T>(ask: () => Promise<T>): Promise<T> {
    return retrying(ask, { isThere: true, retryForMs: this.#retryForMs });
  }

  #show(timeMs: number | null): string {
    switch (this.#format) {
      case "utc":
        return timeMs === null ? UNKNOWN.padEnd(24) : new Date(timeMs).toISOString();
      case "local":
        return timeMs === null ? UNKNOWN.padEnd(29) : localTime(new Date(timeMs));
      case "start":
        return (timeMs === null ? UNKNOWN : seconds(timeMs - this.#startMs!)).padStart(11);
    }
  }
}

function seconds(ms: number): string {
  return `${ms < 0 ? "-" : "+"}${(Math.abs(ms) / 1000).toFixed(3)}s`;
}

/** The time of the clock on the wall, with its distance from UTC (RFC 3339). */
function localTime(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  const shifted = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, -1);
  const two = (number: number) => String(Math.floor(number)).padStart(2, "0");
  const distance = Math.abs(minutes);
  return `${shifted}${minutes < 0 ? "-" : "+"}${two(distance / 60)}:${two(distance % 60)}`;
}
