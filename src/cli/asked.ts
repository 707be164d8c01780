/**
 * Questions that are asked again where the server is away for a moment, for as long as `--retry-for` says.
 * @module
 */
import { retrying, type RetryingOptions } from "../client.ts";
import type { Options } from "./command.ts";
import { RETRY_NOTICES } from "./output/progress.ts";

/**
 * Asks until there is an answer, for as long as `--retry-for` of the command says.
 *
 * @param options Options of the command.
 * @param ask Asks once.
 * @param asking Whether the server has answered before; signal.
 * @throws What the last attempt failed of; the signal's reason.
 */
export function asked<T>(
  options: Options,
  ask: () => Promise<T>,
  asking: Pick<RetryingOptions, "isThere" | "signal"> = {},
): Promise<T> {
  const retryForMs = options.number("retry-for");
  return retrying(ask, { ...RETRY_NOTICES, retryForMs, ...asking });
}
