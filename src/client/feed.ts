/**
 * How the bytes of a reading are asked for: a native server pushes them, a Step server answers chunk by chunk.
 * @module
 */
import { ByteQueue, giveBack } from "../byte_queue.ts";
import {
  checkStart,
  isFinal,
  LIMITS,
  type Message,
  type MessageOf,
  type ResourceStatus,
  type StreamError,
  toStreamError,
} from "../protocol.ts";

/** Unreported bytes from which an empty buffer is reported (PROTOCOL.md 4.4). */
const REPORT_BYTES = 32 * 1024;
/** How long that may wait. */
const REPORT_AFTER_MS = 2;
/** Bytes of one request to a Step server. */
const CHUNK_BYTES = 1024 * 1024;

/** A stream of bytes that is being read. */
export class Reading {
  /** Byte after the last one wanted; null for the end of the resource. */
  readonly to: number | null;
  /** Received and not yet handed over, at most one window: as it came, or copied into memory that is used again. */
  readonly #waiting: Uint8Array[] | ByteQueue;
  /** Bytes before this offset arrived. */
  received: number;
  /** Bytes before this offset were handed over. */
  consumed: number;
  #ended = false;
  #wake: (() => void) | null = null;

  /**
   * Begins with nothing.
   * @param from First byte.
   * @param to Byte after the last one wanted.
   * @param reusesMemory Whether a chunk is valid until the next one is asked for only.
   */
  constructor(from: number, to: number | null, reusesMemory: boolean) {
    this.to = to;
    this.#waiting = reusesMemory ? new ByteQueue(from) : [];
    this.received = this.consumed = from;
  }

  /** Whether everything has arrived. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether all that arrived was handed over. */
  get isEmpty(): boolean {
    return this.received === this.consumed;
  }

  /** Takes bytes that arrived; they belong to the reading from now on. */
  push(bytes: Uint8Array): void {
    this.received += bytes.length;
    if (this.#waiting instanceof ByteQueue) {
      this.#waiting.append(bytes);
      giveBack(bytes);
    } else this.#waiting.push(bytes);
    this.wake();
  }

  /** Hands the next chunk over, when there is one. */
  next(): Uint8Array {
    const bytes = this.#waiting instanceof ByteQueue
      ? viewOf(this.#waiting, this.consumed)
      : this.#waiting.shift()!;
    this.consumed += bytes.length;
    return bytes;
  }

  /** Forgets what was not handed over. */
  restart(): void {
    if (this.#waiting instanceof ByteQueue) this.#waiting.dropFrom(this.consumed);
    else this.#waiting.length = 0;
    this.received = this.consumed;
  }

  /** Nothing more will arrive. */
  end(): void {
    this.#ended = true;
    this.wake();
  }

  /** Something changed. */
  wake(): void {
    this.#wake?.();
    this.#wake = null;
  }

  /** Waits until something changes. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }
}

/** The first bytes from an offset on; those before are let go of only now. */
function viewOf(queue: ByteQueue, offset: number): Uint8Array {
  queue.dropBefore(offset);
  return queue.view(offset, Infinity);
}

/** Asks for the bytes of one reading on one connection. */
export interface Feed {
  /** Bytes arrived, or a status did. */
  arrived(): void;
  /** Bytes were handed over. */
  consumed(): void;
  /** The connection is gone. */
  stop(): void;
}

/** A native server sends by itself and is told what left the buffer. */
export class FollowFeed implements Feed {
  readonly #reading: Reading;
  readonly #send: (message: Message) => void;
  #reported: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Asks for everything.
   * @param reading What is being read.
   * @param send Sends on the connection.
   * @param asked Epoch in which everything before was seen, null for a first request; life of the resource that is
   * read; length of the longest message.
   */
  constructor(
    reading: Reading,
    send: (message: Message) => void,
    asked: Required<Pick<MessageOf<"Follow">, "epoch" | "messageBytes">> & { life?: string },
  ) {
    this.#reading = reading;
    this.#send = send;
    this.#reported = reading.received;
    const { received: from, to } = reading;
    send({ "@": "Follow", from, to, window: LIMITS.downloadWindowBytes, ...asked });
  }

  arrived(): void {}

  /** Reports seldom while much arrives, and soon when little does. */
  consumed(): void {
    const unreported = this.#reading.consumed - this.#reported;
    if (unreported >= LIMITS.downloadWindowBytes / 4) this.#report();
    else if (unreported >= REPORT_BYTES && this.#reading.isEmpty) {
      this.#timer ??= setTimeout(() => this.#report(), REPORT_AFTER_MS);
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #report(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#reported = this.#reading.consumed;
    this.#send({ "@": "Consumed", offset: this.#reported });
  }
}

/** A Step server sends one chunk per request, and knows no other flow control. */
export class ChunkFeed implements Feed {
  readonly #reading: Reading;
  readonly #send: (message: Message) => void;
  readonly #status: () => ResourceStatus;
  readonly #fail: (error: StreamError) => void;
  /** Where the chunk that was asked for ends. */
  #asked: number;

  /**
   * Asks for the first chunk.
   * @param reading What is being read.
   * @param send Sends on the connection.
   * @param status The newest status.
   * @param fail Ends the reading with an error.
   */
  constructor(
    reading: Reading,
    send: (message: Message) => void,
    status: () => ResourceStatus,
    fail: (error: StreamError) => void,
  ) {
    this.#reading = reading;
    this.#send = send;
    this.#status = status;
    this.#fail = fail;
    this.#asked = reading.received;
    this.arrived();
  }

  arrived(): void {
    const { received, isEmpty, to } = this.#reading;
    // The next one is asked for when the last one was handed over.
    if (received < this.#asked || !isEmpty) return;
    const status = this.#status();
    const { currentSize, transferStatus } = status;
    try {
      checkStart(status, received, null);
    } catch (error) {
      return this.#fail(toStreamError(error));
    }
    const end = Math.min(to ?? Infinity, currentSize);
    if (received < end) {
      this.#asked = Math.min(received + CHUNK_BYTES, end);
      this.#send({ "@": "RequestChunk", startOffset: received, endOffset: this.#asked });
    } else if (received >= (to ?? Infinity) || isFinal(transferStatus)) this.#reading.end();
  }

  consumed(): void {
    this.arrived();
  }

  stop(): void {}
}
