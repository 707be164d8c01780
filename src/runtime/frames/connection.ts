/**
 * One WebSocket connection on a socket after the opening handshake: order, backpressure, pings, the end.
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { Allowance } from "../../allowance.ts";
import { giveBack } from "../../byte_queue.ts";
import { closeReason, ERRORS, LIMITS, StreamError, toStreamError } from "../../protocol.ts";
import type { Connection, Session } from "../../runtime.ts";
import { UNTAKEN } from "../budget.ts";
import { type Frame, FrameCodec, type Role, type Violation } from "./codec.ts";

/** Times of a connection. */
export interface ConnectionTimes {
  /** A silent peer is pinged this often, in ms. */
  pingEveryMs: number;
  /** A peer is given up at the first ping after so long a silence, in ms. */
  deadAfterMs: number;
  /** The peer has so long for its part of the closing handshake, in ms. */
  closeWithinMs: number;
}

/** Some of them; the others are the default ones. */
export type SomeTimes = { [Name in keyof ConnectionTimes]?: ConnectionTimes[Name] | undefined };

/** The default times of a connection. */
export const CONNECTION_TIMES: ConnectionTimes = {
  pingEveryMs: 25_000,
  deadAfterMs: 60_000,
  closeWithinMs: 5_000,
};

/** What was agreed on in the opening handshake. */
export interface ConnectionOptions {
  /** Which end this is. */
  role: Role;
  /** The subprotocol; empty without one. */
  subprotocol: string;
  /** Client whose connection it is, for budgets; null for one that has no share. */
  client: string | null;
  /** Whether the peer is pinged; sessions with a heartbeat of their own need none. */
  keepAlive: boolean;
  /** The times. */
  times: ConnectionTimes;
}

/** Bytes of messages that may wait behind another; with more the peer does not read at all. */
const WAITING_BYTES = 8 * 1024 * 1024;
/** Bytes that may wait in the socket for more to be sent at once. */
const AT_ONCE_BYTES = 1024 * 1024;
/** What a message costs while it waits, besides its bytes. */
const MESSAGE_COST_BYTES = 512;
/** Pings and pongs that a peer may send at once, and the time after which it may send one more. */
const HEARTBEATS = 64;
const HEARTBEAT_EVERY_MS = 100;
/** All peers together may send so many more: 5000 a second, of which the newest are answered. */
const EXCESS = new Allowance(1000, 0.2);
/** Whoever sends more than that is read again after so long. */
const EXCESS_WAIT_MS = 10;
/** After so long with the frames of one peer the others have a turn. */
const TURN_MS = 4;
/** Time is looked at after so many frames. */
const FRAMES_PER_LOOK = 32;
/** Pings that come so many times too late show that this process stood still. */
const LATE = 3;
/** RFC 6455, 7.1.5: the connection went away without a close frame. */
const ABNORMAL_CLOSURE = 1006;
/** What the Java server sends. */
const PING_PAYLOAD = new TextEncoder().encode("*");
const NOTHING = new Uint8Array(0);

/** Bytes of a binary message. */
type Data = Extract<Frame, { type: "data" }>;

