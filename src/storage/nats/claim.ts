/**
 * How a log gets a new owner: the one before is fenced off in both streams, and only then it is known where the log ends.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import { fenced, type LogExchange } from "./exchange.ts";
import { type LaneEnds, type Lanes, newestOf } from "./lanes.ts";
import {
  BEFORE_SEGMENTS,
  encodeHead,
  laneOf,
  type LogMessage,
  type LogState,
  type MessageHead,
  positionOf,
  stateBehind,
} from "./message.ts";

/** A log whose owners before are shut out. */
export interface Claim {
  /** Its last message before. */
  newest: LogMessage;
  /** Sequences of the last message in either stream. */
  ends: [home: number, spare: number];
  /** Position of the fence behind it. */
  position: number;
}

/**
 * Shuts every owner with a lower epoch out of both streams of a log.
 * @param lanes The log.
 * @param owned The new owner's epoch, and sequence of the first message of the log.
 * @param writer How its messages begin to be named.
 * @param tell Tells the owner before: one that goes on appending would be faster again and again.
 * @throws {StreamError} NOT_FOUND, FENCED; DELETED, QUOTA_EXCEEDED, NOT_READY.
 */
export async function claim(
  lanes: Lanes,
  { epoch, birth }: { epoch: number; birth: number },
  writer: string,
  tell: () => void,
): Promise<Claim> {
  for (let attempts = 1;; attempts++) {
    const found = await lanes.ends();
    // The id may be used again meanwhile.
    if (found === null || found[0].birth > birth) throw missing(lanes.id);
    const [home, spare] = found;
    const isOurs = ({ name }: LogMessage) => name.startsWith(`${writer}:`);
    const later = found.find((last) =>
      last?.birth === home.birth && last.epoch >= epoch && !isOurs(last)
    );
    if (later) throw fenced(epoch, later.epoch);
    // A leader that was left behind still tells of another life of the id.
    if (home.birth < birth || spare !== null && spare.birth > home.birth) {
      await lanes.home.pause();
      continue;
    }
    tell();
    const fence = (exchange: LogExchange, last: LogMessage | null) =>
      last !== null && isOurs(last)
        ? last.sequence
        : place(exchange, fenceBehind(found, last, epoch, `${writer}:${attempts}`), last);
    const [homeEnd, spareEnd] = await Promise.all([
      fence(lanes.home, home),
      lanes.spare === null ? 0 : fence(lanes.spare, spare),
    ]);
    if (homeEnd === null || spareEnd === null) continue;
    const newest = newestOf(found)!;
    const ends: Claim["ends"] = [homeEnd, spareEnd];
    return { newest, ends, position: positionOf(newest.segment, ends[laneOf(newest.segment)]) };
  }
}

/** A message without bytes behind the last one of a stream; in a spare one that the log has not come to, before all segments. */
function fenceBehind(
  [home]: LaneEnds,
  last: LogMessage | null,
  epoch: number,
  name: string,
): MessageHead {
  const { birth, spare, lineAccess } = home;
  const isPart = last?.birth === birth;
  return {
    ...{ epoch, name, birth, spare, lineAccess },
    segment: isPart ? last.segment : BEFORE_SEGMENTS,
    after: 0,
    before: isPart ? endOf(last) : { size: 0, lineBreaks: 0, isLineOpen: false },
    status: null,
    statusPosition: isPart ? last.statusPosition : 0,
  };
}

/** @returns Its sequence; null when something else was stored before. */
async function place(
  exchange: LogExchange,
  head: MessageHead,
  last: LogMessage | null,
): Promise<number | null> {
  const lostTo = () => new StreamError("CONFLICT", "another owner was faster");
  try {
    return await exchange.store(encodeHead(head), new Uint8Array(0), {
      name: head.name,
      expected: last?.sequence ?? 0,
      lostTo,
    });
  } catch (error) {
    if (error instanceof StreamError && error.code === "CONFLICT") return null;
    throw error;
  }
}

/** State of a log behind a message. */
export function endOf({ before, data, lineAccess }: LogMessage): LogState {
  return stateBehind(before, data, lineAccess);
}

/** There is no such log. */
export function missing(id: string): StreamError {
  return new StreamError("NOT_FOUND", `there is no log ${id}`);
}
