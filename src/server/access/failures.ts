/**
 * How often an address may present wrong credentials.
 *
 * Only answers to wrong ones are limited: whoever shares an address with a guesser still gets in with a right one.
 * @module
 */

/** Failures that an address may have at once. */
const BURST = 10;
/** One more is forgiven after so long. */
const FORGIVE_AFTER_MS = 6000;
/** Addresses remembered; the oldest are forgotten first. */
const MAX_ADDRESSES = 10_000;

/** Rest of an address's burst, and when that was counted. */
interface Bucket {
  left: number;
  atMs: number;
}

/** Counts failures by address. */
export class FailureLimit {
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;

  /** @param now The clock, in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /**
   * Counts a failure.
   * @param address Where it came from; null where nobody knows, which is one address, too.
   * @returns 0, or the time in s to wait when there were too many.
   */
  count(address: string | null): number {
    const key = networkOf(address ?? "");
    const nowMs = this.#now();
    const { left, atMs } = this.#buckets.get(key) ?? { left: BURST, atMs: nowMs };
    const refilled = Math.min(BURST, left + (nowMs - atMs) / FORGIVE_AFTER_MS);
    // Map keeps the order of insertion: the newest failure stands last.
    this.#buckets.delete(key);
    this.#buckets.set(key, { left: refilled >= 1 ? refilled - 1 : refilled, atMs: nowMs });
    if (this.#buckets.size > MAX_ADDRESSES) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    return refilled >= 1 ? 0 : Math.ceil((1 - refilled) * FORGIVE_AFTER_MS / 1000);
  }
}

/** An IPv4 address, or the /64 of an IPv6 address, which one client has all to itself. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null) return mapped[1];
  if (!address.includes(":")) return address;
  const [head, tail] = address.split("%")[0].split("::").map((part) =>
    part.split(":").filter((group) => group !== "")
  );
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array<string>(zeros).fill("0"), ...tail ?? []];
  return groups.slice(0, 4).map((group) => parseInt(group, 16).toString(16)).join(":");
}
