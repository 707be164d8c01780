/**
 * The end of what was granted: its time is over, or it was revoked.
 * @module
 */
import type { Authenticator, Grant } from "../../access.ts";
import { StreamError } from "../../protocol.ts";

/** The time of day may be set meanwhile: it is looked at so often. */
const LOOK_AGAIN_MS = 60_000;

/**
 * Waits for the end of a grant.
 * @param grant The grant.
 * @param authenticator Knows whether it was revoked.
 * @param ended Called then, once, with the reason; not before this function has returned.
 * @returns Stops waiting.
 */
export function atEnd(
  grant: Grant,
  authenticator: Authenticator,
  ended: (reason: StreamError) => void,
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = (how: string) => {
    stop();
    ended(new StreamError("UNAUTHORIZED", `the token or link ${how}`));
  };
  const stopWatching = authenticator.watch?.(grant, () => end("was revoked"));
  const stop = () => {
    clearTimeout(timer);
    stopWatching?.();
  };
  const { expiresAtMs } = grant;
  const wait = () => {
    const leftMs = expiresAtMs! - Date.now();
    if (leftMs <= 0) return end("has expired");
    timer = setTimeout(wait, Math.min(leftMs, LOOK_AGAIN_MS));
  };
  if (expiresAtMs !== null) timer = setTimeout(wait, 0);
  return stop;
}
