/** Peers that do right and wrong things in turn, and what they may receive whatever they do. */
import { assert, assertEquals } from "@std/assert";
import { createDigest } from "../../../src/digest.ts";
import {
  closeReason,
  type DigestAlgorithm,
  type ErrorCode,
  ERRORS,
  LIMITS,
  type MessageOf,
  StreamError,
  SUBPROTOCOL,
} from "../../../src/protocol.ts";
import type { Inbox, Peer } from "../frames/connection.ts";
import { anyMessage, type Known, mutate, startUpload } from "./mutate.ts";
import type { Chance } from "../random.ts";
import type { RawClient } from "../server.ts";

/** What a server that is well never says. */
export const FAULTS: readonly ErrorCode[] = ["INTERNAL", "STORAGE_FAILED", "CONFLICT"];

/** One connection, as a peer sees it. */
export interface Wire {
  readonly inbox: Inbox;
  text(message: string): void;
  bytes(bytes: Uint8Array, final: boolean): void;
  /** Reads nothing, or goes on reading. */
  pause(isPaused: boolean): void;
  /** The connection ends, unless the server has closed it; then that is confirmed. */
  leave(): Promise<void>;
}

export function fakeWire(peer: Peer): Wire {
  return {
    inbox: peer.inbox,
    text: (message) => peer.session.text(message),
    bytes: (bytes, final) => void peer.give(bytes, final),
    pause: (isPaused) => isPaused ? peer.connection.room.shut() : peer.connection.room.open(),
    leave() {
      peer.connection.room.open();
      peer.leave();
      return Promise.resolve();
    },
  };
}

export function socketWire(client: RawClient): Wire {
  const { socket, inbox } = client;
  const isOpen = () => socket.readyState === WebSocket.OPEN;
  return {
    inbox,
    text: (message) => isOpen() && socket.send(message),
    bytes: (bytes) => isOpen() && client.give(bytes),
    pause() {},
    async leave() {
      if (inbox.closing !== null) return;
      socket.close();
      await inbox.close();
    },
  };
}

/** What one resource holds, and no other: one character, and a line break now and then. */
const symbolOf = (id: string): number => 35 + parseInt(id.slice(0, 4), 16) % 80;
const LINE_BREAK = 10;
const LINE_BYTES = 37;

function patternOf(id: string, byteOffset: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount).fill(symbolOf(id));
  const first = LINE_BYTES - 1 - byteOffset % LINE_BYTES;
  for (let at = first; at < byteCount; at += LINE_BYTES) bytes[at] = LINE_BREAK;
  return bytes;
}

async function digestOf(algorithm: DigestAlgorithm, bytes: Uint8Array): Promise<string> {
  const digest = await createDigest(algorithm);
  digest.update(bytes);
  return digest.value();
}

/** A peer on one connection. */
export abstract class Line {
  /** Whether the peer has ended the connection itself. */
  left = false;
  /** Whether the peer has said anything yet. */
  protected begun = false;
  /** Ids it has sent. */
  protected readonly named = new Set<string>();
  /** How often it does not do what fits. */
  readonly #rudeness: number;

  constructor(
    protected readonly chance: Chance,
    readonly wire: Wire,
    protected readonly known: readonly Known[],
  ) {
    this.#rudeness = chance.pick([0.03, 0.15, 0.6]);
  }

  /** Whether the connection is over. */
  get isOver(): boolean {
    return this.left || this.wire.inbox.closing !== null;
  }

  /** Does one thing, right or wrong. */
  async next(): Promise<void> {
    const { chance, wire } = this;
    if (!chance.happens(this.#rudeness)) {
      if (chance.happens(0.9)) await this.behave();
      else wire.pause(chance.happens(0.3));
    } else if (chance.happens(0.6)) this.say(mutate(chance, this.anyMessage()));
    else if (chance.happens(0.5)) this.say(JSON.stringify(this.anyMessage()));
    else if (chance.happens(0.7)) this.misplaceBytes();
    else await this.leave();
    this.begun = true;
  }

  /** Sends a text. */
  protected say(text: string): void {
    for (const [id] of text.matchAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g)) {
      this.named.add(id);
    }
    this.wire.text(text);
  }

