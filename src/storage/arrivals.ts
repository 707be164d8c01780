/**
 * When bytes of a log arrived: an entry for each checkpoint, its time and the end of the log then.
 * @module
 */

/** Length of an entry: 6 bytes of time in ms since 1970, whose first bit says that nobody knows it; 5 of position. */
export const ARRIVAL_BYTES = 11;
/** What stands for a time that nobody knows. */
const UNKNOWN = 0x80;
/** Entries read together where several are near each other. */
const RUN_ENTRIES = 128;

/** The bytes before a position, behind that of the entry before, arrived at a time. */
export interface Arrival {
  /** In ms since 1970; null where nobody knows. */
  timeMs: number | null;
  /** The same or, where nobody knows, the latest time it can be. */
  latestMs: number;
  /** End of the log then. */
  byteOffset: number;
}

/** The entries of a log. */
export interface ArrivalEntries {
  /** How many there are now. */
  count: number;
  /** Reads some of them. */
  read(from: number, count: number): Promise<Uint8Array>;
}

/** Writes an entry. */
export function encodeArrival(timeMs: number, isKnown: boolean, byteOffset: number): Uint8Array {
  const bytes = new Uint8Array(ARRIVAL_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(timeMs / 2 ** 32));
  view.setUint32(2, timeMs % 2 ** 32);
  if (!isKnown) bytes[0] |= UNKNOWN;
  view.setUint8(6, Math.floor(byteOffset / 2 ** 32));
  view.setUint32(7, byteOffset % 2 ** 32);
  return bytes;
}

/** Reads an entry. */
export function decodeArrival(bytes: Uint8Array, at: number): Arrival {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, ARRIVAL_BYTES);
  const isKnown = (view.getUint8(0) & UNKNOWN) === 0;
  const latestMs = (view.getUint16(0) & 0x7fff) * 2 ** 32 + view.getUint32(2);
  const byteOffset = view.getUint8(6) * 2 ** 32 + view.getUint32(7);
  return { timeMs: isKnown ? latestMs : null, latestMs, byteOffset };
}

/**
 * When bytes arrived.
 * @param entries The entries of their log.
 * @param byteOffsets Positions of the bytes, rising.
 * @returns Times in ms since 1970; null where nobody knows.
 */
export async function arrivalsOf(
  entries: ArrivalEntries,
  byteOffsets: readonly number[],
): Promise<(number | null)[]> {
  const times: (number | null)[] = [];
  let run: Arrival[] = [], from = 0;
  for (const byteOffset of byteOffsets) {
    if ((run.at(-1)?.byteOffset ?? -1) <= byteOffset) {
      from = await first(entries, from, (entry) => entry.byteOffset > byteOffset);
      run = await readRun(entries, from);
    }
    times.push(run.find((entry) => entry.byteOffset > byteOffset)?.timeMs ?? null);
  }
  return times;
}

/**
 * Where the bytes begin that arrived at a time or later.
 * @param entries The entries of their log.
 * @param timeMs The time, in ms since 1970.
 * @returns The position of the first of them; null where all arrived before.
 */
export async function arrivedSince(
  entries: ArrivalEntries,
  timeMs: number,
): Promise<number | null> {
  const found = await first(entries, 0, ({ latestMs }) => latestMs >= timeMs);
  if (found === entries.count) return null;
  return found === 0 ? 0 : decodeArrival(await entries.read(found - 1, 1), 0).byteOffset;
}

/** The first entry for which something holds that holds for all behind it; their number where it holds for none. */
async function first(
  entries: ArrivalEntries,
  from: number,
  holds: (entry: Arrival) => boolean,
): Promise<number> {
  let low = from - 1, high = entries.count;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(decodeArrival(await entries.read(middle, 1), 0))) high = middle;
    else low = middle;
  }
  return high;
}

async function readRun(entries: ArrivalEntries, from: number): Promise<Arrival[]> {
  const count = Math.min(RUN_ENTRIES, entries.count - from);
  if (count <= 0) return [];
  const bytes = await entries.read(from, count);
  return Array.from({ length: count }, (_, at) => decodeArrival(bytes, at * ARRIVAL_BYTES));
}
