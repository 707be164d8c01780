/** Uploads and downloads over WebSockets at once: native ones, and those of Step clients. */
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { md5, xxhash128 } from "hash-wasm";
import {
  DOWNLOAD_PATH,
  LIMITS,
  type Message,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../../../src/protocol.ts";
import type { Session } from "../../../../src/runtime.ts";
import { concat } from "../../bytes.ts";
import { FakeConnection, Peer } from "../../frames/connection.ts";
import type { Asking } from "./asking.ts";
import { bytesOf, MOST_BYTES, type Upload, type UploadDoors } from "./uploads.ts";

/** A connection whose far end answers a close in a later turn, or was gone before. */
export class Socket extends FakeConnection {
  #session: Session | null = null;

  /** Opens a session on it. */
  opened(session: Session): Peer {
    this.#session = session;
    return new Peer({
      text: (message) => session.text(message),
      data: (bytes, final) => session.data(bytes, final),
      closed: (code, reason) => this.#gone(code, reason),
    }, this);
  }

  override close(code: number, reason: string): void {
    this.inbox.receiveClose(code, reason);
    void turn().then(() => this.#gone(code, reason));
  }

  override terminate(): void {
    super.terminate();
    void turn().then(() => this.#gone(1006, ""));
  }

  #gone(code: number, reason: string): void {
    this.inbox.receiveClose(code, reason);
    this.#session?.closed(code, reason);
    this.#session = null;
  }
}

/** An upload in the hands of a client. */
interface Held {
  peer: Peer;
  upload: Upload;
  isNative: boolean;
  /** Where its next byte belongs. */
  at: number;
}

/** Those who connect. */
export class SessionDoors {
  readonly #asking: Asking;
  readonly #uploads: UploadDoors;
  readonly #held: Held[] = [];
  #names = 0;

  constructor(asking: Asking, uploads: UploadDoors) {
    this.#asking = asking;
    this.#uploads = uploads;
  }

  async begin(): Promise<void> {
    const { chance } = this.#asking;
    const isNative = chance.happens(0.6);
    const name = `socket${++this.#names}.log`;
    const peer = await this.#connect(UPLOAD_PATH, isNative);
    if (peer === null) return;
    peer.say({
      "@": "StartUpload",
      metadata: { filename: name, mimeType: "text/plain", supportsLineAccess: true },
      ...(isNative ? { digests: ["xxh128"] } : {}),
    });
    if (!await comes(peer, "ReadyForUpload")) return;
    const [{ reference, secret = "none" }] = peer.inbox.all("ReadyForUpload");
    const id = reference.uri.split("/").at(-1)!;
    const upload = this.#uploads.add({ id, name, path: `/uploads/${id}/${secret}` });
    this.#held.push({ peer, upload, isNative, at: 0 });
  }

  /** An upload that may be anywhere else comes to this connection, wherever it was begun. */
  async resume(): Promise<void> {
    const upload = this.#uploads.pick();
    if (upload === null || upload.isTus) return;
    const { acknowledged, path, isDone } = upload;
    const [, , id, secret] = path.split("/");
    const peer = await this.#connect(UPLOAD_PATH, true);
    if (peer === null) return;
    peer.say({ "@": "ResumeUpload", id, secret });
    if (!await comes(peer, "ReadyForUpload", "UploadAcknowledged")) return;
    const [told] = peer.inbox.all("UploadAcknowledged");
    if (told !== undefined) {
      assert(upload.isEnding, "nobody ended it");
      assert(told.size >= acknowledged);
      return peer.leave(1000);
    }
    assert(!isDone, "a completed upload goes on");
    const offset = peer.inbox.all("ReadyForUpload")[0].offset!;
    assert(offset >= acknowledged, `${acknowledged} bytes were acknowledged, now ${offset}`);
    assert(offset <= upload.sent, `${upload.sent} bytes were sent, and ${offset} are there`);
    this.#held.push({ peer, upload, isNative: true, at: offset });
  }

  give(): void {
    const { chance } = this.#asking;
    if (this.#held.length === 0) return;
    const held = chance.pick(this.#held);
    const { peer, upload, at, isNative } = held;
    const byteCount = chance.whole(1, MOST_BYTES);
    held.at += byteCount;
    upload.sent = Math.max(upload.sent, held.at);
    void peer.give(bytesOf(upload.name, at, byteCount), isNative);
    const told = peer.inbox.all("Credit").at(-1);
    upload.acknowledged = Math.max(upload.acknowledged, told?.acknowledged ?? 0);
  }

  async finish(): Promise<void> {
    const held = this.#take();
    if (held === null) return;
    const { peer, upload, at, isNative } = held;
    upload.isEnding = true;
    const bytes = bytesOf(upload.name, 0, at);
    const checksum = await (isNative ? xxhash128 : md5)(bytes);
    peer.say({ "@": "FinishUpload", checksum });
    if (!await comes(peer, "UploadAcknowledged")) return;
    assertEquals(peer.inbox.all("UploadAcknowledged")[0].size, at);
    Object.assign(upload, { acknowledged: at, isDone: true });
    peer.leave(1000);
  }

  /** It breaks off, or gives its upload up. */
  leave(): void {
    const held = this.#take();
    if (held === null) return;
    const { peer, upload, isNative } = held;
    if (!isNative || this.#asking.chance.happens(0.7)) return peer.leave();
    upload.isEnding = true;
    peer.say({ "@": "AbortUpload", reason: "it was given up" });
  }

  /** Follows an upload for a while, or to its end. */
  async follow(): Promise<void> {
    const { chance } = this.#asking;
    const upload = this.#uploads.any();
    if (upload === null) return;
    const { id, name, acknowledged } = upload;
    const isNative = chance.happens(0.5);
    const peer = await this.#connect(`${DOWNLOAD_PATH}/${id}`, isNative);
    if (peer === null) return;
    const { inbox } = peer;
    if (!await comes(peer, "StatusChanged")) return;
    const [{ resourceStatus: { currentSize } }] = inbox.all("StatusChanged");
    assert(currentSize >= acknowledged, `${acknowledged} bytes acknowledged, now ${currentSize}`);
    if (isNative) {
      peer.say({ "@": "Follow", from: 0, window: LIMITS.minDownloadWindowBytes });
      for (let turns = chance.whole(5, 60); turns > 0 && inbox.closing === null; turns--) {
        await turn();
      }
      const bytes = concat(inbox.data);
      assertEquals(bytes, bytesOf(name, 0, bytes.length));
    } else if (currentSize > 0) {
      peer.say({ "@": "RequestChunk", startOffset: 0, endOffset: currentSize });
      await inbox.until("a chunk", () => inbox.data.length > 0 || inbox.closing !== null);
      if (inbox.data.length > 0) assertEquals(concat(inbox.data), bytesOf(name, 0, currentSize));
    }
    const sizes = inbox.all("StatusChanged").map(({ resourceStatus }) =>
      resourceStatus.currentSize
    );
    if (!isNative) assertEquals(sizes, [...sizes].sort((one, other) => one - other));
    peer.leave();
  }

  async #connect(path: string, isNative: boolean): Promise<Peer | null> {
    const socket = new Socket(isNative ? SUBPROTOCOL : "");
    const headers = {
      upgrade: "websocket",
      connection: "upgrade",
      ...(isNative ? { "sec-websocket-protocol": SUBPROTOCOL } : {}),
    };
    let peer: Peer | null = null;
    const opens = (open: (connection: Socket) => Session) => peer = socket.opened(open(socket));
    await this.#asking.ask("GET", path, { headers, opens });
    return peer;
  }

  #take(): Held | null {
    const { chance } = this.#asking;
    if (this.#held.length === 0) return null;
    return this.#held.splice(chance.whole(0, this.#held.length - 1), 1)[0];
  }
}

/** Whether one of the messages comes before the connection is closed. */
async function comes({ inbox }: Peer, ...names: Message["@"][]): Promise<boolean> {
  const isThere = () => names.some((name) => inbox.all(name).length > 0);
  await inbox.until(names.join(), () => isThere() || inbox.closing !== null);
  return isThere();
}
