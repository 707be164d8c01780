/** Uploads by HTTP and tus at once: whole and in parts, cut off, asked for, given up, read, deleted. */
import { Buffer } from "node:buffer";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { type Answer, type Asking, Contexts } from "./asking.ts";

/** Ids that are used again and again. */
const IDS: readonly string[] = [crypto.randomUUID(), crypto.randomUUID()];
export const MOST_BYTES = 40;
const TEXT = { "content-type": "text/plain" };
const TUS = { "tus-resumable": "1.0.0" };
const TUS_PART = { ...TUS, "content-type": "application/offset+octet-stream" };
const HTTP_PART = { "content-type": "application/partial-upload" };

/** What an upload has at a position: it follows from its name. */
export function bytesOf(name: string, from: number, byteCount: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: byteCount }, (_, at) => {
    const place = from + at;
    return place % 11 === 10 ? 10 : name.charCodeAt(place % name.length) + place % 7;
  });
}

/** An upload as those know it who have its address. */
export interface Upload {
  isTus: boolean;
  id: string;
  path: string;
  name: string;
  /** Bytes that were told to be there, and that were ever sent. */
  acknowledged: number;
  sent: number;
  /** Of the whole, if that was announced. */
  size: number | null;
  /** Whether it was told to be completed, and whether somebody asked for its end. */
  isDone: boolean;
  isEnding: boolean;
}

/** Those who use them. */
export class UploadDoors {
  readonly #asking: Asking;
  readonly contexts: Contexts;
  readonly #uploads: Upload[] = [];
  /** Those that somebody deletes, and those that were told to be deleted. */
  readonly #deleting = new Set<string>();
  readonly #deleted = new Set<string>();
  #names = 0;

  constructor(asking: Asking) {
    this.#asking = asking;
    this.contexts = new Contexts(asking);
  }

  async beginTus(): Promise<void> {
    const { chance, ask } = this.#asking;
    const name = `tus${++this.#names}.log`;
    const size = chance.happens(0.7) ? chance.whole(0, 3 * MOST_BYTES) : null;
    const sent = chance.happens(0.5)
      ? chance.whole(0, Math.min(size ?? MOST_BYTES, MOST_BYTES))
      : 0;
    const length: Record<string, string> = size === null
      ? { "upload-defer-length": "1" }
      : { "upload-length": String(size) };
    const metadata = { "upload-metadata": `filename ${Buffer.from(name).toString("base64")}` };
    const headers = { ...(sent > 0 ? TUS_PART : TUS), ...length, ...metadata };
    const body = sent > 0 ? bytesOf(name, 0, sent) : undefined;
    const answer = await this.contexts.begin((query) =>
      ask("POST", `/tus?${query}`, { headers, body })
    );
    this.#begun(answer, { isTus: true, name, sent, size });
  }

  async beginHttp(): Promise<void> {
    const { chance, ask } = this.#asking;
    const name = `http${++this.#names}.log`;
    const sent = chance.whole(0, MOST_BYTES);
    const headers = { ...TEXT, "upload-complete": "?0" };
    const body = bytesOf(name, 0, sent);
    const answer = await this.contexts.begin((query) =>
      ask("POST", `/resources?name=${name}&${query}`, { headers, body })
    );
    this.#begun(answer, { isTus: false, name, sent, size: null });
  }

