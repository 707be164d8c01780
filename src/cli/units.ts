/**
 * Durations and sizes as people write them.
 * @module
 */

const DURATIONS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const TIME = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/;

const SIZES: Record<string, number> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** `50ms`, `1.5s`, `10m`, `1h`, `7d` in ms; null for anything else. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return match === null ? null : Math.round(Number(match[1]) * DURATIONS[match[2]]);
}

/** A time of ISO 8601, or a duration until now, in ms since 1970; null for anything else. */
export function parseTimeMs(text: string): number | null {
  const agoMs = parseDurationMs(text);
  if (agoMs !== null) return Date.now() - agoMs;
  return TIME.test(text) ? Date.parse(text) : null;
}

/** `4096`, `64KiB`, `256MB`, `1GiB` in bytes; null for anything else. */
export function parseSizeBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
  const unit = match === null ? undefined : SIZES[match[2].toUpperCase()];
  return match === null || unit === undefined ? null : Math.round(Number(match[1]) * unit);
}

/** A size for people: `1.5 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes, unit = "B";
  for (const next of ["kB", "MB", "GB", "TB"]) {
    // What would be shown as 1000 is one of the next.
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  return unit === "B"
    ? `${bytes} B`
    : `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** An age for people, in its greatest unit: `42s`, `5m`, `3h`, `12d`. */
export function formatAge(ms: number): string {
  const [unit, unitMs] = Object.entries(DURATIONS).reverse()
    .find(([unit, unitMs]) => unit === "s" || unit !== "ms" && ms >= unitMs)!;
  return `${Math.max(0, Math.floor(ms / unitMs))}${unit}`;
}
