/**
 * What the account of nodes may have in the engine, which can be less than its streams.
 * @module
 */
import type { Engine } from "./engine.ts";

/** How often it is asked for, in ms. */
const ASK_MS = 5000;

/** Room of an account; each replica is counted. */
export interface AccountSpace {
  /** What it has. */
  bytes: number;
  /** What it may have. */
  maxBytes: number;
}

/**
 * Asks how much an account has, and may have.
 * @param engine The engine.
 * @returns Null where it has no limit of its own, or may not ask.
 */
export async function accountSpaceOf(engine: Engine): Promise<AccountSpace | null> {
  try {
    const { storage, limits } = await engine.request(() => engine.jsm.getAccountInfo());
    const { max_storage: maxBytes } = limits;
    return maxBytes > 0 ? { bytes: storage, maxBytes } : null;
  } catch {
    return null;
  }
}

/** Knows how full an account is. */
export class Account {
  readonly #engine: Engine;
  readonly #timer: ReturnType<typeof setInterval>;
  #filled = 0;

  /** @param engine Where it is. */
  constructor(engine: Engine) {
    this.#engine = engine;
    this.#timer = setInterval(() => void this.ask(), ASK_MS);
  }

  /** How full it was when that was asked for last: 1 for no room. */
  get filled(): number {
    return this.#filled;
  }

  /** Asks now. */
  async ask(): Promise<void> {
    const space = await accountSpaceOf(this.#engine);
    this.#filled = space === null ? 0 : space.bytes / space.maxBytes;
  }

  /** Asks no more. */
  close(): void {
    clearInterval(this.#timer);
  }
}
