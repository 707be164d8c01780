/**
 * Claims of an upload whose record others change at the same moment: its owner does so once a second, others who want it, too.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ResourceRecord } from "../../catalog.ts";
import { type ErrorCode, StreamError, toStreamError } from "../../protocol.ts";
import { lossOf } from "./owned_record.ts";

/** So long it is tried again, in ms. */
const INSIST_MS = 5000;
/** Between two attempts, in ms: at first, and at most. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 500;

/** What a claim is. */
export interface Claim<T> {
  /** The resource. */
  id: string;
  /** Refusals after which it is made again. */
  again: readonly ErrorCode[];
  /** Makes it. */
  make(): Promise<T>;
  /** Looks at the record after it was lost; null without one. */
  lookAt(id: string): Promise<ResourceRecord | null>;
}

/**
 * Makes a claim again, until it is refused for good.
 * @returns What it made.
 * @throws {StreamError} NOT_READY while others were always faster, and where the one who was only waits for an uploader; what
 * the claim was refused with otherwise.
 */
export async function insistOn<T>({ id, again, make, lookAt }: Claim<T>): Promise<T> {
  const untilMs = performance.now() + INSIST_MS;
  for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await make();
    } catch (error) {
      const { code } = toStreamError(error);
      const mayRepeat = again.includes(code);
      const isLost = mayRepeat && performance.now() >= untilMs;
      const now = isLost || code === "FENCED" ? await lookAt(id) : null;
      if (isLost) throw busy(id, error);
      if (!mayRepeat) throw now?.owner?.waits ? lossOf(now) : error;
      // Two that lose to each other are not to come back at the same moment.
      await sleep(pauseMs * (0.5 + Math.random() / 2));
    }
  }
}

function busy(id: string, cause: unknown): StreamError {
  const message = `others change upload ${id} all the time: try again later`;
  return new StreamError("NOT_READY", message, { cause });
}