  #begun(
    { status, headers }: Answer,
    known: Pick<Upload, "isTus" | "name" | "sent" | "size">,
  ): void {
    if (status !== 201) return;
    const path = new URL(headers.get("location")!).pathname;
    const acknowledged = Number(headers.get("upload-offset"));
    const isDone = acknowledged === known.size;
    const id = path.split("/").at(-2)!;
    this.#uploads.push({ ...known, id, path, acknowledged, isDone, isEnding: false });
  }

  /** One that was begun over a WebSocket; only its connection goes on with it where its path has no secret. */
  add(known: Pick<Upload, "id" | "name" | "path">): Upload {
    const nothing = { acknowledged: 0, sent: 0, size: null, isTus: false, isDone: false };
    const upload = { ...known, ...nothing, isEnding: known.path.endsWith("/none") };
    this.#uploads.push(upload);
    return upload;
  }

  /** Any of them, but those whose id is used again. */
  any(): Upload | null {
    return this.#uploads.length === 0 ? null : this.#asking.chance.pick(this.#uploads);
  }

  /** The next part, or the last one; some break off. */
  async append(): Promise<void> {
    const { chance, ask } = this.#asking;
    const upload = this.pick();
    if (upload === null) return;
    const { isTus, name, path, acknowledged: offset } = upload;
    const most = Math.max(0, (upload.size ?? Infinity) - offset);
    const byteCount = chance.whole(0, Math.min(most, MOST_BYTES));
    const end = offset + byteCount;
    const ends = chance.happens(0.2) && (!isTus || upload.size === null);
    const breaks = byteCount > 1 && chance.happens(0.15);
    upload.sent = Math.max(upload.sent, end);
    upload.isEnding ||= ends;
    const bytes = bytesOf(name, offset, byteCount);
    const answer = await ask("PATCH", path, {
      headers: { "upload-offset": String(offset), ...(isTus ? tusEnd() : httpEnd()) },
      body: breaks ? brokenOff(bytes.subarray(0, chance.whole(1, byteCount - 1))) : bytes,
    });
    if (answer.status >= 300) return;
    // What is completed wants nothing more, and reads nothing.
    if (breaks) return assert(upload.isEnding, "an append that broke off was answered as whole");
    upload.acknowledged = Math.max(upload.acknowledged, end);
    upload.isDone ||= ends || isTus && end === upload.size;

    function tusEnd(): Record<string, string> {
      return { ...TUS_PART, ...(ends ? { "upload-length": String(end) } : {}) };
    }
    function httpEnd(): Record<string, string> {
      return { ...HTTP_PART, "upload-complete": ends ? "?1" : "?0" };
    }
  }

  async look(): Promise<void> {
    const upload = this.pick();
    if (upload === null) return;
    const { id, isTus, path, acknowledged, isDone } = upload;
    const wasDeleted = this.#deleted.has(id);
    const { status, headers } = await this.#asking.ask("HEAD", path, { headers: isTus ? TUS : {} });
    if (status === 404) return this.#checkGone(id);
    if (status === 401) return;
    if (status >= 300) return assert(!isDone || status >= 500, `a completed upload is ${status}`);
    assert(!wasDeleted, "an upload that was deleted is there");
    const offset = Number(headers.get("upload-offset"));
    assert(offset >= acknowledged, `${acknowledged} bytes were acknowledged, now ${offset}`);
    assert(offset <= upload.sent, `${upload.sent} bytes were sent, and ${offset} are there`);
    upload.acknowledged = Math.max(upload.acknowledged, offset);
  }

  async giveUp(): Promise<void> {
    const upload = this.pick();
    if (upload === null) return;
    upload.isEnding = true;
    const { isTus, path, isDone } = upload;
    const { status } = await this.#asking.ask("DELETE", path, { headers: isTus ? TUS : {} });
    assert(!isDone || status >= 400, "a completed upload was given up");
  }

  /** A whole one, in one request, some of them for an id that is used again. */
  async put(): Promise<void> {
    const { chance, ask } = this.#asking;
    const name = `put${++this.#names}.log`;
    const size = chance.whole(0, MOST_BYTES);
    const path = chance.happens(0.5) ? "/resources" : `/resources/${chance.pick(IDS)}`;
    const body = bytesOf(name, 0, size);
    const answer = await this.contexts.begin((query) =>
      ask("PUT", `${path}?name=${name}&${query}`, { headers: TEXT, body })
    );
    if (answer.status !== 201) return;
    const { id, currentSize, transferStatus } = JSON.parse(answer.text);
    assertEquals([currentSize, transferStatus], [size, "COMPLETED"]);
    if (IDS.includes(id)) return;
    const known = { id, name, size, acknowledged: size, sent: size, isDone: true };
    this.#uploads.push({ ...known, isTus: false, path: `/uploads/${id}/none`, isEnding: true });
  }

  async delete(): Promise<void> {
    const { chance, ask } = this.#asking;
    const id = this.#anyId();
    this.#deleting.add(id);
    const { status } = await ask("DELETE", `/resources/${id}?force=${chance.happens(0.5)}`);
    if (status === 204) this.#deleted.add(id);
  }

  async read(): Promise<void> {
    await this.#read(this.#anyId());
  }

  async readAll(): Promise<void> {
    for (const id of [...this.#uploads.map(({ id }) => id), ...IDS]) await this.#read(id);
  }

  async #read(id: string): Promise<void> {
    const { ask } = this.#asking;
    const upload = this.#uploads.find((one) => one.id === id);
    const { acknowledged = 0, isDone = false } = { ...upload };
    const wasDeleted = this.#deleted.has(id) && !IDS.includes(id);
    const shown = await ask("GET", `/resources/${id}`);
    if (shown.status === 404) return this.#checkGone(id);
    if (shown.status !== 200) return;
    const { filename, currentSize, transferStatus, life } = JSON.parse(shown.text);
    assert(!wasDeleted, `${id} was deleted, and is there`);
    assert(currentSize >= acknowledged, `${acknowledged} bytes acknowledged, now ${currentSize}`);
    if (upload !== undefined) assert(currentSize <= upload.sent, "more is there than was sent");
    if (isDone) assertEquals([transferStatus, currentSize], ["COMPLETED", acknowledged]);
    if (currentSize === 0) return;
    const headers = { range: `bytes=0-${currentSize - 1}` };
    const content = await ask("GET", `/resources/${id}/content`, { headers });
    // An id that is used again may be another one by now.
    const again = await ask("GET", `/resources/${id}`);
    if (again.status !== 200 || JSON.parse(again.text).life !== life) return;
    if (content.status >= 500 && this.#asking.refuses) return;
    if (content.isBrief && (content.isBroken || content.status === 401)) return;
    const mayEnd = this.#asking.sweeps || this.#deleting.has(id);
    if (mayEnd && (content.isBroken || content.status >= 400)) return;
    const bytes = bytesOf(filename, 0, currentSize);
    assertEquals(content.text, new TextDecoder().decode(bytes), `${content.status}`);
  }

  #checkGone(id: string): void {
    const mayBe = this.#asking.sweeps || this.#deleting.has(id) || IDS.includes(id);
    assert(mayBe, `${id} is gone, and nobody deleted it`);
  }

  #anyId(): string {
    return this.#asking.chance.pick([...this.#uploads.map(({ id }) => id), ...IDS]);
  }

  /** One in parts, most probably one that goes on. */
  pick(): Upload | null {
    const { chance } = this.#asking;
    const inParts = this.#uploads.filter(({ path }) => !path.endsWith("/none"));
    const running = inParts.filter(({ isDone, isEnding }) => !isDone && !isEnding);
    if (running.length > 0 && chance.happens(0.8)) return chance.pick(running);
    return inParts.length === 0 ? null : chance.pick(inParts);
  }
}

function brokenOff(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => controller.enqueue(bytes),
    async pull(controller) {
      await turn();
      controller.error(new Error("it broke off"));
    },
  });
}
