/**
 * Waiting for a database that another process holds.
 *
 * A busy timeout of SQLite sleeps inside the call, and everything else of the process with it: here every call answers
 * at once, and is made again a little later.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { StreamError } from "../../protocol.ts";

const FIRST_DELAY_MS = 2;
const LONGEST_DELAY_MS = 50;
/** Writes that may wait; those that come then are told to come back. */
const MOST_WAITING = 10_000;

/** Result codes of SQLite (https://www.sqlite.org/rescode.html). */
const [SQLITE_BUSY, SQLITE_LOCKED] = [5, 6];

/** Makes steps wait while the database is held, for a bounded time. */
export class Patience {
  readonly #waitMs: number;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param waitMs How long a step waits, in ms. */
  constructor(waitMs: number) {
    this.#waitMs = waitMs;
  }

  /**
   * A step that reads.
   * @throws {StreamError} NOT_READY when the database was held all the time.
   */
  read<T>(step: () => T): Promise<T> {
    return this.#insist(step, performance.now() + this.#waitMs);
  }

  /**
   * A step that writes: while one waits, those that come later wait behind it, so that none overtakes another.
   * @throws {StreamError} NOT_READY when the database was held all the time, or too many wait.
   */
  async write<T>(step: () => T): Promise<T> {
    if (this.#waiting === 0) {
      try {
        return step();
      } catch (error) {
        if (!isBusy(error)) throw error;
      }
    }
    if (this.#waiting >= MOST_WAITING) throw held();
    const untilMs = performance.now() + this.#waitMs;
    this.#waiting++;
    const turn = this.#last.then(() => this.#insist(step, untilMs)).finally(() => this.#waiting--);
    this.#last = turn.catch(() => {});
    return await turn;
  }

  async #insist<T>(step: () => T, untilMs: number): Promise<T> {
    for (let delayMs = FIRST_DELAY_MS;; delayMs = Math.min(2 * delayMs, LONGEST_DELAY_MS)) {
      try {
        return step();
      } catch (error) {
        if (!isBusy(error)) throw error;
        if (performance.now() >= untilMs) throw held(error);
      }
      await sleep(delayMs);
    }
  }
}

/** Whether an error of SQLite says that somebody else has the database. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === SQLITE_BUSY || code === SQLITE_LOCKED;
}

/** The primary result code of an error of SQLite; undefined for other errors. */
export function resultCode(error: unknown): number | undefined {
  const { errcode } = error as { errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
}

function held(cause?: unknown): StreamError {
  const message = "another process holds the catalog (a backup?): try again later";
  return new StreamError("NOT_READY", message, { cause });
}
