/**
 * Outcomes: how the producer of a resource ended, as its uploader tells it (PROTOCOL.md 1.3).
 * @module
 */
import { StreamError } from "./errors.ts";
import { excerpt } from "./text.ts";

/** How the command ended whose output a resource is; one of the two is null (PROTOCOL.md 1.3). */
export interface Outcome {
  /** Its exit code. */
  exitCode: number | null;
  /** The signal that ended it, such as `SIGKILL`. */
  signal: string | null;
}

/** Exit codes have 32 bits where they have most. */
const MAX_EXIT_CODE = 2 ** 32 - 1;
const SIGNAL = /^SIG[A-Z0-9+-]{1,20}$/;

/**
 * Checks what an uploader says of its producer (PROTOCOL.md 1.3).
 *
 * @param outcome What it said.
 * @returns A copy with exactly the known properties.
 * @throws {StreamError} BAD_REQUEST when it is neither an exit code nor a signal, or both.
 *
 * @example
 * ```ts
 * import { checkOutcome } from "@stream/live/protocol";
 *
 * console.log(checkOutcome({ exitCode: 2, signal: null })); // { exitCode: 2, signal: null }
 * ```
 */
export function checkOutcome({ exitCode, signal }: Outcome): Outcome {
  const isCode = exitCode !== null && signal === null && Number.isInteger(exitCode) &&
    exitCode >= 0 && exitCode <= MAX_EXIT_CODE;
  const isSignal = exitCode === null && signal !== null && SIGNAL.test(signal);
  if (isCode || isSignal) return { exitCode, signal };
  throw new StreamError(
    "BAD_REQUEST",
    `the outcome ${
      excerpt(JSON.stringify({ exitCode, signal }))
    } is neither an exit code nor a signal`,
  );
}

/**
 * Tells whether a producer ended well; one that nobody told of did.
 *
 * @param outcome How it ended.
 * @returns False for any exit code but 0, and for a signal.
 *
 * @example
 * ```ts
 * import { endedWell } from "@stream/live/protocol";
 *
 * console.log(endedWell({ exitCode: null, signal: "SIGTERM" }), endedWell(undefined)); // false true
 * ```
 */
export function endedWell(outcome: Outcome | undefined): boolean {
  return outcome === undefined || outcome.exitCode === 0;
}
