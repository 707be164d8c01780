/**
 * WebSocket frames (RFC 6455, 5): bytes in, events out, and back. Nothing in here knows a socket.
 * @module
 */
import { cutCloseReason } from "../../protocol.ts";

/** What a frame carries, whichever way it goes. */
export type Frame =
  /** A whole text message. */
  | { type: "text"; text: string }
  /** Bytes of a binary message in order; `final` says that it ends with them. */
  | { type: "data"; bytes: Uint8Array; final: boolean }
  | { type: "ping"; payload: Uint8Array }
  | { type: "pong"; payload: Uint8Array }
  /** The closing handshake; code 1005 stands for a close frame without a code. */
  | { type: "close"; code: number; reason: string };

/** The peer broke the rules; nothing it sends after that is looked at. */
export interface Violation {
  /** Tells it from frames. */
  type: "violation";
  /** The close code it is told. */
  code: number;
  /** Which rule, for a person. */
  reason: string;
}

/** Which end of the connection this is: clients mask what they send, servers do not (RFC 6455, 5.1). */
export type Role = "server" | "client";

/** RFC 6455, 7.1.5: a close frame without a code. */
const NO_STATUS = 1005;

const PROTOCOL_ERROR = 1002;
const INVALID_TEXT = 1007;
const TOO_BIG = 1009;

const CONTINUATION = 0x0;
const TEXT = 0x1;
const BINARY = 0x2;
const CLOSE = 0x8;
const PING = 0x9;
const PONG = 0xa;

const FINAL_BIT = 0x80;
const RESERVED_BITS = 0x70;
const OPCODE_BITS = 0x0f;
const CONTROL_BIT = 0x08;
const MASK_BIT = 0x80;
const LENGTH_BITS = 0x7f;

const MAX_HEADER_BYTES = 14;
const MASK_BYTES = 4;
const MAX_CONTROL_BYTES = 125;
/** Lengths that stand for "the next two bytes" and "the next eight bytes". */
const LENGTH_IN_2 = 126;
const LENGTH_IN_8 = 127;

/** Shorter payload is joined with its header: copying it costs less than handing it over by itself. */
const COPY_BELOW_BYTES = 4096;

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class BrokenRule {
  constructor(readonly code: number, readonly reason: string) {}
}

/**
 * One connection's frames in both directions.
 *
 * Text messages are put together up to a limit; binary messages never are: their bytes come out as
 * they go in, so that memory does not grow with the size of a message.
 */
export class FrameCodec {
  readonly #role: Role;
  readonly #textLimitBytes: number;

  readonly #header = new Uint8Array(MAX_HEADER_BYTES);
  #headerLength = 0;
  /** Payload of the frame under way that was taken in, and that is still to come. */
  #taken = 0;
  #left = 0;
  #control = NOTHING;
  /** Opcode of the message under way; CONTINUATION between messages. */
  #receiving = CONTINUATION;
  #text = NOTHING;
  #textLength = 0;
  /** After a close frame or a violation nothing counts any more. */
  #over = false;
  #sending = false;

  /**
   * @param role Which end this is.
   * @param textLimitBytes The longest text message accepted.
   */
  constructor(role: Role, textLimitBytes: number) {
    this.#role = role;
    this.#textLimitBytes = textLimitBytes;
  }

  /**
   * Takes bytes in, cut anywhere.
   * @param bytes What came; unmasked in place, and handed on as parts of the same buffer.
   * @returns What they complete, to be read to its end before the next call.
   */
  *push(bytes: Uint8Array): Generator<Frame | Violation, void> {
    try {
      yield* this.#decode(bytes);
    } catch (thrown) {
      if (!(thrown instanceof BrokenRule)) throw thrown;
      this.#over = true;
      yield { type: "violation", code: thrown.code, reason: thrown.reason };
    }
  }