  async leave(): Promise<void> {
    this.left = true;
    await this.wire.leave();
  }

  /** Looks at all that was received; the code of the error that ended it, if one did. */
  async check(): Promise<ErrorCode | null> {
    await this.wire.inbox.until("what is right", () => true);
    await this.checkReceived();
    return endOf(this.wire.inbox, this.left);
  }

  /** Does what fits the state. */
  protected abstract behave(): void | Promise<void>;
  protected abstract misplaceBytes(): void;
  protected abstract checkReceived(): void | Promise<void>;
  protected abstract anyMessage(): object;
}

/** Deno's WebSocket forgets what it was told last when it was closed while it was sending. */
const FORGOTTEN = 0;

/** The error that ended a connection; it must be one of the table, said in the right way. */
function endOf({ items, closing, subprotocol }: Inbox, left: boolean): ErrorCode | null {
  if (closing === null || left && [1000, 1005, 1006].includes(closing.code)) return null;
  if (closing.code === FORGOTTEN) return null;
  // Who closes at the same time hears no message any more.
  const isTold = subprotocol === SUBPROTOCOL && !left;
  const told = isTold ? toldError(items.at(-1), closing.reason) : null;
  const code = told?.code ?? errorNamed(closing.reason);
  assert(code !== null, `closed with ${closing.code} ${JSON.stringify(closing.reason)}`);
  assert(!FAULTS.includes(code), `${code}: ${closing.reason}`);
  assertEquals(closing.code, ERRORS[code].close, closing.reason);
  if (told !== null) assertEquals(closing.reason, closeReason(told));
  return code;
}

/** What a native peer must be told last. */
function toldError(last: Inbox["items"][number] | undefined, reason: string): StreamError {
  assert(
    last !== undefined && !(last instanceof Uint8Array) && last["@"] === "Error",
    `closed with ${JSON.stringify(reason)}, but no error was told`,
  );
  assert(Object.hasOwn(ERRORS, last.code), last.code);
  return new StreamError(last.code as ErrorCode, last.message);
}

/** The error that a close reason names. */
function errorNamed(reason: string): ErrorCode | null {
  const codes = Object.keys(ERRORS) as ErrorCode[];
  return codes.find((code) => {
    const [name] = closeReason(new StreamError(code, "")).split(":");
    return reason === name || reason.startsWith(`${name}: `);
  }) ?? null;
}

/** A peer that uploads. */
export class UploadLine extends Line {
  /** Offset of the next byte. */
  #next: number | null = null;

  get ready(): MessageOf<"ReadyForUpload"> | undefined {
    return this.wire.inbox.all("ReadyForUpload")[0];
  }

  /** The resource, once there is one. */
  get id(): string | null {
    const uri = this.ready?.reference.uri;
    return uri === undefined ? null : uri.slice(uri.lastIndexOf("/") + 1);
  }

  protected async behave(): Promise<void> {
    const { chance, id } = this;
    if (!this.begun) return this.#begin();
    if (id === null) return;
    if (chance.happens(0.75)) this.#give(chance.pick([0, 1, 30, 1000, 20_000]), id);
    else await this.#finish(id);
  }

  protected misplaceBytes(): void {
    const { id } = this;
    // Before it knows the id it must not send anything that may be appended.
    if (id !== null) {
      const byteCount = this.chance.pick([65_536, 65_537, 200_000]);
      const times = this.chance.pick([1, 1, 6]);
      for (let time = 0; time < times; time++) this.#give(byteCount, id);
    } else if (!this.begun) this.wire.bytes(new Uint8Array([1, 2, 3]), this.chance.happens(0.5));
  }

