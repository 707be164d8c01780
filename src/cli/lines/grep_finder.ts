/**
 * What `--grep` looks for; loaded only where it is given, as the library behind it takes its time.
 * @module
 */
import { toStreamError } from "../../protocol.ts";
import { type Finder, finderFor } from "../../resources.ts";
import { UsageError } from "../command.ts";

/**
 * Finder of a regular expression in the syntax of RE2.
 * @throws {UsageError} For what is none.
 */
export function grepFinder(pattern: string): Finder {
  try {
    return finderFor({ pattern, regex: true, ignoreCase: false });
  } catch (error) {
    throw new UsageError(`--grep ${pattern}: ${toStreamError(error).message}`);
  }
}
