/**
 * What a server does from time to time, whatever it is asked for.
 * @module
 */
import type { RetentionOptions } from "./retention.ts";
import type { SteadyClock } from "./steady_clock.ts";
import type { NodeOptions } from "./writing/lease.ts";

/** Time between two moments at which the time is kept for the next process. */
const KEEP_TIME_MS = 60_000;
/** Time between two looks for resources that need not be kept. */
const SWEEP_MS = 60_000;

/** Keeps the time, and looks for resources that need not be kept. */
export class Upkeep {
  #timekeeper: ReturnType<typeof setInterval> | undefined;
  #sweeper: ReturnType<typeof setInterval> | undefined;

  /**
   * @param clock The time by which resources age.
   * @param sweep Deletes what need not be kept.
   */
  constructor(
    private readonly clock: SteadyClock,
    private readonly sweep: () => Promise<unknown>,
  ) {}

  /** Begins, with a first look; what fails is tried again. */
  async start({
    retentionMs = Infinity,
    isOnDuty = () => true,
  }: RetentionOptions & NodeOptions): Promise<void> {
    this.#timekeeper = setInterval(() => void this.clock.keep().catch(() => {}), KEEP_TIME_MS);
    const sweepOnDuty = async () => {
      if (isOnDuty()) await this.sweep();
    };
    const sweepQuietly = () => sweepOnDuty().catch(() => {});
    await sweepQuietly();
    const everyMs = Math.min(SWEEP_MS, Math.max(1000, retentionMs / 2));
    this.#sweeper = setInterval(() => void sweepQuietly(), everyMs);
  }

  /** Ends it. */
  close(): void {
    clearInterval(this.#sweeper);
    clearInterval(this.#timekeeper);
  }
}
