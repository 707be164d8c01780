/**
 * What Ctrl-C and its like mean to a push.
 * @module
 */
import { StreamError, toStreamError } from "../../protocol.ts";
import { EXIT, type Options } from "../command.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { complain } from "../output/stderr.ts";
import { onEnd } from "../signals.ts";
import { isFollowing } from "./push_options.ts";

/** What a person is told of an upload that was given up. */
export const INTERRUPTED =
  "interrupted; a resource that was begun is FAILED and keeps what arrived";

/** Signals to end, counted. */
export class Interrupts {
  readonly #first = new AbortController();
  readonly #second = new AbortController();

  constructor() {
    onEnd(() => {
      const which = this.#first.signal.aborted ? this.#second : this.#first;
      which.abort(new StreamError("ABORTED", "the uploader was interrupted"));
    });
  }

  /** Aborted by the first signal. */
  get first(): AbortSignal {
    return this.#first.signal;
  }

  /** Aborted by the second one. */
  get second(): AbortSignal {
    return this.#second.signal;
  }
}

/** Signals of one run of the program. */
export interface PushSignals {
  /** Ends following, and completes. */
  stop: AbortSignal;
  /** Gives up. */
  cancel: AbortSignal;
}

/**
 * Does something that Ctrl-C may end.
 *
 * @param options Options of the push: the first Ctrl-C ends following, if that is what it does.
 * @param step What is done.
 * @returns The exit code.
 * @throws What failed, unless it failed because it was interrupted.
 */
export async function untilInterrupted(
  options: Options,
  step: (signals: PushSignals) => Promise<void>,
): Promise<number> {
  const { first, second } = new Interrupts();
  const cancel = isFollowing(options) ? second : first;
  try {
    await step({ stop: first, cancel });
    return EXIT.ok;
  } catch (error) {
    if (cancel.aborted) complain(INTERRUPTED);
    else if (failureCode(error, first) !== EXIT.interrupted) throw error;
    else complain(described(error));
    return EXIT.interrupted;
  }
}

/**
 * The exit code of a failure; what was to end before there was a file was interrupted.
 * @param error What failed.
 * @param stop The signal that ends following.
 */
export function failureCode(error: unknown, stop: AbortSignal): number {
  const isStopped = stop.aborted && toStreamError(error).code === "ABORTED";
  return isStopped ? EXIT.interrupted : exitCodeOf(error);
}
