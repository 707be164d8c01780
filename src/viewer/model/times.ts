/**
 * When lines arrived, as people read it.
 * @module
 */
import type { Settings } from "./settings.ts";

/** What a column shows, and what its title says. */
export interface ShownTime {
  text: string;
  title: string;
}

const DAY_MS = 86_400_000;

/** No column of times. */
export const NOTHING: ShownTime = { text: "", title: "" };
const UNITS: [ms: number, name: string][] = [
  [DAY_MS, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

/**
 * Shows a time.
 * @param timeMs The time, in ms since 1970; null where nobody knows, undefined where nobody asked.
 * @param way How it is shown.
 * @param startMs When the log began.
 * @param nowMs Now.
 */
export function shownTime(
  timeMs: number | null | undefined,
  way: Settings["times"],
  startMs: number,
  nowMs: number,
): ShownTime {
  if (way === "off") return NOTHING;
  if (timeMs === undefined) return { text: "…", title: "" };
  if (timeMs === null) return { text: "?", title: "nobody knows when this line arrived" };
  const date = new Date(timeMs);
  const title = `${date.toISOString()} (UTC), ${localText(date)} here`;
  switch (way) {
    case "clock":
      return { text: localText(date).slice(11), title };
    case "utc":
      return { text: `${date.toISOString().slice(11, 23)}Z`, title };
    case "ago":
      return { text: `${spanText(Math.max(0, nowMs - timeMs))} ago`, title };
    case "elapsed":
      return { text: `+${elapsedText(Math.max(0, timeMs - startMs))}`, title };
  }
}

/** `2026-11-28 12:00:00.123`, in the time of this machine. */
function localText(date: Date): string {
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().replace("T", " ").slice(0, 23);
}

function spanText(ms: number): string {
  const [unitMs, name] = UNITS.find(([unit]) => ms >= unit) ?? UNITS.at(-1)!;
  return `${Math.floor(ms / unitMs)} ${name}`;
}

/** `1:02:03.456`. */
function elapsedText(ms: number): string {
  const two = (part: number) => String(Math.floor(part)).padStart(2, "0");
  const seconds = `${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}`;
  return `${Math.floor(ms / 3_600_000)}:${seconds}.${String(ms % 1000).padStart(3, "0")}`;
}

/**
 * Reads a time that a person typed: a date with or without a time of day, or a time of the day the log began, or of the
 * next one where it went on after midnight.
 * @param text What was typed.
 * @param startMs When the log began.
 * @param endMs When it ended.
 * @returns In ms since 1970; null for what is no time.
 */
export function timeIn(text: string, startMs: number, endMs = startMs): number | null {
  const typed = text.trim();
  const [, hours, minutes, seconds = "0", zone] =
    /^(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?(Z)?$/i.exec(typed) ?? [];
  if (hours !== undefined) {
    const given = [Number(hours), Number(minutes), Math.floor(Number(seconds))] as const;
    const ms = Math.round(Number(seconds) % 1 * 1000);
    const on = (day: Date) =>
      zone === undefined ? day.setHours(...given, ms) : day.setUTCHours(...given, ms);
    const first = on(new Date(startMs)), next = on(new Date(startMs + DAY_MS));
    return first < startMs && next <= endMs ? next : first;
  }
  if (!/^\d{4}-\d\d-\d\d/.test(typed)) return null;
  const timeMs = Date.parse(typed.replace(" ", "T"));
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** The time that a fragment names; null for none. */
export function timeInFragment(fragment: string): number | null {
  const [, text] = /^#T(.+)$/.exec(fragment) ?? [];
  // Some programs escape the colons.
  return text === undefined ? null : timeIn(text.replace(/%3A/gi, ":"), 0);
}
