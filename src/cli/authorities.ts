/**
 * Private authorities that `--ca` names.
 * @module
 */
import { readFile } from "node:fs/promises";
import { toStreamError } from "../protocol.ts";
import { reasonOf } from "../reasons.ts";
import type { Options } from "./command.ts";

/**
 * Trusts what the options of a client command name.
 * @throws {UsageError} For a file that cannot be read, or holds no certificate.
 */
export async function trustAuthorities(options: Options): Promise<void> {
  const path = options.text("ca");
  if (path === undefined) return;
  const pem = await readFile(path, "utf8").catch((error) => {
    throw options.wrong("ca", `it cannot be read: ${reasonOf(error)}`);
  });
  const { adoptAuthorities } = await import("../runtime/authorities.ts");
  try {
    adoptAuthorities(pem);
  } catch (error) {
    throw options.wrong("ca", toStreamError(error).message);
  }
}