/** A connection that hands bytes over as they arrive and sends messages of any length. */
export class FrameConnection implements Connection {
  /** The subprotocol both ends agreed on; empty without one. */
  readonly subprotocol: string;
  readonly #socket: Socket;
  readonly #codec: FrameCodec;
  readonly #options: ConnectionOptions;
  #session: Session | null = null;
  /** The closing handshake has begun: no message counts any more, in either direction. */
  #closing = false;
  /** A message was broken off: no other can follow it. */
  #brokenOff = false;
  /** Settles when the next message may be sent. */
  #turn: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  /** Messages that have not left this process. */
  #unsent = 0;
  /** The answer to the newest ping, while there is no room for it. */
  #pong: Frame | null = null;
  readonly #heartbeats = new Allowance(HEARTBEATS, HEARTBEAT_EVERY_MS);
  #heardAtMs = performance.now();
  #pingedAtMs = performance.now();
  #pinging: ReturnType<typeof setInterval> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param socket The socket, after the opening handshake.
   * @param options What was agreed on.
   */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    // Sessions tell native peers in their own way what is too long.
    const most = LIMITS.controlMessageBytes * (options.subprotocol === "" ? 1 : 2);
    this.#codec = new FrameCodec(options.role, most);
    this.subprotocol = options.subprotocol;
  }

  /**
   * Begins to receive; the socket rests until now, so that nothing that comes meanwhile is lost.
   * @param session What the connection drives.
   * @param head What came together with the opening handshake.
   */
  start(session: Session, head: Uint8Array): void {
    this.#session = session;
    const { keepAlive, times } = this.#options;
    this.#pingedAtMs = performance.now();
    if (keepAlive) this.#pinging = setInterval(() => this.#ping(), times.pingEveryMs);
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Buffer) => void this.#receive(plain(chunk)));
    this.#socket.on("drain", () => this.#drained());
    this.#socket.on("end", () => this.#ended());
    this.#socket.on("close", () => this.#gone());
    void this.#receive(head).then(() => this.#socket.resume());
  }

  /** Sends one message. */
  send(message: string | Uint8Array): Promise<void> {
    const frame: Frame = typeof message === "string"
      ? { type: "text", text: message }
      : { type: "data", bytes: message, final: true };
    return this.#inTurn(message.length, () => this.#write(frame));
  }

  /** Sends messages together, unless others wait, or the peer does not take what it was sent. */
  sendNow(...messages: (string | Uint8Array)[]): boolean {
    const socket = this.#socket;
    if (this.#closing || !socket.writable) return true;
    if (this.#unsent > 0 || this.#brokenOff || socket.writableLength > AT_ONCE_BYTES) {
      return false;
    }
    socket.write(this.#codec.encodeAll(messages));
    return true;
  }

  /** Sends one binary message of any length in fragments. */
  sendChunks(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#inTurn(0, () => this.#sendFragments(byteCount, chunks));
  }

  /** Sends one long text, made when there is room for it. */
  sendLong(costBytes: number, make: () => Promise<string>): Promise<void> {
    return UNTAKEN.during(costBytes, this.#options.client, async () => {
      if (!this.#closing) await this.send(await make());
    });
  }

  /**
   * Sends a part of one binary message at once, in fragments of its own; nothing else may be sent before its end.
   * @param bytes The part.
   * @param final Whether the message ends with it.
   * @returns When the transport has room for the next part, and the memory of this one may be used for something else.
   */
  sendPart(bytes: Uint8Array, final: boolean): Promise<void> {
    return this.#inTurn(bytes.length, async () => {
      let at = 0;
      do {
        const piece = bytes.subarray(at, at + LIMITS.dataMessageBytes);
        at += piece.length;
        await this.#write({ type: "data", bytes: piece, final: final && at === bytes.length });
      } while (at < bytes.length && !this.#closing);
    });
  }

  /** Begins the closing handshake, after what was sent before; a message in fragments is broken off. */
  close(code: number, reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#deadline = setTimeout(() => this.terminate(), this.#options.times.closeWithinMs);
    void this.#turn.then(() => this.#write({ type: "close", code, reason }));
  }

  /** Drops the connection. */
  terminate(): void {
    this.#socket.destroy();
  }

  #inTurn(byteCount: number, send: () => Promise<void>): Promise<void> {
    if (this.#closing) return Promise.resolve();
    if (this.#waitingBytes > WAITING_BYTES) this.terminate();
    const costBytes = byteCount + MESSAGE_COST_BYTES;
    this.#waitingBytes += costBytes;
    const sent = this.#turn.then(() => {
      this.#waitingBytes -= costBytes;
      if (!this.#brokenOff) return send();
    });
    this.#unsent++;
    this.#turn = sent.catch(() => {}).then(() => void this.#unsent--);
    return sent;
  }

  async #sendFragments(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let left = byteCount;
    if (left === 0) await this.#write({ type: "data", bytes: NOTHING, final: true });
    try {
      for await (const chunk of chunks) {
        if (chunk.length > left) throw wrongLength(byteCount);
        for (let at = 0; at < chunk.length; at += LIMITS.dataMessageBytes) {
          if (this.#closing || !this.#socket.writable) return;
          const bytes = chunk.subarray(at, at + LIMITS.dataMessageBytes);
          left -= bytes.length;
          await this.#write({ type: "data", bytes, final: left === 0 });
        }
      }
      if (left > 0) throw wrongLength(byteCount);
    } finally {
      this.#brokenOff = left > 0;
    }
  }

  /** Resolves when the frame has left this process, or never will. */
  async #write(frame: Frame): Promise<void> {
    const socket = this.#socket;
    if (!socket.writable) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const parts = this.#codec.encode(frame);
    const last = parts.pop()!;
    for (const part of parts) socket.write(part);
    socket.write(last, () => resolve());
    await promise;
  }

  /** Hands on what a chunk holds; the socket rests while the session is busy. */
  async #receive(chunk: Uint8Array): Promise<void> {
    this.#heard();
    const share = new Share();
    try {
      for (const frame of joinData(this.#codec.push(chunk))) {
        const busy = this.#take(frame) ?? share.spent();
        if (busy === undefined) continue;
        this.#socket.pause();
        await busy;
        share.renew();
        this.#heard();
        this.#socket.resume();
      }
      giveBack(chunk);
      this.#answerPing();
    } catch (thrown) {
      const error = toStreamError(thrown);
      this.#hangUp(ERRORS[error.code].close, closeReason(error));
    }
  }

  #take(frame: Frame | Violation): void | Promise<void> {
    switch (frame.type) {
      case "text":
        // Nothing but a close is waited for any more: whoever goes on is read slowly.
        return this.#closing ? slowDown() : this.#session?.text(frame.text);
      case "data":
        return this.#closing ? undefined : this.#session?.data(frame.bytes, frame.final);
      case "ping":
        return this.#pinged(frame.payload);
      case "pong":
        return this.#mayBeat() ? undefined : slowDown();
      case "close":
      case "violation":
        return this.#hangUp(frame.code, frame.reason);
    }
  }

  #pinged(payload: Uint8Array): void | Promise<void> {
    if (!this.#closing) this.#pong = { type: "pong", payload };
    if (!this.#mayBeat()) return slowDown();
    this.#answerPing();
  }

  /** Whether a heartbeat is one of those that every peer may send. */
  #mayBeat(): boolean {
    return this.#heartbeats.take() === 0;
  }

  /** Only the newest ping must be answered (RFC 6455, 5.5.3): a peer that does not read piles nothing up. */
  #answerPing(): void {
    if (this.#pong === null || this.#socket.writableNeedDrain) return;
    void this.#write(this.#pong);
    this.#pong = null;
  }

  /** The peer reads: a slow one is not silent. */
  #drained(): void {
    this.#heard();
    this.#answerPing();
  }

  #heard(): void {
    this.#heardAtMs = performance.now();
  }

  #ping(): void {
    const { pingEveryMs } = this.#options.times;
    const stoodStill = performance.now() - this.#pingedAtMs > LATE * pingEveryMs;
    this.#pingedAtMs = performance.now();
    // A peer whose bytes wait for the session cannot be heard, nor anybody by a process that was stopped.
    if (this.#socket.isPaused() || stoodStill) this.#heard();
    const silentMs = performance.now() - this.#heardAtMs;
    if (silentMs >= this.#options.times.deadAfterMs) this.terminate();
    else void this.#write({ type: "ping", payload: PING_PAYLOAD });
  }

  /** Ends both directions: the peer has said goodbye, or will not be listened to any more. */
  #hangUp(code: number, reason: string): void {
    this.close(code, reason);
    void this.#turn.then(() => this.#socket.end());
    this.#tellClosed(code, reason);
  }

  #ended(): void {
    if (this.#session !== null) this.#socket.destroy();
  }

  #gone(): void {
    this.#closing = true;
    clearTimeout(this.#deadline);
    this.#tellClosed(ABNORMAL_CLOSURE, "");
  }

  #tellClosed(code: number, reason: string): void {
    clearInterval(this.#pinging);
    const session = this.#session;
    this.#session = null;
    session?.closed(code, reason);
  }
}

