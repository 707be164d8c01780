/**
 * Shares: how much of what there is little of one client may hold, so that nobody stands in everybody's way.
 * @module
 */
import { StreamError } from "../../protocol.ts";

/** Part of all places that one client may hold, unless its share is given. */
const SHARE = 1 / 2;

/** What is shared. */
export interface SharesOptions {
  /** Name of it, as in "1000 uploads". */
  what: string;
  /** How many there may be in all. */
  max: number;
  /** How many one client may hold; half of all by default. */
  maxPerClient?: number;
  /** Option that says so, for people. */
  option: string;
  /** Hears that a client has its share and wants more. */
  refused(): void;
}

/** Places that clients hold. */
export class Shares {
  readonly #options: SharesOptions;
  readonly #held = new Map<string, number>();
  /** Clients that have their share. */
  #full = 0;

  /** @param options What is shared. */
  constructor(options: SharesOptions) {
    this.#options = options;
  }

  /** Places of the client that holds the most. */
  get greatest(): number {
    return Math.max(0, ...this.#held.values());
  }

  /** Places that one client may hold. */
  get maxPerClient(): number {
    const { max, maxPerClient = Math.ceil(max * SHARE) } = this.#options;
    return maxPerClient;
  }

  /**
   * Tells whether a request may have one more place.
   * @param clients Whose request it is, by each name that counts.
   * @throws {StreamError} LIMIT_REACHED when one of them has its share.
   */
  check(clients: readonly string[]): void {
    const full = this.#firstFull(clients);
    if (full === undefined) return;
    const { what, option, refused } = this.#options;
    refused();
    throw new StreamError(
      "LIMIT_REACHED",
      `${full} has ${this.maxPerClient} ${what}, its share: end some, or see ${option}`,
    );
  }

  /** Whether a request may have one more place; nobody is refused anything. */
  hasRoom(clients: readonly string[]): boolean {
    return this.#firstFull(clients) === undefined;
  }

  /** Whether any client has its share: if none has, nobody needs to be named. */
  get isAnyFull(): boolean {
    return this.#full > 0;
  }

  #firstFull(clients: readonly string[]): string | undefined {
    return clients.find((client) => (this.#held.get(client) ?? 0) >= this.maxPerClient);
  }

  #change(client: string, by: 1 | -1): void {
    const before = this.#held.get(client) ?? 0;
    const after = before + by;
    if (after > 0) this.#held.set(client, after);
    else this.#held.delete(client);
    const isFull = (held: number) => held >= this.maxPerClient;
    if (isFull(before) !== isFull(after)) this.#full += by;
  }

  /**
   * Counts a place until it is given back.
   * @returns Gives it back; does nothing a second time.
   */
  hold(clients: readonly string[]): () => void {
    for (const client of clients) this.#change(client, 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const client of clients) this.#change(client, -1);
    };
  }

  /**
   * A place for a request.
   * @returns Gives it back.
   * @throws {StreamError} LIMIT_REACHED.
   */
  take(clients: readonly string[]): () => void {
    this.check(clients);
    return this.hold(clients);
  }
}
