/** Chance that can be repeated: a seed that a failure prints, and what is drawn with it. */
import process from "node:process";

/** Numbers that follow from a seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 up to, and without, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  /** One of them. */
  pick<T>(values: readonly T[]): T {
    return values[this.whole(0, values.length - 1)];
  }

  /** True so often of 1. */
  happens(probability: number): boolean {
    return this.next() < probability;
  }

  /** Text of lines, most of them short. */
  text(byteCount: number): Uint8Array {
    const bytes = new Uint8Array(byteCount);
    for (let at = 0; at < byteCount; at++) {
      bytes[at] = this.happens(0.05) ? 10 : this.whole(32, 126);
    }
    return bytes;
  }

  /** The bytes in pieces of 1 to `most` bytes. */
  *pieces(bytes: Uint8Array, most: number): Generator<Uint8Array, void, void> {
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.slice(at, at + this.whole(1, most));
      at += piece.length;
      yield piece;
    }
  }
}

/** Runs a check with a new seed, or with that in TEST_SEED, and names the seed when the check fails. */
export async function withChance(check: (chance: Chance) => Promise<void>): Promise<void> {
  const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
  try {
    await check(new Chance(seed));
  } catch (error) {
    throw new Error(`with TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  }
}
