/**
 * A budget of bytes that many share: who wants more than is left waits until others have given back.
 * @module
 */

/** Part of all bytes that one client may have. */
const CLIENT_SHARE = 1 / 2;

interface Wish {
  bytes: number;
  client: string | null;
  resolve: () => void;
}

/** Bytes that may be in use at the same time; those who wait are served in their order, unless their client has its share. */
export class Budget {
  #leftBytes: number;
  readonly #waiting: Wish[] = [];
  readonly #clients = new Map<string, number>();
  readonly #bytes: number;

  /** @param bytes All there is. */
  constructor(bytes: number) {
    this.#bytes = this.#leftBytes = bytes;
  }

  /**
   * Does something while it has a share.
   * @param bytes Size of the share; whoever wants more than a client may have waits for all of that.
   * @param client Who wants it; null for one that may have all.
   * @param use What is done, when the share is there.
   */
  async during(bytes: number, client: string | null, use: () => Promise<void>): Promise<void> {
    const share = Math.min(bytes, this.#mostOf(client));
    await this.#take(share, client);
    try {
      await use();
    } finally {
      this.#count(client, -share);
      this.#serve();
    }
  }

  #take(bytes: number, client: string | null): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ bytes, client, resolve });
    this.#serve();
    return promise;
  }

  #mostOf(client: string | null): number {
    return client === null ? this.#bytes : this.#bytes * CLIENT_SHARE;
  }

  #count(client: string | null, bytes: number): void {
    this.#leftBytes -= bytes;
    if (client === null) return;
    const held = (this.#clients.get(client) ?? 0) + bytes;
    if (held > 0) this.#clients.set(client, held);
    else this.#clients.delete(client);
  }

  #serve(): void {
    for (let at = 0; at < this.#waiting.length;) {
      const { bytes, client, resolve } = this.#waiting[at];
      const held = client === null ? 0 : this.#clients.get(client) ?? 0;
      if (held + bytes > this.#mostOf(client)) at++;
      // Small wishes must not be served for ever before a large one.
      else if (bytes > this.#leftBytes) return;
      else {
        this.#waiting.splice(at, 1);
        this.#count(client, bytes);
        resolve();
      }
    }
  }
}

/** What long messages that are sent and not yet taken may hold, all connections of the process together. */
const UNTAKEN_BYTES = 64 * 1024 * 1024;
/** Long messages take their share of it before they are made. */
export const UNTAKEN: Budget = new Budget(UNTAKEN_BYTES);
