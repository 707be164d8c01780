/**
 * The time by which records age, as nodes keep it for one another.
 * @module
 */
import type { CatalogTime } from "../../catalog.ts";
import type { Bucket } from "../../cluster/bucket.ts";

/** Key of the time. */
const TIME_KEY = "time";

/** The time that any node kept last. */
export async function lastTime(settings: Bucket): Promise<CatalogTime> {
  const { value } = await settings.find(TIME_KEY) ?? {};
  const nowMs = Date.now();
  if (!value) return { steadyMs: nowMs, wallMs: nowMs };
  const time: CatalogTime = JSON.parse(new TextDecoder().decode(value));
  // The clock of the node that kept it may be another one: no more has passed than the engine says.
  const sinceMs = Math.max(0, await settings.ageOf(TIME_KEY));
  const { doubtMs = 0 } = time;
  return { ...time, wallMs: Math.max(time.wallMs, nowMs - sinceMs - doubtMs) };
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
  const value = new TextEncoder().encode(JSON.stringify(time));
  const { sequence } = await settings.find(TIME_KEY) ?? { sequence: 0 };
  // One that another node keeps at the same moment is as good.
  await settings.write(TIME_KEY, sequence, value, change);
}
