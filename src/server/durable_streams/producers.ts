/**
 * Producers: appends that are sent again count once (section 5.2.1 of the protocol).
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { StreamFacts } from "./facts.ts";

/** Producers of one stream: each is written with every append. */
const MAX_PRODUCERS = 1000;
/** A producer that appended nothing for so long may be forgotten. */
const FORGOTTEN_AFTER_MS = 7 * 24 * 3_600_000;

/** Who appends, and the number of the append. */
export interface Produced {
  /** Id of the producer. */
  id: string;
  /** Its epoch. */
  epoch: number;
  /** The number of the append in the epoch. */
  seq: number;
}

/** What an append of a producer is: its next one, or one that was taken before; else why it is refused. */
export type Verdict =
  | { is: "NEXT" }
  | { is: "KNOWN"; seq: number }
  | { is: "REFUSED"; error: StreamError; fields: Record<string, string> };

/**
 * Judges an append.
 * @param facts What is kept of the stream.
 * @param append The append.
 */
export function judge({ producers }: StreamFacts, append: Produced): Verdict {
  const known = new Map(producers).get(append.id);
  if (known !== undefined && append.epoch < known.epoch) {
    const message = `epoch ${append.epoch} of this producer is over: it is ${known.epoch} now`;
    return refused(new StreamError("NOT_OWNER", message), {
      "producer-epoch": String(known.epoch),
    });
  }
  const isNewEpoch = known !== undefined && append.epoch > known.epoch;
  const next = known === undefined || isNewEpoch ? 0 : known.seq + 1;
  if (append.seq === next) return { is: "NEXT" };
  if (append.seq < next) return { is: "KNOWN", seq: known!.seq };
  if (isNewEpoch) {
    return refused(
      new StreamError("BAD_REQUEST", `a new epoch begins with Producer-Seq: 0, not ${append.seq}`),
    );
  }
  const message = `the next Producer-Seq is ${next}, not ${append.seq}`;
  return refused(new StreamError("CONFLICT", message), {
    "producer-expected-seq": String(next),
    "producer-received-seq": String(append.seq),
  });
}

/**
 * The producers after an append.
 * @param producers Those before it.
 * @param append The append.
 * @param nowMs The time, in ms since 1970.
 * @throws {StreamError} LIMIT_REACHED when there are too many.
 */
export function producersAfter(
  producers: StreamFacts["producers"],
  { id, epoch, seq }: Produced,
  nowMs: number,
): NonNullable<StreamFacts["producers"]> {
  const after = new Map(producers);
  if (!after.has(id) && after.size >= MAX_PRODUCERS) {
    for (const [other, { atMs }] of after) {
      if (nowMs - atMs > FORGOTTEN_AFTER_MS) after.delete(other);
    }
    if (after.size >= MAX_PRODUCERS) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${MAX_PRODUCERS} producers appended to this stream within a week: use their ids again`,
      );
    }
  }
  return [...after.set(id, { epoch, seq, atMs: nowMs })];
}

function refused(error: StreamError, fields: Record<string, string> = {}): Verdict {
  return { is: "REFUSED", error, fields };
}
