/**
 * A WebSocket client that costs next to nothing, so that a server is measured and not its client.
 *
 * It speaks the native protocol over a TCP socket: messages are written as they were encoded once (masked
 * with zeros, which changes nothing), and what arrives is counted, not put together.
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Message, MessageOf } from "../../src/protocol.ts";

const BINARY = 0x82;
const TEXT = 0x81;
const CLOSE = 0x88;
const MASKED = 0x80;
const MASK = Buffer.alloc(4);

/** A frame as a client sends it. */
export function frame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = opcode;
  if (length < 126) head[1] = MASKED | length;
  else if (length < 65_536) {
    head[1] = MASKED | 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = MASKED | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, MASK, payload]);
}

/** A data message. */
export function dataFrame(payload: Uint8Array): Buffer {
  return frame(BINARY, payload);
}

/** One connection; it reads from the moment it is open. */
export class ThinClient {
  readonly #socket: Socket;
  /** The head of a frame, or the whole of a text frame, that has not arrived completely. */
  #pending: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  /** Bytes of the binary frame that are still to come. */
  #payloadBytes = 0;
  #opened: PromiseWithResolvers<void> | null = Promise.withResolvers();
  #failure: Error | null = null;
  readonly #failed = Promise.withResolvers<never>();
  readonly #waiting: { name: string; got: PromiseWithResolvers<Message> }[] = [];
  readonly #messages: Message[] = [];
  /** Hears how many bytes of data arrived. */
  onData: (byteCount: number) => void = () => {};
  /** Hears that a data message is complete. */
  onDataEnd: () => void = () => {};
  /** Hears every Credit. */
  onCredit: (credit: MessageOf<"Credit">) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    // Nobody may be waiting for anything.
    this.#failed.promise.catch(() => {});
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  /** Connects; `url` is one of the server, or a reference. */
  static async open(url: string, path: string): Promise<ThinClient> {
    const { hostname, port, host } = new URL(url.replace(/^ws/, "http"));
    const socket = connect(Number(port), hostname);
    const client = new ThinClient(socket);
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
        "Sec-WebSocket-Protocol: stream.v1\r\n\r\n",
    );
    await client.#opened!.promise;
    client.#opened = null;
    return client;
  }

  /** Sends a control message. */
  send(message: Message): void {
    this.#socket.write(frame(TEXT, Buffer.from(JSON.stringify(message))));
  }

  /** Sends encoded frames; resolves when there is room for more. */
  async write(frames: Uint8Array): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (!this.#socket.write(frames)) await this.unlessFailed(once(this.#socket, "drain"));
  }

  /** Waits for something that comes only while the connection stands. */
  async unlessFailed<T>(promise: Promise<T>): Promise<T> {
    return await Promise.race([promise, this.#failed.promise]);
  }

  /** The next message of that name; others are passed over. */
  async next<Name extends Message["@"]>(name: Name): Promise<MessageOf<Name>> {
    const at = this.#messages.findIndex((message) => message["@"] === name);
    if (at !== -1) {
      const message = this.#messages[at];
      this.#messages.splice(0, at + 1);
      return message as MessageOf<Name>;
    }
    this.#messages.length = 0;
    if (this.#failure !== null) throw this.#failure;
    const got = Promise.withResolvers<Message>();
    this.#waiting.push({ name, got });
    return await got.promise as MessageOf<Name>;
  }

  /** Closes the connection. */
  close(): void {
    this.#socket.removeAllListeners("close");
    this.#socket.end(frame(CLOSE, new Uint8Array([3, 232])));
    this.#socket.destroySoon();
  }

  #receive(bytes: Buffer<ArrayBufferLike>): void {
    if (this.#pending.length > 0) {
      bytes = Buffer.concat([this.#pending, bytes]);
      this.#pending = Buffer.alloc(0);
    }
    if (this.#opened !== null) bytes = this.#receiveHandshake(bytes);
    for (let at = 0; at < bytes.length;) {
      if (this.#payloadBytes > 0) at += this.#take(bytes.length - at);
      else {
        const next = this.#startFrame(bytes, at);
        if (next === null) {
          this.#pending = bytes.subarray(at);
          return;
        }
        at = next;
      }
    }
  }

  #receiveHandshake(bytes: Buffer<ArrayBufferLike>): Buffer<ArrayBufferLike> {
    const end = bytes.indexOf("\r\n\r\n");
    if (end === -1) {
      this.#pending = bytes;
      return Buffer.alloc(0);
    }
    const head = bytes.toString("latin1", 0, end);
    if (!head.startsWith("HTTP/1.1 101 ")) this.#fail(new Error(`refused: ${head}`));
    this.#opened!.resolve();
    return bytes.subarray(end + 4);
  }

  /** Takes bytes of a data message. */
  #take(available: number): number {
    const taken = Math.min(available, this.#payloadBytes);
    this.#payloadBytes -= taken;
    this.onData(taken);
    if (this.#payloadBytes === 0) this.onDataEnd();
    return taken;
  }

  /** Reads what stands at a frame's begin; the position after it, or null when more must come. */
  #startFrame(bytes: Buffer<ArrayBufferLike>, at: number): number | null {
    if (bytes.length < at + 2) return null;
    const short = bytes[at + 1] & 0x7f;
    const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (bytes.length < at + headBytes) return null;
    const length = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2));
    const start = at + headBytes;
    if ((bytes[at] & 0x0f) === (BINARY & 0x0f)) {
      this.#payloadBytes = length;
      if (length === 0) this.onDataEnd();
      return start;
    }
    if (bytes.length < start + length) return null;
    if (bytes[at] === TEXT) this.#hear(bytes.toString("utf8", start, start + length));
    else if (bytes[at] === CLOSE) {
      this.#fail(new Error(`closed: ${bytes.toString("utf8", start + 2, start + length)}`));
    }
    return start + length;
  }

  #hear(text: string): void {
    const message: Message = JSON.parse(text);
    if (message["@"] === "Ping") return this.send({ "@": "Pong", id: message.id });
    if (message["@"] === "Error") {
      return this.#fail(new Error(`${message.code}: ${message.message}`));
    }
    if (message["@"] === "Credit") return this.onCredit(message);
    const at = this.#waiting.findIndex(({ name }) => name === message["@"]);
    if (at !== -1) this.#waiting.splice(at, 1)[0].got.resolve(message);
    // Of statuses nobody asks for but the first.
    else if (message["@"] !== "StatusChanged" || this.#messages.length === 0) {
      this.#messages.push(message);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#failed.reject(this.#failure);
    this.#opened?.reject(this.#failure);
    for (const { got } of this.#waiting.splice(0)) got.reject(this.#failure);
  }
}
