/** The far end of a connection: what it received, how a test waits for more, and a fake one for sessions. */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { decodeMessage, type Message, type MessageOf, SUBPROTOCOL } from "../../../src/protocol.ts";
import type { Connection, Session } from "../../../src/runtime.ts";
import { concat } from "../bytes.ts";
import { Lent } from "../lent.ts";

const patienceMs = 30_000;

/** What the promise gives, unless that takes too long. */
export async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), patienceMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for what nobody announces. */
export async function eventually(what: string, happened: () => boolean): Promise<void> {
  let over = false;
  const look = async () => {
    while (!over && !happened()) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  try {
    await within(what, look());
  } finally {
    over = true;
  }
}

/** Fails when bytes differ, without printing megabytes. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length, "length");
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, index) => byte !== actual[index]);
  assertEquals(actual[at], expected[at], `byte ${at}`);
}

/** Every property of the messages that a Step client knows; it fails on any other one. */
const stepProperties: Record<string, string[]> = {
  ReadyForUpload: ["@", "reference.uri"],
  UploadAcknowledged: ["@", "checksum", "numberOflines", "size"],
  StatusChanged: [
    "@",
    "resourceStatus.currentSize",
    "resourceStatus.numberOfLines",
    "resourceStatus.transferStatus",
  ],
  Lines: ["@", "lines"],
};

function propertyPaths(value: object, prefix = ""): string[] {
  return Object.entries(value).flatMap(([name, inner]) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? propertyPaths(inner, `${prefix}${name}.`)
      : [prefix + name]
  ).sort();
}

/** Fails unless a Step client would accept the message. */
export function assertStepMessage(message: Message): void {
  assertEquals(propertyPaths(message), stepProperties[message["@"]], message["@"]);
}

/** Received in order, and waited for. */
export class Inbox {
  /** Control messages and data. */
  readonly items: (Message | Uint8Array)[] = [];
  /** How the other side closed. */
  closing: { code: number; reason: string } | null = null;
  #changed = Promise.withResolvers<void>();
  #fault: unknown = null;
  readonly #taken = new Map<string, number>();

  constructor(readonly subprotocol: string) {}

  /** Takes in one message of the other side. */
  receive(message: string | Uint8Array): void {
    try {
      this.items.push(typeof message === "string" ? this.#decode(message) : message);
    } catch (error) {
      this.#fault ??= error;
    }
    this.#signal();
  }

  /** Takes in that the other side closed. */
  receiveClose(code: number, reason: string): void {
    this.closing ??= { code, reason };
    this.#signal();
  }

  /** All messages of one name. */
  all<Name extends Message["@"]>(name: Name): MessageOf<Name>[] {
    return this.items.filter((item) =>
      !(item instanceof Uint8Array) && item["@"] === name
    ) as MessageOf<Name>[];
  }

  /** All control messages' names and `bytes` for data, in order. */
  get order(): string[] {
    return this.items.map((item) => item instanceof Uint8Array ? "bytes" : item["@"]);
  }

  /** All data messages. */
  get data(): Uint8Array[] {
    return this.items.filter((item) => item instanceof Uint8Array);
  }

  /** The bytes of all data messages. */
  get bytes(): Uint8Array {
    return concat(this.data);
  }

  /** Number of bytes in all data messages. */
  get byteCount(): number {
    return this.data.reduce((count, bytes) => count + bytes.length, 0);
  }

  /** Waits until something is true of what was received. */
  async until(what: string, happened: () => boolean): Promise<void> {
    let over = false;
    const watch = async () => {
      while (!over && !happened()) await this.#changed.promise;
    };
    try {
      await within(what, watch());
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`${message}; received ${this.order}, ${JSON.stringify(this.closing)}`);
    } finally {
      over = true;
    }
    if (this.#fault !== null) throw this.#fault;
  }

  /** The next message of a name, after the one that was taken before. */
  async next<Name extends Message["@"]>(name: Name): Promise<MessageOf<Name>> {
    const taken = this.#taken.get(name) ?? 0;
    this.#taken.set(name, taken + 1);
    await this.until(name, () => this.all(name).length > taken);
    return this.all(name)[taken];
  }

  /** The next data message, after the one that was taken before. */
  async nextData(): Promise<Uint8Array> {
    const taken = this.#taken.get("") ?? 0;
    this.#taken.set("", taken + 1);
    await this.until("data", () => this.data.length > taken);
    return this.data[taken];
  }

  /** How the other side closed. */
  async close(): Promise<{ code: number; reason: string }> {
    await this.until("the close", () => this.closing !== null);
    return this.closing!;
  }

  /** Takes in whether a message that is being sent is as it was. */
  expectSame(message: string | Uint8Array, sent: string | Uint8Array): void {
    if (typeof message === "string" || Buffer.compare(message, sent as Uint8Array) === 0) return;
    this.#fault ??= new Error("bytes were changed while they were sent");
    this.#signal();
  }

  #decode(text: string): Message {
    const message = decodeMessage(text);
    if (this.subprotocol !== SUBPROTOCOL) assertStepMessage(message);
    return message;
  }

  #signal(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

/** Lets pass, or makes wait. */
export class Gate {
  #open: PromiseWithResolvers<void> | null = null;
  /** Those that wait. */
  waiting = 0;

  /** Opens again when the result is disposed of. */
  shut(): Disposable {
    this.#open ??= Promise.withResolvers<void>();
    return { [Symbol.dispose]: () => this.open() };
  }

  get isOpen(): boolean {
    return this.#open === null;
  }

  open(): void {
    this.#open?.resolve();
    this.#open = null;
  }

  async passed(): Promise<void> {
    this.waiting++;
    while (this.#open !== null) await this.#open.promise;
    this.waiting--;
  }
}

function copyOf(message: string | Uint8Array): string | Uint8Array {
  return typeof message === "string" ? message : message.slice();
}

/** A connection that keeps what a session sends; the test is the peer. */
export class FakeConnection implements Connection {
  readonly inbox: Inbox;
  /** Whether there is room for the next message. */
  readonly room = new Gate();
  terminated = false;

  constructor(readonly subprotocol: string) {
    this.inbox = new Inbox(subprotocol);
  }

  /** Looks at the bytes until it settles, as long as they may be on their way. */
  async send(message: string | Uint8Array): Promise<void> {
    const sent = copyOf(message);
    if (this.#isOpen()) this.inbox.receive(sent);
    await this.room.passed();
    this.inbox.expectSame(message, sent);
  }

  sendNow(...messages: (string | Uint8Array)[]): boolean {
    if (!this.room.isOpen) return false;
    if (this.#isOpen()) { for (const message of messages) this.inbox.receive(copyOf(message)); }
    return true;
  }

  async sendChunks(byteCount: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const message = concat(await Array.fromAsync(chunks, (chunk) => chunk.slice()));
    assertEquals(message.length, byteCount);
    await this.send(message);
  }

  async sendLong(_costBytes: number, make: () => Promise<string>): Promise<void> {
    await this.send(await make());
  }

  close(code: number, reason: string): void {
    assert(this.#isOpen(), "closed twice");
    this.inbox.receiveClose(code, reason);
  }

  terminate(): void {
    this.terminated = true;
    this.inbox.receiveClose(1006, "");
  }

  #isOpen(): boolean {
    return this.inbox.closing === null;
  }
}

/** Anything a test sends; what is no message of the protocol, too. */
export type Said = Message | { "@": string; [property: string]: unknown };

/** A session with a test as its peer; the connection breaks when its `using` ends. */
export class Peer implements Disposable {
  constructor(readonly session: Session, readonly connection: FakeConnection) {}

  /** What the session sent. */
  get inbox(): Inbox {
    return this.connection.inbox;
  }

  /** Sends control messages. */
  say(...messages: Said[]): void {
    for (const message of messages) this.session.text(JSON.stringify(message));
  }

  /** Sends data, in memory that is used for something else at once. */
  give(bytes: Uint8Array, final = true): void | Promise<void> {
    const lent = new Lent(bytes);
    const room = this.session.data(lent.bytes, final);
    lent.takeBack();
    return room;
  }

  /** Closes, or lets the connection break. */
  leave(code = 1006, reason = ""): void {
    this.session.closed(code, reason);
  }

  [Symbol.dispose](): void {
    this.leave();
  }
}
