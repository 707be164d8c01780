/**
 * The two streams of a log: the one that its id names, and a spare one, in which it goes on while that takes nothing.
 *
 * Its bytes are those of its segments, one after the other, each in the other stream than the one before. A segment begins
 * with the very message of which nobody knows whether the one before has it: whoever has seen it there sees the same bytes
 * and the same status again. A new owner is fenced off in both streams before it looks where the log ends, so that nobody
 * has to tell anybody that a log has moved.
 * @module
 */
import { shardOf } from "../../cluster/engine.ts";
import type { LogExchange, Newest } from "./exchange.ts";
import {
  HOME,
  isAppend,
  type Lane,
  laneOf,
  type LogMessage,
  segmentOf,
  sequenceOf,
} from "./message.ts";

/** A leader is waited for so long, in ms. */
const ELECTION_MS = 10_000;

/** What the two streams of a log end with: null for nothing of it. */
export type LaneEnds = readonly [home: LogMessage, spare: LogMessage | null];

/** Reads a log wherever it is. */
export class Lanes {
  #shard: number | null = null;
  #birth = 0;
  #spare: LogExchange | null = null;

  /** @param home The stream that it begins in. */
  constructor(readonly home: LogExchange) {}

  /** Id of the log. */
  get id(): string {
    return this.home.id;
  }

  /** The spare stream, as far as a message of the log has told; null for none. */
  get spare(): LogExchange | null {
    return this.#spare;
  }

  /** Takes from a message which stream is the spare one; a log that begins anew may have another one. */
  meet({ spare, birth = 0 }: { spare: number | null; birth?: number }): void {
    this.#birth = birth;
    if (spare === this.#shard) return;
    this.#shard = spare;
    this.#spare = spare === null ? null : this.home.elsewhere(spare);
  }

  /** One of the two; null where there is no spare one. */
  at(lane: Lane): LogExchange | null {
    return lane === HOME ? this.home : this.#spare;
  }

  /** A message by its position. */
  message(position: number): Promise<LogMessage> {
    return this.at(laneOf(segmentOf(position)))!.at(sequenceOf(position));
  }

  /** The first message of the log; null when a majority says that there is none. */
  async first(): Promise<LogMessage | null> {
    const first = await this.home.first();
    if (first !== null) this.meet(first);
    return first;
  }

  /** What both streams end with, as their leaders say; null when a majority says that there is no log. */
  async ends(): Promise<LaneEnds | null> {
    const home = await this.home.last();
    if (home === null) return null;
    this.meet(home);
    return [home, this.#spare && await this.#spare.lastKnown()];
  }

  /** The last message of the log, as leaders say; null when a majority says that there is none. */
  async last(): Promise<LogMessage | null> {
    return newestOf(await this.ends());
  }

  /**
   * The last message of the log, as majorities have it: of both streams or, where one has no leader, of the one in which
   * its owner went on appending since this was called. When nobody can be sure for long, whoever answers.
   */
  async newest(): Promise<LogMessage | null> {
    const floors: [number | null, number | null] = [null, null];
    const waitMs = Math.min(ELECTION_MS, this.home.patience.ms);
    for (const untilMs = performance.now() + waitMs;;) {
      const asked = this.home.newest();
      const { last } = this.#spare === null ? await asked : {};
      if (last) this.meet(last);
      const nothing: Promise<Newest> = Promise.resolve({ last: null, since: 0 });
      const looks = [asked, this.#spare?.newest() ?? nothing].map(async (looking, lane) => {
        const look = await looking;
        floors[lane] ??= look.since;
        return { ...look, isProof: this.#isAppended(look.last, floors[lane]) };
      });
      const proven = await firstProof(looks);
      if (proven !== null) return proven;
      const [home, spare] = await Promise.all(looks);
      const isSure = home.since !== null && (home.last === null || spare.since !== null);
      if (isSure || performance.now() > untilMs) {
        return home.last && newestOf([home.last, spare.last]);
      }
      await this.home.pause();
    }
  }

  /**
   * Whether a message was sent by an owner who knew of one that was stored behind the floor: of others that were stored
   * there, an append may have been on its way since before, and fences may be where the log is not.
   */
  #isAppended(last: LogMessage | null, floor: number | null): boolean {
    if (last === null || floor === null) return false;
    return last.expected > floor && last.birth === this.#birth && isAppend(last);
  }
}

/** The first message that proves to be the last one; null when there is none. */
async function firstProof(
  looks: readonly Promise<{ last: LogMessage | null; isProof: boolean }>[],
): Promise<LogMessage | null> {
  const proofs = looks.map(async (looking) => {
    const { last, isProof } = await looking;
    if (isProof) return last;
    throw new Error("no proof");
  });
  return await Promise.any(proofs).catch(() => null);
}

/** The last message of a log; what another life of its id has left in the spare stream is none of it. */
export function newestOf(ends: LaneEnds | null): LogMessage | null {
  if (ends === null) return null;
  const [home, spare] = ends;
  return spare?.birth === home.birth && spare.position > home.position ? spare : home;
}

/**
 * Chooses the spare stream of a new log: one that another member leads, the next one if nobody knows.
 * @param id Id of the log.
 * @param leaders Who leads each stream, as far as somebody knows.
 * @returns Its number; null where there is one stream only.
 */
export function spareOf(id: string, leaders: readonly (string | undefined)[]): number | null {
  const shards = leaders.length;
  const home = shardOf(id, shards);
  const others = Array.from({ length: shards - 1 }, (_, at) => (home + at + 1) % shards);
  const apart = others.filter((shard) => leaders[shard] && leaders[shard] !== leaders[home]);
  const choice = apart.length > 0 ? apart : others.slice(0, 1);
  return choice[shardOf(`${id} spare`, choice.length)] ?? null;
}
