/**
 * Time by which resources age: it goes on as long as a server runs, whatever becomes of the machine's clock.
 *
 * A machine that starts without a clock of its own is in 1970 until it hears the time; a wrong source of time puts it
 * years ahead for a minute. What was deleted in such a minute would be gone for ever.
 * @module
 */
import type { Catalog } from "../catalog.ts";

/** A server that seems to have been away for longer may have a wrong clock: of another time zone, for a start. */
const BELIEVED_AWAY_MS = 15 * 60_000;
/** So long a clock has to go on evenly until a longer time is believed. */
const PROOF_MS = 3_600_000;
/** A clock that moved by more against the monotonic one was set. */
const SET_MS = 60_000;

/** Clocks that a {@link SteadyClock} is made of. */
export interface Clocks {
  /** The machine's clock, in ms since 1970, which anybody may set. */
  wall?: () => number;
  /** The monotonic clock of the process, in ms. */
  monotonic?: () => number;
}

/** A clock that nobody can set. */
export class SteadyClock {
  readonly #catalog: Pick<Catalog, "lastTime" | "keepTime">;
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  /** What it said when the monotonic clock was 0. */
  #baseMs: number;
  /** Time for which the server was away, as far as the machine's clock tells. */
  #awayMs = 0;
  /** The same, as long as that is not believed. */
  #doubtMs = 0;
  /** What the machine's clock was ahead of the monotonic one, and since when it is. */
  #aheadMs = 0;
  #evenSinceMs = 0;

  /**
   * Begins with the machine's clock; see `start`.
   * @param catalog Keeps the time from one process to the next.
   * @param clocks Those of the process by default.
   */
  constructor(catalog: Pick<Catalog, "lastTime" | "keepTime">, clocks: Clocks = {}) {
    const { wall = () => Date.now(), monotonic = () => performance.now() } = clocks;
    this.#catalog = catalog;
    this.#wall = wall;
    this.#monotonic = monotonic;
    this.#baseMs = wall() - monotonic();
  }

  /** Goes on from where the last process left it. */
  async start(): Promise<void> {
    const last = await this.#catalog.lastTime?.();
    if (last === undefined) return;
    const [wallMs, nowMs] = [this.#wall(), this.#monotonic()];
    // A clock that was set back tells nothing about the time away.
    this.#baseMs = last.steadyMs - nowMs;
    this.#believeAway(Math.max(0, wallMs - last.wallMs), wallMs - nowMs, nowMs);
  }

  /** What the machine's clock says, in ms since 1970. */
  get wallMs(): number {
    return this.#wall();
  }

  /** The time, for what happens now, in ms since 1970 for a machine whose clock was always right. */
  get nowMs(): number {
    // Up, as the machine's clock was read without its fraction: what it said is not later.
    return Math.ceil(this.#baseMs + this.#monotonic());
  }

  /** The time that has passed for certain, against which age is counted. */
  get certainMs(): number {
    this.#look();
    return this.nowMs - this.#doubtMs;
  }

  /** Keeps the time for the process that comes next. */
  async keep(): Promise<void> {
    this.#look();
    // A doubt outlives the process: to the next one, too, that time counts as time away.
    const doubtMs = this.#doubtMs;
    const [steadyMs, wallMs] = [this.nowMs - doubtMs, this.#wall() - doubtMs];
    await this.#catalog.keepTime?.({ steadyMs, wallMs, doubtMs });
  }

  /** Counts the time away, which was counted otherwise before. */
  #believeAway(awayMs: number, aheadMs: number, nowMs: number): void {
    this.#baseMs += awayMs - this.#awayMs;
    this.#awayMs = awayMs;
    this.#doubtMs = awayMs > BELIEVED_AWAY_MS ? awayMs : 0;
    this.#aheadMs = aheadMs;
    this.#evenSinceMs = nowMs;
  }

  /** Looks whether a doubtful clock was set, or proved to be right. */
  #look(): void {
    if (this.#doubtMs === 0) return;
    const nowMs = this.#monotonic();
    const aheadMs = this.#wall() - nowMs;
    const setMs = aheadMs - this.#aheadMs;
    if (Math.abs(setMs) > SET_MS) {
      this.#believeAway(Math.max(0, this.#awayMs + setMs), aheadMs, nowMs);
    } else if (nowMs - this.#evenSinceMs >= PROOF_MS) this.#doubtMs = 0;
  }
}
