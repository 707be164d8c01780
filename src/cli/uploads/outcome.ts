/**
 * How a command ended whose output was uploaded, for people.
 * @module
 */
import type { Outcome } from "../../client.ts";

/** `exit code 2`, or the signal that ended it. */
export function outcomeText({ exitCode, signal }: Outcome): string {
  return exitCode === null ? `by ${signal}` : `with exit code ${exitCode}`;
}
