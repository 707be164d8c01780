/**
 * What both standard WebSocket adapters share: whole messages, and a bound on what waits in the socket.
 * @module
 */
import { giveBack } from "../byte_queue.ts";
import { LIMITS, StreamError } from "../protocol.ts";
import type { Connection } from "../runtime.ts";
import { UNTAKEN } from "./budget.ts";

/** Bytes that may wait in one socket before a send has to wait; above the largest download window. */
export const SOCKET_BUFFER_BYTES = 8 * 1024 * 1024;

/** What a message costs while it waits, besides its bytes; millions of small ones would cost gigabytes. */
const MESSAGE_COST_BYTES = 512;
/** Messages that may wait behind one that waits for room; with more the peer does not read at all. */
const WAITING_MESSAGES = 10_000;

/** A peer that takes nothing at all for so long, while something waits, is given up. */
const NO_PROGRESS_MS = 60_000;
/** A look that comes so many times too late shows that this process stood still. */
const LATE = 1.5;

/** A connection that sends whole messages, in order, and not faster than its socket takes them. */
export abstract class WholeMessageConnection implements Connection {
  abstract readonly subprotocol: string;
  /** The last send that waits for room. */
  #waiting: Promise<void> | null = null;
  #waitingMessages = 0;
  /** Messages that were handed to the socket since it was empty. */
  #handedOver = 0;
  /** Client whose connection it is, for budgets; null for one that has no share. */
  protected readonly client: string | null = null;
  /** Whether the socket has a copy of a message once it was handed over: then memory of long ones is given back at once. */
  protected readonly copies: boolean = false;
  /** See {@link NO_PROGRESS_MS}. */
  protected readonly noProgressMs: number = NO_PROGRESS_MS;

  /** Whether nothing more can be sent, ever. */
  protected abstract readonly gone: boolean;
  /** Bytes that wait in the socket. */
  protected abstract readonly bufferedBytes: number;
  /** Bytes that may wait in the socket at present. */
  protected get mostBufferedBytes(): number {
    return SOCKET_BUFFER_BYTES;
  }
  /** Hands a message to the socket. */
  protected abstract put(message: string | Uint8Array): void;
  /** Waits until the socket may have room. */
  protected abstract room(): Promise<void>;
  /** Begins the closing handshake. */
  abstract close(code: number, reason: string): void;
  /** Drops the peer. */
  abstract terminate(): void;

  /** Sends messages together, unless they had to wait for room. */
  sendNow(...messages: (string | Uint8Array)[]): boolean {
    if (this.#waiting !== null || this.#isFull) return false;
    this.together(() => {
      for (const message of messages) this.#hand(message);
    });
    return true;
  }

  /** Runs a step whose messages may leave together; not every socket can do that. */
  protected together(step: () => void): void {
    step();
  }

  /** Sends one message. */
  send(message: string | Uint8Array): Promise<void> {
    if (this.#waiting === null && !this.#isFull) {
      this.#hand(message);
      return SENT;
    }
    if (this.#waitingMessages === WAITING_MESSAGES) this.terminate();
    const sent = this.#sendAfter(this.#waiting, message).finally(() => {
      if (this.#waiting === sent) this.#waiting = null;
    });
    this.#waiting = sent;
    return sent;
  }

  /** Sends one binary message, put together first; long ones share a budget until their peers have taken them. */
  async sendChunks(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    checkLength(byteCount);
    if (byteCount <= LIMITS.dataMessageBytes) {
      return await this.send(await wholeMessage(byteCount, chunks));
    }
    await UNTAKEN.during(byteCount, this.client, async () => {
      if (!this.gone) await this.#sendAndWait(await wholeMessage(byteCount, chunks));
    });
  }

  /** Sends one long text, made when there is room for it. */
  async sendLong(costBytes: number, make: () => Promise<string>): Promise<void> {
    await UNTAKEN.during(costBytes, this.client, async () => {
      if (!this.gone) await this.#sendAndWait(await make());
    });
  }

  /** Sends a message; resolves when the peer has taken it, or is gone. */
  async #sendAndWait(message: string | Uint8Array): Promise<void> {
    await this.send(message);
    if (this.copies && typeof message !== "string") giveBack(message);
    await this.#until(() => this.bufferedBytes === 0);
  }

  get #isFull(): boolean {
    const { bufferedBytes } = this;
    if (bufferedBytes === 0) this.#handedOver = 0;
    return bufferedBytes + this.#handedOver * MESSAGE_COST_BYTES > this.mostBufferedBytes;
  }

  async #sendAfter(before: Promise<void> | null, message: string | Uint8Array): Promise<void> {
    this.#waitingMessages++;
    await before;
    if (this.#isFull) await this.#until(() => !this.#isFull);
    this.#waitingMessages--;
    this.#hand(message);
  }

  /** Waits for what the peer does by taking; one that takes nothing is given up. */
  async #until(isSo: () => boolean): Promise<void> {
    if (isSo()) return;
    let waitingBytes = this.bufferedBytes;
    let lookedAtMs = performance.now();
    const watch = setInterval(() => {
      const nowMs = performance.now();
      // Nobody could take anything from a process that was stopped.
      const stoodStill = nowMs - lookedAtMs > LATE * this.noProgressMs;
      lookedAtMs = nowMs;
      if (this.bufferedBytes >= waitingBytes && !stoodStill) this.terminate();
      waitingBytes = this.bufferedBytes;
    }, this.noProgressMs);
    while (!this.gone && !isSo()) await this.room();
    clearInterval(watch);
  }

  #hand(message: string | Uint8Array): void {
    if (this.gone) return;
    this.#handedOver++;
    this.put(message);
  }
}

const SENT = Promise.resolve();

/**
 * Puts the pieces of one binary message together.
 *
 * @param byteCount Length of the message.
 * @param chunks Its pieces, in order.
 * @returns The message.
 */
async function wholeMessage(
  byteCount: number,
  chunks: AsyncIterable<Uint8Array>,
): Promise<Uint8Array> {
  const message = new Uint8Array(byteCount);
  let filled = 0;
  for await (const chunk of chunks) {
    message.set(chunk, filled);
    filled += chunk.length;
  }
  return message;
}

/** @throws {StreamError} MESSAGE_TOO_LARGE above what a standard WebSocket is asked to send at once. */
function checkLength(byteCount: number): void {
  if (byteCount > LIMITS.wholeChunkBytes) {
    throw new StreamError(
      "MESSAGE_TOO_LARGE",
      `a chunk of ${byteCount} bytes is above the ${LIMITS.wholeChunkBytes} that this port sends at once: ask for smaller ones, or the port for Step clients`,
    );
  }
}
