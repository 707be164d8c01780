/**
 * The end of what was granted for a time.
 * @module
 */
import type { Grant } from "../../access.ts";
import { StreamError } from "../../protocol.ts";
import { LONGEST_TIMER_MS } from "../../timer.ts";

/**
 * Waits for the end of a grant.
 * @param grant The grant; null for one that has no end.
 * @param end Called then, with the reason.
 * @returns Stops waiting.
 */
export function atExpiry(grant: Grant | null, end: (reason: StreamError) => void): () => void {
  const expiresAtMs = grant?.expiresAtMs ?? null;
  if (expiresAtMs === null) return () => {};
  let timer: ReturnType<typeof setTimeout>;
  const wait = () => {
    const leftMs = expiresAtMs - Date.now();
    if (leftMs <= 0) return end(new StreamError("UNAUTHORIZED", "the token or link has expired"));
    timer = setTimeout(wait, Math.min(leftMs, LONGEST_TIMER_MS));
  };
  timer = setTimeout(wait, 0);
  return () => clearTimeout(timer);
}