/** Reads a peer slowly that sends more heartbeats than it may. */
function slowDown(): void | Promise<void> {
  if (EXCESS.take() > 0) return sleep(EXCESS_WAIT_MS);
}

/** The time that a peer's frames may take in one turn. */
class Share {
  #frames = 0;
  #sinceMs = performance.now();

  /** Takes one frame into account; a promise of the next turn when the share is spent. */
  spent(): void | Promise<void> {
    if (++this.#frames % FRAMES_PER_LOOK !== 0) return;
    if (performance.now() - this.#sinceMs >= TURN_MS) return turn();
  }

  /** Begins a new share. */
  renew(): void {
    this.#sinceMs = performance.now();
  }
}

/**
 * Joins what came at once of a message: a Java client sends fragments of 4 KiB, and each piece would be handed on by
 * itself and be copied with others later.
 */
function* joinData(frames: Iterable<Frame | Violation>): Generator<Frame | Violation, void> {
  let run: Data | null = null;
  for (const frame of frames) {
    if (frame.type === "data") run = run === null ? frame : append(run, frame);
    if (run !== null && (frame.type !== "data" || frame.final)) {
      yield run;
      run = null;
    }
    if (frame.type !== "data") yield frame;
  }
  if (run !== null) yield run;
}

/** Moves a piece up to the one before, over the header between them: both are parts of one buffer. */
function append({ bytes: before }: Data, { bytes, final }: Data): Data {
  const { buffer, byteOffset, length } = before;
  const joined = new Uint8Array(buffer, byteOffset, length + bytes.length);
  joined.set(bytes, length);
  return { type: "data", bytes: joined, final };
}

/** Sessions get what everybody else hands them, no subclass with a meaning of its own for `slice`. */
function plain({ buffer, byteOffset, length }: Buffer): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

function wrongLength(byteCount: number): StreamError {
  return new StreamError("INTERNAL", `a message was announced with ${byteCount} bytes: it has not`);
}
