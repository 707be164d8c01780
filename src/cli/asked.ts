/**
 * Questions that are asked again where the server is away for a moment, as connections are made again.
 * @module
 */
import { Retries } from "../client/connection/retry.ts";
import { toStreamError } from "../protocol.ts";
import type { Options } from "./command.ts";
import { RETRY_NOTICES } from "./output/progress.ts";

/** How a question is asked again. */
interface Asking {
  /** Whether the server has answered before: then it is tried as long as a connection that was lost. */
  isThere?: boolean;
  /** Gives it up. */
  stop?: AbortSignal;
}

/**
 * Asks until there is an answer, for as long as `--retry-for` of the command says.
 *
 * @param options Options of the command.
 * @param ask Asks once.
 * @param asking How it is asked again.
 * @throws What the last attempt failed of.
 */
export async function asked<T>(
  options: Options,
  ask: () => Promise<T>,
  { isThere = false, stop = new AbortController().signal }: Asking = {},
): Promise<T> {
  const retryForMs = options.number("retry-for");
  const retries = new Retries({ ...RETRY_NOTICES, retryForMs }, !isThere);
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!await retries.wait(toStreamError(error), stop)) throw error;
    }
  }
}
