/**
 * Positions in a stream as clients are told of them, and cursors, which make caches ask again.
 *
 * An offset is the life of the stream (PROTOCOL.md 1.4) and the position of a byte in its log, written so that texts
 * sort as positions do.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { Kind } from "../route/parameters.ts";

const DIGITS = 16;
const OFFSET = /^([0-9a-z]{1,20})_(\d{1,16})$/;
/** In place of a life: whatever life it is. */
const ANY_LIFE = /^0+$/;

/** Begin of the intervals that cursors count, and their length (the protocol's section 10.1). */
const CURSOR_EPOCH_MS = Date.UTC(2024, 9, 9);
const CURSOR_INTERVAL_MS = 20_000;
/** How far a cursor leaps that would else stand still. */
const MAX_LEAP_MS = 3_600_000;

/** An offset as a client says it. */
export interface SaidOffset {
  /** The life in which it was told; null where it names none. */
  life: string | null;
  /** The position. */
  byteOffset: number;
}

/** Where a client reads from: a byte, or wherever the stream ends. */
export type Position = SaidOffset | "now";

/** Where every stream begins. */
const BEGINNING: SaidOffset = { life: null, byteOffset: 0 };

/** The text of an offset. */
export function offsetOf(life: string, byteOffset: number): string {
  return `${life}_${String(byteOffset).padStart(DIGITS, "0")}`;
}

/** An offset that the server told. */
export const toldOffset: Kind<SaidOffset> = {
  schema: { type: "string", pattern: OFFSET.source },
  read(text, name) {
    const [, life = "", digits] = OFFSET.exec(text) ?? [];
    const byteOffset = Number(digits);
    if (Number.isSafeInteger(byteOffset)) {
      return { life: ANY_LIFE.test(life) ? null : life, byteOffset };
    }
    throw new StreamError("BAD_REQUEST", `${name}: ${text.slice(0, 80)} is no offset of a stream`);
  },
};

/** Where a read begins: `-1` is the beginning, `now` the end. */
export const position: Kind<Position> = {
  schema: { type: "string", pattern: `^-1$|^now$|${OFFSET.source}` },
  read(text, name) {
    if (text === "-1") return BEGINNING;
    return text === "now" ? text : toldOffset.read(text, name);
  },
};

/**
 * The cursor of an answer: the number of the present interval, and always a greater one than the client has.
 * @param known The cursor of the client.
 * @param nowMs The time, in ms since 1970.
 */
export function cursorAfter(known: string | undefined, nowMs: number = Date.now()): string {
  const current = Math.floor((nowMs - CURSOR_EPOCH_MS) / CURSOR_INTERVAL_MS);
  const last = Number(known ?? NaN);
  if (!Number.isSafeInteger(last) || last < current) return String(current);
  return String(last + 1 + Math.floor(Math.random() * MAX_LEAP_MS / CURSOR_INTERVAL_MS));
}
