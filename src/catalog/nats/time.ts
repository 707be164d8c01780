/**
 * The time by which records age, as nodes keep it for one another.
 * @module
 */
import type { CatalogTime } from "../../catalog.ts";
import type { Bucket } from "../../cluster/bucket.ts";

/** Key of the time. */
const TIME_KEY = "time";

/**
 * The time that any node kept last; the first one gives its own to all others, whose clocks may be years apart.
 * @param settings Where.
 * @param change Name of the change, should it be the first.
 */
export async function lastTime(settings: Bucket, change: string): Promise<CatalogTime> {
  const nowMs = Date.now();
  const found = await settings.find(TIME_KEY);
  let value = found?.value;
  if (!value) {
    const first = { steadyMs: nowMs, wallMs: nowMs };
    const outcome = await settings.write(TIME_KEY, found?.sequence ?? 0, encode(first), change);
    value = "found" in outcome ? outcome.found?.value : null;
    if (!value) return first;
  }
  const time: CatalogTime = JSON.parse(new TextDecoder().decode(value));
  // The clock of the node that kept it may be another one: no more has passed than the engine says.
  const sinceMs = Math.max(0, await settings.ageOf(TIME_KEY));
  const { wallMs, doubtMs = 0 } = time;
  const leastMs = nowMs - sinceMs - doubtMs;
  // One that is behind tells nothing of that, and the engine does.
  return { ...time, wallMs: nowMs < wallMs ? leastMs : Math.max(wallMs, leastMs) };
}

/**
 * Keeps the time, for the node that starts next.
 * @param settings Where.
 * @param time The time.
 * @param change Name of the change.
 */
export async function keepTime(
  settings: Bucket,
  time: CatalogTime,
  change: string,
): Promise<void> {
  const { sequence } = await settings.find(TIME_KEY) ?? { sequence: 0 };
  // One that another node keeps at the same moment is as good.
  await settings.write(TIME_KEY, sequence, encode(time), change);
}

function encode(time: CatalogTime): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(time));
}
