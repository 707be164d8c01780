/**
 * Which run of the machine this is: what was written and not flushed lasts as long.
 * @module
 */
import { readFileSync } from "node:fs";

/** Where Linux names its boot. */
const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";
/** Name for this process only: where the system tells nothing, no other process is known to be of the same boot. */
const ownId = crypto.randomUUID();

/** Name of the present boot of the machine; one of this process where the system has none. */
export function bootId(): string {
  try {
    return readFileSync(BOOT_ID_PATH, "utf8").trim() || ownId;
  } catch {
    return ownId;
  }
}
