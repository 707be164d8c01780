/**
 * An upload by HTTP requests, in the words of a WebSocket connection (PROTOCOL.md 6.9).
 *
 * Bytes that are sent while a request is under way go out together with the next one.
 * @module
 */
import {
  INTEROP_VERSION,
  isNewer,
  LIMITS,
  type Message,
  type MessageOf,
  type Outcome,
  type ResourceInfo,
  RESOURCES_PATH,
  type ResourceStatus,
  StreamError,
  toStreamError,
  UPLOADS_PATH,
} from "../../protocol.ts";
import { type Channel, type ChannelHandler, CLOSE_TIMEOUT_MS } from "./channel.ts";
import { type Asking, noServer, parseJson, type Recipient, RefusedError } from "./http.ts";
import { type Answer, HttpRequests } from "./requests.ts";
import { statusIn } from "./status.ts";
import { endsWithin } from "../../timer.ts";

/** Content of one request: larger ones are not faster, and what breaks off is sent again. */
const MAX_PART_BYTES = 1024 * 1024;
/** The first one, and the smallest: the way may be slow, and nothing is heard before its end. */
const MIN_PART_BYTES = LIMITS.shortMessageBytes;
/** A request that took less can be larger, in ms. */
const FAST_MS = 1000;
/** A request that took longer was too large, in ms. */
const SLOW_MS = 2000;
/** Bytes that may be sent before they are acknowledged: a request under way, and the next one. */
const WINDOW_BYTES = 2 * MAX_PART_BYTES;
/** An empty request after so long a silence tells that the upload goes on, in ms. */
const LONGEST_SILENCE_MS = 20_000;
/** A server that waits for nobody still keeps an upload for a moment after each request, in ms. */
const SHORTEST_SILENCE_MS = 300;
/** Wait of a server that does not say how long it waits, in s. */
const MAX_AGE_S = 60;

/** It stands in the address of a request, which HTTP servers bound. */
const MAX_REASON_CHARS = 1000;

/** Every request of a client of the draft says which version it speaks. */
const INTEROP = { "upload-draft-interop-version": String(INTEROP_VERSION) };

/** A message that begins an upload. */
type Beginning = MessageOf<"StartUpload"> | MessageOf<"ResumeUpload">;
/** A message that ends it. */
type Ending = MessageOf<"FinishUpload"> | MessageOf<"AbortUpload">;

/** Extent of what was sent of an upload, on whichever of its connections. */
export interface Trail {
  /** Byte after the last one. */
  endOffset: number;
}

/** The owner of one upload. */
export class HttpUploadChannel implements Channel {
  readonly native = true;
  readonly #requests: HttpRequests;
  readonly #contextId: string | undefined;
  readonly #trail: Trail;
  readonly #handler: ChannelHandler;
  #beginning: Beginning | null = null;
  #queue: Uint8Array[] = [];
  #ending: Ending | null = null;
  /** Path of the upload, once it is known; whoever has it owns the upload. */
  #path = "";
  /** Bytes that the server has. */
  #offset = 0;
  #partBytes = MIN_PART_BYTES;
  #silenceMs = LONGEST_SILENCE_MS;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #isSilent = false;
  #isAborting = false;
  #newest: ResourceStatus | null = null;
  #working: Promise<void> | null = null;
  #over = false;

  /**
   * Nothing is requested before something is sent.
   * @param recipient The server.
   * @param contextId Upload context of a new upload.
   * @param trail What earlier connections sent.
   * @param handler Hears what arrives.
   */
  constructor(
    recipient: Recipient,
    contextId: string | undefined,
    trail: Trail,
    handler: ChannelHandler,
  ) {
    this.#requests = new HttpRequests(recipient);
    this.#trail = trail;
    this.#contextId = contextId;
    this.#handler = handler;
  }

  send(message: Message): void {
    switch (message["@"]) {
      case "StartUpload":
      case "ResumeUpload":
        this.#beginning = message;
        break;
      case "FinishUpload":
      case "AbortUpload":
        this.#ending = message;
        this.#isAborting = message["@"] === "AbortUpload";
        break;
    }
    this.#wake();
  }

  sendData(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#wake();
  }

