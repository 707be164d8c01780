/** A Step client as the Java ones are on the wire, with a strict look at everything it is sent. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { assert, assertEquals } from "@std/assert";
import { Inbox, type Said } from "../frames/connection.ts";
import { closing, OP, rawFrame, RawPeer, type ReadFrame } from "../frames/frames.ts";

export const UPLOAD = "/ws/streaming/upload";
/** Longest fragments of the two containers. */
export const JETTY_BYTES = 4096;
export const TOMCAT_BYTES = 8192;
/** Longest fragment the server may send. */
const SERVER_FRAGMENT_BYTES = 64 * 1024;
const MASK = [0x37, 0xfa, 0x21, 0x3d];

export const LOG = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

export const md5 = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

type Shape = { [property: string]: Shape | ((value: unknown) => boolean) };

const isText = (value: unknown) => typeof value === "string";
const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isCountOrNull = (value: unknown) => value === null || isCount(value);
const isStatus = (value: unknown) =>
  ["INITIATED", "IN_PROGRESS", "COMPLETED", "FAILED"].includes(value as string);

/** All that a server may say, to the property. */
const SHAPES: Record<string, Shape> = {
  ReadyForUpload: { reference: { uri: isText } },
  UploadAcknowledged: { size: isCount, numberOflines: isCountOrNull, checksum: isText },
  StatusChanged: {
    resourceStatus: {
      transferStatus: isStatus,
      currentSize: isCount,
      numberOfLines: isCountOrNull,
    },
  },
  Lines: { lines: (value) => Array.isArray(value) && value.every(isText) },
};

/** Fails on any property that is missing, malformed, or not known to the Java clients. */
export function assertStepText(text: string): void {
  const { "@": name, ...message } = JSON.parse(text);
  assert(Object.hasOwn(SHAPES, name), `a Step client does not know ${text}`);
  assertShape(message, SHAPES[name], text);
}

function assertShape(value: Record<string, unknown>, shape: Shape, text: string): void {
  assertEquals(Object.keys(value).sort(), Object.keys(shape).sort(), text);
  for (const [property, check] of Object.entries(shape)) {
    if (typeof check === "function") assert(check(value[property]), `${property}: ${text}`);
    else assertShape(value[property] as Record<string, unknown>, check, text);
  }
}

/** Bytes as fragments of one message that goes on. */
export function fragmentsOf(bytes: Uint8Array, fragmentBytes: number, first: boolean): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += fragmentBytes) {
    const opcode = first && at === 0 ? OP.binary : OP.cont;
    const payload = bytes.subarray(at, at + fragmentBytes);
    frames.push(rawFrame({ opcode, payload, fin: false, mask: MASK }));
  }
  return Buffer.concat(frames);
}

/** One connection of a Step client; broken when its `using` ends. */
export class StepClient implements Disposable {
  readonly inbox = new Inbox("");
  /** Payloads of the pings that came, which were answered. */
  readonly pings: string[] = [];
  /** Statuses in order. */
  get statuses() {
    return this.inbox.all("StatusChanged").map(({ resourceStatus }) => resourceStatus);
  }
  /** Takes the pieces of binary messages. */
  #take: (piece: Buffer) => void = () => {};
  #ended: PromiseWithResolvers<void> | null = null;
  #begun = false;
  #fault: unknown = null;

  private constructor(readonly peer: RawPeer) {
    this.#receive().catch((error) => this.#fault ??= error);
  }

  /** Connects as the Java clients do. */
  static async open(
    port: number,
    path: string = UPLOAD,
    headers: Record<string, string> = {},
  ): Promise<StepClient> {
    return new StepClient(await RawPeer.open(port, headers, path));
  }

  /** Connects and registers an upload. */
  static async upload(
    port: number,
    { metadata = LOG, path = UPLOAD } = {},
  ): Promise<{ client: StepClient; uri: string; id: string }> {
    const client = await StepClient.open(port, path);
    await client.say({ "@": "StartUpload", metadata });
    const { reference: { uri } } = await client.inbox.next("ReadyForUpload");
    return { client, uri, id: uri.slice(uri.lastIndexOf("/") + 1) };
  }

  /** Sends control messages. */
  async say(...messages: Said[]): Promise<void> {
    for (const message of messages) {
      await this.peer.send({ opcode: OP.text, payload: JSON.stringify(message) });
    }
  }

