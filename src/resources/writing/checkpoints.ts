/**
 * When checkpoints are made, one after the other: the first few after a silence at once, under load one per interval; what
 * came last is never left waiting for more than that.
 * @module
 */
import { LONGEST_TIMER_MS } from "../../timer.ts";
import type { CheckpointPace } from "./pace.ts";

/** What a checkpoint is made of. */
export interface CheckpointSteps {
  /** Whether so much waits that it is written before the next one is due. */
  isMuch(): boolean;
  /** Whether something waits to be written, or to be shown. */
  isBehind(): boolean;
  /**
   * Writes what waits.
   * @param shows Whether it becomes readable, too.
   */
  advance(shows: boolean): Promise<void>;
  /** A step failed. */
  failed(error: unknown): void;
}

/** The checkpoints of one upload. */
export class Checkpoints {
  readonly #pace: CheckpointPace;
  readonly #steps: CheckpointSteps;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | null = null;
  #closed = false;

  /**
   * @param pace How far apart they are.
   * @param steps What they are made of.
   */
  constructor(pace: CheckpointPace, steps: CheckpointSteps) {
    this.#pace = pace;
    this.#steps = steps;
  }

  /** Makes the next one now, if that may be, or when it may. */
  next(): void {
    if (this.#running !== null || this.#closed) return;
    const waitMs = this.#pace.untilNextMs(performance.now());
    if (waitMs <= 0 || this.#steps.isMuch()) {
      this.#forgetTimer();
      const step = this.#steps.advance(waitMs <= 0).catch((error) => this.#steps.failed(error));
      this.#running = step.finally(() => {
        this.#running = null;
        if (this.#steps.isBehind()) this.next();
      });
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.next();
      }, Math.min(Math.ceil(waitMs), LONGEST_TIMER_MS));
    }
  }

  /** Takes a step by itself, after the one that is under way. */
  async alone(step: () => Promise<void>): Promise<void> {
    while (this.#running !== null) await this.#running;
    this.#forgetTimer();
    const taking = step();
    this.#running = taking.catch(() => {}).finally(() => this.#running = null);
    await taking;
  }

  /** Makes no more; settles when the step under way is over. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#forgetTimer();
    await this.#running;
  }

  #forgetTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
