/**
 * Digests that are computed while bytes pass and whose state can be saved and taken up again.
 *
 * All algorithms come from hash-wasm, because only it saves state in browsers and on servers alike; the
 * figures that chose the native default stand in ARCHITECTURE.md (digests).
 * @module
 */
import { createMD5, createSHA256, createXXHash128, type IHasher } from "hash-wasm";
import { type DigestAlgorithm, DIGESTS } from "./protocol.ts";

const CREATE: Record<DigestAlgorithm, () => Promise<IHasher>> = {
  xxh128: () => createXXHash128(),
  sha256: createSHA256,
  md5: createMD5,
};

/** Version of what saves states; a state of another one is not taken up again. */
export const DIGEST_VERSION = "hash-wasm 4.13";

/**
 * One hasher works for all digests of its algorithm: each has a WebAssembly instance of its own, and Bun
 * needs 1 ms for the first, 8 ms for the thousandth and 24 ms for the three thousandth that is alive.
 */
const hashers = new Map<DigestAlgorithm, Promise<IHasher>>();

/** Short pieces are gathered up to so many bytes: to take a state up and save it again costs more than to hash them. */
const GATHERED_BYTES = 1024;

/** A digest over all bytes given so far. */
export class RunningDigest {
  /** Name of the algorithm. */
  readonly algorithm: DigestAlgorithm;
  readonly #hasher: IHasher;
  #state: Uint8Array;
  #gathered: Uint8Array | null = null;
  #gatheredCount = 0;

  /** Use {@link createDigest}. */
  constructor(algorithm: DigestAlgorithm, hasher: IHasher, state: Uint8Array) {
    this.algorithm = algorithm;
    this.#hasher = hasher;
    this.#state = state;
  }

  /** Takes the next bytes in. */
  update(bytes: Uint8Array): void {
    if (this.#gatheredCount + bytes.length > GATHERED_BYTES) this.#takeGathered();
    if (bytes.length > GATHERED_BYTES) return this.#take(bytes);
    this.#gathered ??= new Uint8Array(GATHERED_BYTES);
    this.#gathered.set(bytes, this.#gatheredCount);
    this.#gatheredCount += bytes.length;
  }

  /** State to continue from later, a few hundred bytes (see {@link createDigest}). */
  save(): Uint8Array {
    this.#takeGathered();
    return this.#state;
  }

  /** Digest of all bytes so far in lower-case hexadecimal; more bytes may follow. */
  value(): string {
    this.#takeGathered();
    return this.#hasher.load(this.#state).digest("hex");
  }

  #takeGathered(): void {
    if (this.#gatheredCount === 0) return;
    this.#take(this.#gathered!.subarray(0, this.#gatheredCount));
    this.#gatheredCount = 0;
  }

  #take(bytes: Uint8Array): void {
    this.#hasher.load(this.#state);
    this.#state = this.#hasher.update(bytes).save();
  }
}

/**
 * Starts a digest, or continues a saved one.
 *
 * @param algorithm Name of the algorithm.
 * @param state Result of an earlier `save()` of the same algorithm.
 * @returns The digest.
 */
export async function createDigest(
  algorithm: DigestAlgorithm,
  state?: Uint8Array,
): Promise<RunningDigest> {
  const making = hashers.get(algorithm) ?? CREATE[algorithm]();
  hashers.set(algorithm, making);
  const hasher = await making;
  if (state === undefined) hasher.init();
  else hasher.load(state);
  return new RunningDigest(algorithm, hasher, hasher.save());
}

/**
 * Picks the algorithm both ends know (PROTOCOL.md 3.2).
 *
 * @param offered Names in the client's order of preference.
 * @returns The first known one; md5, which everybody knows, when there is none.
 */
export function chooseDigest(offered: readonly string[]): DigestAlgorithm {
  const known = offered.find((name) => DIGESTS.includes(name as DigestAlgorithm));
  return (known as DigestAlgorithm | undefined) ?? "md5";
}