  /** Sends bytes of the one message, which goes on. */
  async give(bytes: Uint8Array, fragmentBytes: number = TOMCAT_BYTES): Promise<void> {
    const first = !this.#begun;
    this.#begun = true;
    await this.peer.write(fragmentsOf(bytes, fragmentBytes, first));
  }

  /** Sends the same bytes many times, as continuations of the one message. */
  async repeat(bytes: Uint8Array, fragmentBytes: number, times: number): Promise<void> {
    const frames = fragmentsOf(bytes, fragmentBytes, false);
    for (let sent = 0; sent < times; sent++) await this.peer.write(frames);
  }

  /** Ends the one message, as the Java clients do: by an empty fragment. */
  async end(): Promise<void> {
    await this.peer.send({ opcode: this.#begun ? OP.cont : OP.binary });
  }

  /** Completes the upload and says goodbye; the server's acknowledgement. */
  async finish(checksum: string) {
    await this.say({ "@": "FinishUpload", checksum });
    const acknowledged = await this.inbox.next("UploadAcknowledged");
    await this.close(1000, "Upload completed");
    return acknowledged;
  }

  /** Closes. */
  async close(code: number, reason: string): Promise<void> {
    await this.peer.send({ opcode: OP.close, payload: closing(code, reason) });
  }

  /** Asks for bytes; resolves with their number when their one message has ended. */
  async chunk(startOffset: number, endOffset: number, take: (piece: Buffer) => void) {
    const ended = this.#ended = Promise.withResolvers<void>();
    let byteCount = 0;
    this.#take = (piece) => {
      byteCount += piece.length;
      take(piece);
    };
    await this.say({ "@": "RequestChunk", startOffset, endOffset });
    await ended.promise;
    return byteCount;
  }

  /** The bytes of a range. */
  async bytes(startOffset: number, endOffset: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    assertEquals(
      await this.chunk(startOffset, endOffset, (piece) => pieces.push(piece)),
      endOffset - startOffset,
    );
    return Buffer.concat(pieces);
  }

  /** Lines of a window. */
  async lines(startingLineIndex: number, linesCount: number): Promise<string[]> {
    await this.say({ "@": "RequestLines", startingLineIndex, linesCount });
    return (await this.inbox.next("Lines")).lines;
  }

  /** Waits for a status. */
  async status(wanted: (status: StepClient["statuses"][number]) => boolean) {
    await this.inbox.until("a status", () => this.statuses.some(wanted));
    return this.statuses.find(wanted)!;
  }

  /** How the server ended it. */
  async closed(): Promise<{ code: number; reason: string }> {
    const how = await this.inbox.close();
    if (this.#fault !== null) throw this.#fault;
    return how;
  }

  /** Breaks the connection. */
  [Symbol.dispose](): void {
    this.peer[Symbol.dispose]();
    if (this.#fault !== null) throw this.#fault;
  }

  async #receive(): Promise<void> {
    let opcode = OP.cont;
    for (let frame = await this.peer.read(); frame !== null; frame = await this.peer.read()) {
      assertEquals([frame.rsv, frame.masked], [0, false]);
      if (frame.opcode < OP.close) opcode = this.#message(frame, opcode);
      else await this.#control(frame);
    }
    this.inbox.receiveClose(1006, "");
    this.#ended?.reject(new Error("the connection ended in the middle of a chunk"));
  }

  /** Takes a frame of a message in; the opcode of the message that goes on. */
  #message({ opcode, fin, payload }: ReadFrame, running: number): number {
    assert((opcode === OP.cont) === (running !== OP.cont), "a message began within another");
    if (opcode === OP.text) {
      assert(fin, "a Java client may not put texts together");
      assertStepText(payload.toString());
      this.inbox.receive(payload.toString());
      return OP.cont;
    }
    assert(payload.length <= SERVER_FRAGMENT_BYTES, `a fragment has ${payload.length} bytes`);
    assert(this.#ended !== null, "bytes came that nobody asked for");
    this.#take(payload);
    if (!fin) return OP.binary;
    this.#ended.resolve();
    this.#ended = null;
    return OP.cont;
  }

  async #control({ opcode, payload }: ReadFrame): Promise<void> {
    if (opcode === OP.ping) {
      this.pings.push(payload.toString());
      await this.peer.send({ opcode: OP.pong, payload });
    } else if (opcode === OP.close) {
      const code = payload.length === 0 ? 1005 : payload.readUInt16BE(0);
      this.inbox.receiveClose(code, payload.subarray(2).toString());
      this.peer.socket.end(rawFrame({ opcode, payload, mask: MASK }));
    }
  }
}