  async close(): Promise<void> {
    this.#over = true;
    clearTimeout(this.#silence);
    if (this.#working !== null && this.#isAborting) {
      await endsWithin(CLOSE_TIMEOUT_MS, this.#working);
    }
    this.#requests.stop();
  }

  #wake(): void {
    if (this.#over) return;
    clearTimeout(this.#silence);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    // Messages that are sent in one go go into one request.
    await Promise.resolve();
    try {
      while (await this.#step());
    } catch (error) {
      this.#fail(toStreamError(error));
    }
    this.#working = null;
    if (this.#over) return;
    // Something may have been sent while the last step was found to be the last one.
    if (this.#queue.length > 0 || this.#ending !== null) return this.#wake();
    this.#silence = setTimeout(() => {
      this.#isSilent = true;
      this.#wake();
    }, this.#silenceMs);
  }

  /** The next request; false when there is none to make. */
  async #step(): Promise<boolean> {
    const beginning = this.#beginning;
    const ending = this.#ending;
    if (beginning !== null) {
      this.#beginning = null;
      if (beginning["@"] === "StartUpload") await this.#start(beginning);
      else await this.#resume(beginning);
    } else if (this.#queue.length > 0 || this.#isSilent) await this.#append();
    else if (ending === null) return false;
    else {
      this.#ending = null;
      if (ending["@"] === "FinishUpload") await this.#finish(ending);
      else await this.#abort(ending);
    }
    return true;
  }

  async #start({ metadata, digests = [], ...chosen }: MessageOf<"StartUpload">): Promise<void> {
    const { filename, mimeType, supportsLineAccess } = metadata;
    const query = new URLSearchParams({
      name: filename,
      type: mimeType,
      lines: String(supportsLineAccess),
    });
    if (this.#contextId !== undefined) query.set("context", this.#contextId);
    const answer = await this.#requests.ask(`${RESOURCES_PATH}/${chosen.id}?${query}`, {
      method: "PUT",
      headers: {
        ...INTEROP,
        "upload-complete": "?0",
        "stream-digests": digests.join(", "),
        "stream-secret": chosen.secret!,
      },
    });
    const location = answer.headers.get("location") ?? "";
    const [, id, secret] = /\/uploads\/([^/]+)\/([^/]+)$/.exec(location) ?? [];
    if (secret === undefined) throw noServer();
    this.#ready(id, secret, answer);
  }

  async #resume({ id, secret }: MessageOf<"ResumeUpload">): Promise<void> {
    const answer = await this.#ask(uploadPath(id, secret), { headers: INTEROP });
    if (answer.headers.get("upload-complete") !== "?1") return this.#ready(id, secret, answer);
    this.#acknowledge(answer);
  }

  #ready(id: string, secret: string, { headers, text }: Answer): void {
    const { epoch, reference, stepReference } = parseJson<ResourceInfo>(text);
    const maxAgeS = /max-age=(\d+)/.exec(headers.get("upload-limit") ?? "")?.[1] ?? MAX_AGE_S;
    const silenceMs = Number(maxAgeS) * 1000 / 3;
    this.#silenceMs = Math.min(LONGEST_SILENCE_MS, Math.max(SHORTEST_SILENCE_MS, silenceMs));
    this.#path = uploadPath(id, secret);
    this.#offset = offsetIn(headers);
    this.#tellStatus(text);
    this.#tell({
      "@": "ReadyForUpload",
      reference: { uri: reference },
      id,
      secret,
      epoch,
      offset: this.#offset,
      limit: this.#offset + WINDOW_BYTES,
      digest: headers.get("stream-digest-algorithm") as "xxh128",
      stepReference,
    });
  }

  /** Sends what waits; nothing, to be heard of. */
  async #append(): Promise<void> {
    this.#isSilent = false;
    const part = this.#take();
    const startedAtMs = performance.now();
    const answer = await this.#patch(part, { "upload-complete": "?0" });
    if (part.length === this.#partBytes) this.#pace(performance.now() - startedAtMs);
    const acknowledged = this.#offset + part.length;
    if (offsetIn(answer.headers) !== acknowledged) throw broken("took only a part of a request");
    this.#offset = acknowledged;
    // A proxy may have dropped our wish for a representation.
    if (answer.text !== "") this.#tellStatus(answer.text);
    this.#tell({ "@": "Credit", limit: acknowledged + WINDOW_BYTES, acknowledged });
  }

  async #finish({ checksum, size, outcome }: MessageOf<"FinishUpload">): Promise<void> {
    this.#acknowledge(
      await this.#patch(new Uint8Array(0), {
        "upload-complete": "?1",
        "upload-length": String(size),
        "stream-digest": checksum,
        ...outcome === undefined ? {} : { "stream-outcome": fieldOf(outcome) },
      }),
    );
  }

  async #abort({ reason }: MessageOf<"AbortUpload">): Promise<void> {
    const query = new URLSearchParams({ reason: reason.slice(0, MAX_REASON_CHARS) });
    await this.#requests.ask(`${this.#path}?${query}`, { method: "DELETE", headers: INTEROP });
  }

  #acknowledge({ text }: Answer): void {
    const { currentSize, numberOfLines, digest } = parseJson<ResourceInfo>(text);
    if (digest === null) throw noServer();
    this.#tellStatus(text);
    this.#tell({
      "@": "UploadAcknowledged",
      size: currentSize,
      numberOflines: numberOfLines,
      checksum: digest.value,
      digest: digest.algorithm,
    });
  }

  async #patch(part: Uint8Array, fields: Record<string, string>): Promise<Answer> {
    this.#trail.endOffset = Math.max(this.#trail.endOffset, this.#offset + part.length);
    return await this.#ask(this.#path, {
      method: "PATCH",
      headers: {
        ...INTEROP,
        "content-type": "application/partial-upload",
        "upload-offset": String(this.#offset),
        "prefer": "return=representation",
        ...fields,
      },
      body: part,
    });
  }

  async #ask(path: string, asking?: Asking): Promise<Answer> {
    try {
      return await this.#requests.ask(path, asking);
    } catch (error) {
      throw error instanceof RefusedError ? this.#meant(error) : error;
    }
  }

  /**
   * A request that was given up may still arrive, and some HTTP clients repeat one whose connection broke: up to where
   * this upload was ever sent, what a server has may come from here. Beyond that it comes from another owner.
   */
  #meant(error: RefusedError): StreamError {
    const { code, headers } = error;
    const isCompleted = code === "BAD_REQUEST" && headers.get("upload-complete") === "?1";
    const isOther = code === "CONFLICT" && headers.has("upload-offset");
    if (isOther && offsetIn(headers) > this.#trail.endOffset) {
      return new StreamError("FENCED", "the upload was resumed by somebody else");
    }
    const isTransient = code === "FENCED" || isOther || isCompleted;
    return isTransient ? broken("had to do with another request of this upload") : error;
  }

  /** Joins as much of what waits as goes into one request. */
  #take(): Uint8Array {
    let byteCount = 0;
    const pieces: Uint8Array[] = [];
    while (this.#queue.length > 0 && byteCount < this.#partBytes) {
      const piece = this.#queue[0].subarray(0, this.#partBytes - byteCount);
      if (piece.length === this.#queue[0].length) this.#queue.shift();
      else this.#queue[0] = this.#queue[0].subarray(piece.length);
      pieces.push(piece);
      byteCount += piece.length;
    }
    const part = new Uint8Array(byteCount);
    let at = 0;
    for (const piece of pieces) {
      part.set(piece, at);
      at += piece.length;
    }
    return part;
  }

  #pace(tookMs: number): void {
    if (tookMs < FAST_MS) this.#partBytes = Math.min(this.#partBytes * 2, MAX_PART_BYTES);
    else if (tookMs > SLOW_MS) this.#partBytes = Math.max(this.#partBytes / 2, MIN_PART_BYTES);
  }

  #tellStatus(json: string): void {
    const status = statusIn(json);
    if (!isNewer(status, this.#newest)) return;
    this.#newest = status;
    this.#tell({ "@": "StatusChanged", resourceStatus: status });
  }

  #tell(message: Message): void {
    if (!this.#over) this.#handler.message(message);
  }

  #fail(error: StreamError): void {
    if (this.#over) return;
    this.#over = true;
    this.#requests.stop();
    this.#handler.closed(error);
  }
}

function uploadPath(id: string, secret: string): string {
  return `${UPLOADS_PATH}/${encodeURIComponent(id)}/${encodeURIComponent(secret)}`;
}

function offsetIn(headers: Headers): number {
  const text = headers.get("upload-offset") ?? "";
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw noServer();
}

function broken(how: string): StreamError {
  return new StreamError("INTERRUPTED", `the server ${how}`);
}

/** An outcome as a header field (PROTOCOL.md 6.7). */
function fieldOf({ exitCode, signal }: Outcome): string {
  return exitCode === null ? `signal=${signal}` : `exit=${exitCode}`;
}