  protected anyMessage(): object {
    return anyMessage(this.chance, this.known, this.#next ?? 0);
  }

  protected async checkReceived(): Promise<void> {
    const { inbox } = this.wire;
    assertEquals(inbox.data, [], "data on an upload connection");
    for (const { size, checksum, digest = "md5" } of inbox.all("UploadAcknowledged")) {
      if (this.id !== null) assert(size <= this.#next!, `${size} of ${this.#next} bytes`);
      // Who resumes what is complete is only told what it has.
      const ids = this.id === null ? [...this.named] : [this.id];
      const digests = ids.map((id) => digestOf(digest as DigestAlgorithm, patternOf(id, 0, size)));
      assert((await Promise.all(digests)).includes(checksum), `${size} bytes of ${ids}`);
    }
  }

  #begin(): void {
    const { chance, wire, known } = this;
    const native = wire.inbox.subprotocol === SUBPROTOCOL;
    if (known.length > 0 && native && chance.happens(0.3)) {
      const { id, secret } = chance.pick(known);
      this.say(JSON.stringify({ "@": "ResumeUpload", id, secret }));
    } else this.say(JSON.stringify(startUpload(chance)));
  }

  #give(byteCount: number, id: string): void {
    this.#next ??= this.ready!.offset ?? 0;
    const bytes = patternOf(id, this.#next, byteCount);
    this.#next += byteCount;
    this.wire.bytes(bytes, this.chance.happens(0.2));
  }

  async #finish(id: string): Promise<void> {
    this.#next ??= this.ready!.offset ?? 0;
    const size = this.#next;
    const checksum = await digestOf(this.ready!.digest ?? "md5", patternOf(id, 0, size));
    this.say(JSON.stringify({ "@": "FinishUpload", checksum, size }));
  }
}

/** A peer that reads. */
export class DownloadLine extends Line {
  constructor(chance: Chance, wire: Wire, known: readonly Known[], private readonly id: string) {
    super(chance, wire, known);
  }

  protected behave(): void {
    const { chance, wire } = this;
    const size = wire.inbox.all("StatusChanged").at(-1)?.resourceStatus.currentSize ?? 0;
    const [from, to] = [chance.whole(0, size), chance.whole(0, size)].sort((a, b) => a - b);
    const lines = { startingLineIndex: chance.whole(0, 3), linesCount: chance.whole(0, 100) };
    const window = LIMITS.minDownloadWindowBytes;
    const message = chance.pick<object>([
      { "@": "RequestChunk", startOffset: from, endOffset: to },
      { "@": "RequestLines", ...lines },
      { "@": "LocateLines", ...lines },
      { "@": "Follow", from, window },
      { "@": "Follow", from, to, epoch: 1, window },
      { "@": "Consumed", offset: wire.inbox.byteCount },
    ]);
    this.say(JSON.stringify(message));
  }

  protected misplaceBytes(): void {
    this.wire.bytes(new Uint8Array(this.chance.pick([0, 1, 70_000])), true);
  }

  protected anyMessage(): object {
    return anyMessage(this.chance, this.known, this.wire.inbox.byteCount);
  }

  /** Nothing that another resource holds, and no status that takes something back. */
  protected checkReceived(): void {
    const { inbox } = this.wire;
    const text = inbox.all("Lines").flatMap(({ lines }) => lines).join("");
    for (const bytes of [...inbox.data, new TextEncoder().encode(text)]) {
      const symbol = symbolOf(this.id);
      const foreign = bytes.find((byte) => byte !== symbol && byte !== LINE_BREAK);
      assertEquals(foreign, undefined, `${this.id} holds ${symbol}`);
    }
    let size = 0;
    for (const { resourceStatus } of inbox.all("StatusChanged")) {
      assert(resourceStatus.currentSize >= size, `${resourceStatus.currentSize} after ${size}`);
      size = resourceStatus.currentSize;
    }
  }
}
