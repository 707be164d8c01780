/** WebSocket frames byte by byte, written and read without the code under test. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";

/** Opcodes of RFC 6455, 5.2. */
export const OP = { cont: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa };

/** One frame, right or wrong. */
export interface RawFrame {
  opcode: number;
  payload?: Uint8Array | string;
  fin?: boolean;
  /** The three reserved bits as a number. */
  rsv?: number;
  /** Key of the mask; none leaves the frame unmasked. */
  mask?: readonly number[];
  /** Bytes that hold the length, if not as many as need be. */
  lengthBytes?: 2 | 8;
}

const bytesOf = (payload: Uint8Array | string) =>
  typeof payload === "string" ? Buffer.from(payload) : payload;

/** The bytes of a frame. */
export function rawFrame(frame: RawFrame): Uint8Array {
  const { opcode, fin = true, rsv = 0, mask } = frame;
  const payload = bytesOf(frame.payload ?? "");
  const natural = payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8;
  const length = Buffer.alloc(frame.lengthBytes ?? natural);
  if (length.length === 2) length.writeUInt16BE(payload.length);
  else if (length.length === 8) length.writeBigUInt64BE(BigInt(payload.length));
  const short = length.length === 0 ? payload.length : length.length === 2 ? 126 : 127;
  return new Uint8Array(Buffer.concat([
    Buffer.of((fin ? 0x80 : 0) | rsv << 4 | opcode, (mask ? 0x80 : 0) | short),
    length,
    Buffer.from(mask ?? []),
    mask ? payload.map((byte, at) => byte ^ mask[at % 4]) : payload,
  ]));
}

/** Payload of a close frame. */
export function closing(code: number, reason: Uint8Array | string = ""): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.of(code >> 8, code & 0xff), bytesOf(reason)]));
}

/** A frame as it was read. */
export interface ReadFrame {
  fin: boolean;
  rsv: number;
  opcode: number;
  masked: boolean;
  payload: Buffer;
}

/** The mask of every frame that a {@link RawPeer} sends. */
const MASK = [0x37, 0xfa, 0x21, 0x3d];

/** The head of an HTTP answer. */
export interface Head {
  status: number;
  headers: Headers;
}

/** A client on a TCP connection of its own: it sends any bytes, and reads only when it is asked to. */
export class RawPeer implements Disposable {
  readonly socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes that have left this process. */
  sentBytes = 0;

  constructor(port: number, localAddress?: string) {
    this.socket = connect({ port, host: "127.0.0.1", localAddress });
    this.socket.setNoDelay(true);
    // A broken connection shows in what does not arrive.
    this.socket.on("error", () => {});
    this.#chunks = this.socket[Symbol.asyncIterator]();
  }

  /** Connects and shakes hands. */
  static async open(
    port: number,
    headers: Record<string, string> = {},
    path = "/",
  ): Promise<RawPeer> {
    const peer = new RawPeer(port);
    await peer.write(upgradeRequest(headers, path));
    const { status } = await peer.readHead();
    if (status !== 101) throw new Error(`the answer was ${status}`);
    return peer;
  }

  /** Sends bytes; resolves when they have left. */
  async write(bytes: Uint8Array | string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.socket.write(bytes, () => resolve());
    await promise;
    this.sentBytes += bytes.length;
  }

  /** Sends frames, masked. */
  send(...frames: RawFrame[]): Promise<void> {
    return this.write(Buffer.concat(frames.map((frame) => rawFrame({ mask: MASK, ...frame }))));
  }

  /** Reads the head of an answer. */
  async readHead(): Promise<Head> {
    let end: number;
    while ((end = this.#rest.indexOf("\r\n\r\n")) === -1) {
      if (!await this.#readMore()) throw new Error(`no answer: ${this.#rest.toString("latin1")}`);
    }
    const [first, ...lines] = this.#rest.subarray(0, end).toString("latin1").split("\r\n");
    this.#rest = this.#rest.subarray(end + 4);
    const headers = new Headers(lines.map((line) => line.split(/: */, 2) as [string, string]));
    return { status: Number(first.split(" ")[1]), headers };
  }

  /** Reads the next frame; null when the connection has ended. */
  async read(): Promise<ReadFrame | null> {
    for (;;) {
      const frame = this.#takeFrame();
      if (frame !== null) return frame;
      if (!await this.#readMore()) return null;
    }
  }

  /** Reads to the end of the connection. */
  async readAll(): Promise<Buffer> {
    const chunks = [this.#rest];
    for (let chunk = await this.#next(); chunk !== null; chunk = await this.#next()) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** Breaks the connection. */
  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  async #readMore(): Promise<boolean> {
    const chunk = await this.#next();
    if (chunk !== null) this.#rest = Buffer.concat([this.#rest, chunk]);
    return chunk !== null;
  }

  async #next(): Promise<Buffer | null> {
    const { done, value } = await this.#chunks.next().catch(() => ({ done: true, value: null }));
    return done ? null : value;
  }

  #takeFrame(): ReadFrame | null {
    const bytes = this.#rest;
    if (bytes.length < 2) return null;
    const short = bytes[1] & 0x7f;
    const start = 2 + (short === 127 ? 8 : short === 126 ? 2 : 0);
    if (bytes.length < start) return null;
    const length = short === 127
      ? Number(bytes.readBigUInt64BE(2))
      : short === 126
      ? bytes.readUInt16BE(2)
      : short;
    if (bytes.length < start + length) return null;
    this.#rest = bytes.subarray(start + length);
    return {
      fin: (bytes[0] & 0x80) !== 0,
      rsv: bytes[0] >> 4 & 7,
      opcode: bytes[0] & 0x0f,
      masked: (bytes[1] & 0x80) !== 0,
      payload: bytes.subarray(start, start + length),
    };
  }
}

/** The request that opens a WebSocket, as the Java clients write it. */
export function upgradeRequest(headers: Record<string, string> = {}, path = "/"): string {
  const lines = Object.entries({
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`;
}