  /**
   * Writes one frame; binary messages become fragments by themselves.
   * @param frame What to send.
   * @returns Its bytes in one part or two; long payload is not copied, and must not change until it was sent.
   */
  encode(frame: Frame): Uint8Array[] {
    switch (frame.type) {
      case "text":
        return this.#encode(TEXT, encoder.encode(frame.text));
      case "data": {
        const opcode = this.#sending ? CONTINUATION : BINARY;
        this.#sending = !frame.final;
        return this.#encode(opcode, frame.bytes, frame.final);
      }
      case "ping":
        return this.#encode(PING, frame.payload);
      case "pong":
        return this.#encode(PONG, frame.payload);
      case "close":
        return this.#encode(CLOSE, closePayload(frame.code, frame.reason));
    }
  }

  /**
   * Writes whole messages, one after the other; none of them may be between fragments of another.
   * @param messages Texts, and bytes of binary messages.
   * @returns All their bytes, in memory of their own.
   */
  encodeAll(messages: (string | Uint8Array)[]): Uint8Array {
    const payloads = messages.map((one) => typeof one === "string" ? encoder.encode(one) : one);
    const sizes = payloads.map(({ length }) => this.#headerBytes(length) + length);
    const all = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    let at = 0;
    payloads.forEach((payload, index) => {
      const frame = all.subarray(at, at + sizes[index]);
      const opcode = typeof messages[index] === "string" ? TEXT : BINARY;
      this.#putHeader(frame, opcode, payload.length, true);
      this.#putPayload(frame, frame.length - payload.length, payload);
      at += frame.length;
    });
    return all;
  }

  *#decode(bytes: Uint8Array): Generator<Frame, void> {
    for (let at = 0; at < bytes.length && !this.#over;) {
      at = this.#readHeader(bytes, at);
      if (!this.#headerComplete()) return;
      const end = Math.min(at + this.#left, bytes.length);
      const frame = this.#takePayload(bytes.subarray(at, end));
      at = end;
      if (frame !== null) yield frame;
    }
  }

  #readHeader(bytes: Uint8Array, start: number): number {
    let at = start;
    while (at < bytes.length && !this.#headerComplete()) {
      this.#header[this.#headerLength++] = bytes[at++];
      if (this.#headerLength === 1) this.#takeFirstByte();
      else if (this.#headerLength === 2) this.#takeSecondByte();
      if (this.#headerComplete()) this.#beginFrame();
    }
    return at;
  }

  #headerComplete(): boolean {
    if (this.#headerLength < 2) return false;
    const maskBytes = this.#role === "server" ? MASK_BYTES : 0;
    return this.#headerLength === 2 + lengthBytes(this.#header[1] & LENGTH_BITS) + maskBytes;
  }

  #takeFirstByte(): void {
    const [first] = this.#header;
    const opcode = first & OPCODE_BITS;
    if ((first & RESERVED_BITS) !== 0) throw broken("a reserved bit is set");
    if (opcode > PONG || opcode > BINARY && opcode < CLOSE) {
      throw broken(`opcode ${opcode} is reserved`);
    }
    if (isControl(opcode)) {
      if ((first & FINAL_BIT) === 0) throw broken("a control frame is fragmented");
    } else if (opcode === CONTINUATION) {
      if (this.#receiving === CONTINUATION) throw broken("nothing is there to continue");
    } else if (this.#receiving !== CONTINUATION) {
      throw broken("a message begins inside another one");
    } else this.#receiving = opcode;
  }

  #takeSecondByte(): void {
    const [first, second] = this.#header;
    const masked = (second & MASK_BIT) !== 0;
    if (masked !== (this.#role === "server")) {
      throw broken(masked ? "a server's frame is masked" : "a client's frame is not masked");
    }
    if (isControl(first & OPCODE_BITS) && (second & LENGTH_BITS) > MAX_CONTROL_BYTES) {
      throw broken(`a control frame is longer than ${MAX_CONTROL_BYTES} bytes`);
    }
  }

  #beginFrame(): void {
    this.#left = this.#readLength();
    this.#taken = 0;
    if (isControl(this.#header[0] & OPCODE_BITS)) this.#control = new Uint8Array(this.#left);
    else if (
      this.#receiving === TEXT && this.#textLength + this.#left > this.#textLimitBytes
    ) {
      throw new BrokenRule(
        TOO_BIG,
        `MESSAGE_TOO_LARGE: a text message is longer than ${this.#textLimitBytes} bytes`,
      );
    }
  }

  #readLength(): number {
    const short = this.#header[1] & LENGTH_BITS;
    if (short < LENGTH_IN_2) return short;
    const view = new DataView(this.#header.buffer);
    if (short === LENGTH_IN_2) {
      const length = view.getUint16(2);
      if (length < LENGTH_IN_2) throw broken("a length is longer than it need be");
      return length;
    }
    const upper = view.getUint32(2);
    const length = upper * 2 ** 32 + view.getUint32(6);
    if (upper >= 2 ** 31) throw broken("the top bit of a length is set");
    if (length < 2 ** 16) throw broken("a length is longer than it need be");
    if (length > Number.MAX_SAFE_INTEGER) throw new BrokenRule(TOO_BIG, "a frame is too long");
    return length;
  }

  /** Takes payload of the frame under way in; what it completes, or null. */
  #takePayload(bytes: Uint8Array): Frame | null {
    if (this.#role === "server") {
      const maskAt = this.#headerLength - MASK_BYTES;
      applyMask(bytes, this.#header.subarray(maskAt, this.#headerLength), this.#taken);
    }
    const offset = this.#taken;
    this.#taken += bytes.length;
    this.#left -= bytes.length;
    const ended = this.#left === 0;
    if (ended) this.#headerLength = 0;
    const opcode = this.#header[0] & OPCODE_BITS;
    if (!isControl(opcode)) {
      return this.#takeMessage(bytes, ended && (this.#header[0] & FINAL_BIT) !== 0);
    }
    this.#control.set(bytes, offset);
    return ended ? this.#takeControl(opcode) : null;
  }

  #takeMessage(bytes: Uint8Array, final: boolean): Frame | null {
    const opcode = this.#receiving;
    if (final) this.#receiving = CONTINUATION;
    if (opcode === TEXT) {
      this.#keepText(bytes);
      return final ? { type: "text", text: this.#takeText() } : null;
    }
    return final || bytes.length > 0 ? { type: "data", bytes, final } : null;
  }

  #keepText(bytes: Uint8Array): void {
    const length = this.#textLength + bytes.length;
    if (length > this.#text.length) {
      const longer = new Uint8Array(Math.max(length, 2 * this.#text.length));
      longer.set(this.#text.subarray(0, this.#textLength));
      this.#text = longer;
    }
    this.#text.set(bytes, this.#textLength);
    this.#textLength = length;
  }

  #takeText(): string {
    const bytes = this.#text.subarray(0, this.#textLength);
    this.#text = NOTHING;
    this.#textLength = 0;
    return decodeText(bytes);
  }

  #takeControl(opcode: number): Frame {
    const payload = this.#control;
    this.#control = NOTHING;
    if (opcode === PING) return { type: "ping", payload };
    if (opcode === PONG) return { type: "pong", payload };
    this.#over = true;
    return readClose(payload);
  }

  #encode(opcode: number, payload: Uint8Array, final = true): Uint8Array[] {
    const headerBytes = this.#headerBytes(payload.length);
    const copies = this.#role === "client" || payload.length < COPY_BELOW_BYTES;
    const part = new Uint8Array(headerBytes + (copies ? payload.length : 0));
    this.#putHeader(part, opcode, payload.length, final);
    if (!copies) return [part, payload];
    this.#putPayload(part, headerBytes, payload);
    return [part];
  }

  /** Bytes of the header of so much payload, with the mask if there is to be one. */
  #headerBytes(length: number): number {
    return 2 + lengthBytes(shortLength(length)) + (this.#role === "client" ? MASK_BYTES : 0);
  }

  #putHeader(target: Uint8Array, opcode: number, length: number, final: boolean): void {
    const short = shortLength(length);
    target[0] = opcode | (final ? FINAL_BIT : 0);
    target[1] = short | (this.#role === "client" ? MASK_BIT : 0);
    if (length <= MAX_CONTROL_BYTES) return;
    const view = new DataView(target.buffer, target.byteOffset);
    if (short === LENGTH_IN_2) view.setUint16(2, length);
    else view.setBigUint64(2, BigInt(length));
  }

  /** Copies payload behind its header, and masks it if it is to be masked. */
  #putPayload(target: Uint8Array, at: number, payload: Uint8Array): void {
    target.set(payload, at);
    if (this.#role === "server") return;
    const mask = crypto.getRandomValues(target.subarray(at - MASK_BYTES, at));
    applyMask(target.subarray(at, at + payload.length), mask, 0);
  }
}

/** The length as a header's second byte has it: itself, or what stands for longer ones. */
function shortLength(length: number): number {
  if (length <= MAX_CONTROL_BYTES) return length;
  return length < 2 ** 16 ? LENGTH_IN_2 : LENGTH_IN_8;
}

function broken(reason: string): BrokenRule {
  return new BrokenRule(PROTOCOL_ERROR, reason);
}

function isControl(opcode: number): boolean {
  return (opcode & CONTROL_BIT) !== 0;
}

/** Bytes of the length that follow the first two bytes of a header. */
function lengthBytes(short: number): number {
  return short === LENGTH_IN_8 ? 8 : short === LENGTH_IN_2 ? 2 : 0;
}

/** XORs payload with its mask, four bytes at a time; `offset` is where the bytes stand in the payload. */
function applyMask(bytes: Uint8Array, mask: Uint8Array, offset: number): void {
  const aligned = Math.min(-bytes.byteOffset & (MASK_BYTES - 1), bytes.length);
  const wordCount = Math.floor((bytes.length - aligned) / MASK_BYTES);
  maskBytes(bytes, mask, offset, 0, aligned);
  if (wordCount > 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + aligned, wordCount);
    const word = maskWord(mask, offset + aligned);
    for (let index = 0; index < words.length; index++) words[index] ^= word;
  }
  maskBytes(bytes, mask, offset, aligned + wordCount * MASK_BYTES, bytes.length);
}

function maskBytes(
  bytes: Uint8Array,
  mask: Uint8Array,
  offset: number,
  start: number,
  end: number,
): void {
  for (let at = start; at < end; at++) bytes[at] ^= mask[(offset + at) % MASK_BYTES];
}

/** The mask from a position of the payload on, as four bytes in memory order. */
function maskWord(mask: Uint8Array, offset: number): number {
  const turned = new Uint8Array(MASK_BYTES);
  for (let at = 0; at < MASK_BYTES; at++) turned[at] = mask[(offset + at) % MASK_BYTES];
  return new Int32Array(turned.buffer)[0];
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new BrokenRule(INVALID_TEXT, "a text is no UTF-8");
  }
}

function readClose(payload: Uint8Array): Frame {
  if (payload.length === 0) return { type: "close", code: NO_STATUS, reason: "" };
  if (payload.length === 1) throw broken("a close frame has half a code");
  const code = payload[0] << 8 | payload[1];
  if (!isCloseCode(code)) throw broken(`close code ${code} may not be sent`);
  return { type: "close", code, reason: decodeText(payload.subarray(2)) };
}

/** RFC 6455, 7.4, and the codes that IANA has registered since. */
function isCloseCode(code: number): boolean {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

function closePayload(code: number, reason: string): Uint8Array {
  if (code === NO_STATUS) return NOTHING;
  const text = encoder.encode(cutCloseReason(reason));
  const payload = new Uint8Array(2 + text.length);
  payload[0] = code >> 8;
  payload[1] = code & 0xff;
  payload.set(text, 2);
  return payload;
}
