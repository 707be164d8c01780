/** A clock that processes of one machine share. */

/** Milliseconds since 1970, to the microsecond; never set back while a process runs. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
