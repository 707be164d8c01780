/**
 * Uploads by HTTP: each belongs to one request at a time, and to none between two of them.
 *
 * An upload in many small requests stays open for a moment after each, so that the next one need
 * neither open the log nor ask the catalog; only then the resume window begins.
 * @module
 */
import { Bell } from "../bell.ts";
import { type Outcome, StreamError, toStreamError, type UploadResult } from "../protocol.ts";
import {
  type Appender,
  type CompletedUpload,
  hashSecret,
  matchesSecret,
  mayComeBack,
  type OwnedUpload,
  type Resources,
} from "../resources.ts";
import { type Content, Intake } from "./intake.ts";
import { LAST_WORD_MS } from "./upload.ts";

/** How long an upload stays open for the next request. */
const LINGER_MS = 1000;
/** A request without a byte for so long is given up: HTTP has no heartbeat, and a log may be silent for hours. */
const SILENCE_MS = 24 * 60 * 60 * 1000;

/** End of an upload whose last request ended well, but was not the last part. */
const NOTHING_CAME = new StreamError("INTERRUPTED", "the uploader sent no further request");
/** No runtime tells when an answer has left; a connection that is closed before takes it along. */
const FLUSH_MS = 100;

/** Parts of one upload. */
interface Parts {
  resources: Resources;
  silenceMs: number;
  /** The upload is open no more. */
  closed(upload: HttpUpload): void;
}

/** An upload that is open. */
export class HttpUpload {
  readonly #parts: Parts;
  readonly #secretHash: Promise<string> | null;
  #intake: Intake | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #shutdown: StreamError | null = null;
  /** Why bytes that it received are never acknowledged; null while they may be. */
  #failure: StreamError | null = null;
  readonly #rested = new Bell();
  /** Why it waits for the next request. */
  #cause: StreamError = NOTHING_CAME;

  /** Use {@link HttpUploads}. */
  constructor(
    /** Where its bytes go. */
    readonly appender: Appender,
    secret: string | null,
    parts: Parts,
    /** Gives its place back; called when it is open no more, and possibly again. */
    readonly givePlaceBack: () => void,
    clients: readonly string[],
  ) {
    this.#secretHash = secret === null ? null : hashSecret(secret);
    this.#parts = parts;
    appender.listen({
      acknowledged: (byteOffset) => this.#intake?.acknowledged(byteOffset),
      failed: (error) => {
        this.#fail(error);
        parts.closed(this);
      },
      ended: () => {
        if (appender.acknowledged < appender.received) this.#fail(overAlready(appender));
      },
    }, clients);
  }

  /** Tells whether somebody knows its secret; nobody does who uploads in one request. */
  async belongsTo(secret: string): Promise<boolean> {
    return this.#secretHash !== null && await matchesSecret(secret, await this.#secretHash);
  }

  /**
   * Makes a request the owner; one that is still going on is shut out.
   * @param step What the request does.
   */
  async own<T>(step: (intake: Intake) => Promise<T>): Promise<T> {
    const { resources, silenceMs } = this.#parts;
    clearTimeout(this.#timer);
    this.#cause = NOTHING_CAME;
    this.#intake?.stop(new StreamError("FENCED", "the upload was resumed by another request"));
    const intake = this.#intake = new Intake(this.appender, resources.creditPool, silenceMs);
    const stopped = this.#shutdown ?? this.#failure;
    if (stopped !== null) intake.stop(stopped);
    try {
      return await step(intake);
    } finally {
      intake.release();
      if (this.#intake === intake) await this.#rest();
    }
  }

  /**
   * Takes in what a request brings.
   * @throws {StreamError} What ended it; an error that is final has made the upload FAILED then.
   */
  async receive(intake: Intake, content: Content): Promise<void> {
    try {
      await intake.receive(content);
    } catch (thrown) {
      const error = toStreamError(thrown);
      if (!mayComeBack(this.appender, error)) await this.appender.fail(error);
      else if (this.#intake === intake) this.#cause = error;
      throw error;
    }
  }

  /** Completes it as it was announced; who asks for it from now on waits for that. */
  complete(outcome?: Outcome): Promise<UploadResult> {
    this.#parts.closed(this);
    return this.appender.complete(null, undefined, outcome);
  }

  /** Ends the request that goes on, and waits for no other; one that nobody can resume has a moment to end by itself. */
  async shutDown(error: StreamError): Promise<void> {
    this.#shutdown = error;
    if (this.#intake === null) return await this.#letGo(error);
    if (this.appender.ownedBy === "CONNECTION") await this.#rested.rungWithin(LAST_WORD_MS);
    this.#intake?.stop(error);
  }

  #fail(error: StreamError): void {
    this.#failure ??= error;
    this.#intake?.stop(error);
  }

  /** Waits for the next request, for a moment. */
  async #rest(): Promise<void> {
    this.#intake = null;
    this.#rested.ring();
    if (this.appender.isOver) return this.#parts.closed(this);
    if (this.#shutdown !== null) return await this.#letGo(this.#shutdown);
    this.#timer = setTimeout(() => void this.#letGo(this.#cause).catch(() => {}), LINGER_MS);
  }

  async #letGo(cause: StreamError): Promise<void> {
    clearTimeout(this.#timer);
    this.#parts.closed(this);
    await this.#parts.resources.interrupt(this.appender, cause);
  }
}

/** A request found it before it ended. */
function overAlready({ resource }: Appender): StreamError {
  const { transferStatus, failure } = resource.status;
  return new StreamError("WRONG_STATE", `the upload is over: ${failure ?? transferStatus}`);
}

/** All uploads by HTTP that are open. */
export class HttpUploads {
  readonly #parts: Parts;
  readonly #open = new Map<string, HttpUpload>();
  /** Requests that are being answered. */
  readonly #requests = new Set<Promise<unknown>>();
  #shutdown: StreamError | null = null;

  /**
   * Begins without any.
   * @param resources All resources.
   * @param silenceMs A request without a byte for so long is given up, in ms; a day by default.
   */
  constructor(resources: Resources, silenceMs: number = SILENCE_MS) {
    this.#parts = {
      resources,
      silenceMs,
      closed: (upload) => {
        const { id } = upload.appender.resource;
        upload.givePlaceBack();
        if (this.#open.get(id) === upload) this.#open.delete(id);
      },
    };
  }

  /**
   * Opens an upload that was registered or taken over.
   * @param owned The upload.
   * @param givePlaceBack Called when it is open no more.
   * @param clients Whose it is, by each name that counts for shares.
   */
  add(
    { appender, secret }: OwnedUpload,
    givePlaceBack: () => void,
    clients: readonly string[],
  ): HttpUpload {
    const upload = new HttpUpload(appender, secret, this.#parts, givePlaceBack, clients);
    this.#open.set(appender.resource.id, upload);
    if (this.#shutdown !== null) void upload.shutDown(this.#shutdown);
    return upload;
  }

  /**
   * An upload for who knows its secret, open or taken over.
   * @param id Its id.
   * @param secret Its secret.
   * @param takePlace Takes a place among the uploads of who asks, and returns what gives it back.
   * @param clients Who asks, by each name that counts for shares.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
   */
  async find(
    id: string,
    secret: string,
    takePlace: () => () => void,
    clients: readonly string[],
  ): Promise<HttpUpload | CompletedUpload> {
    const open = this.#open.get(id);
    // An upload that was closed while the secret was compared must be taken over, too.
    if (open !== undefined && await open.belongsTo(secret) && this.#open.get(id) === open) {
      return open;
    }
    const givePlaceBack = takePlace();
    try {
      const resumed = await this.#parts.resources.resume(id, secret);
      if (!("completed" in resumed)) return this.add(resumed, givePlaceBack, clients);
      givePlaceBack();
      return resumed;
    } catch (error) {
      givePlaceBack();
      throw error;
    }
  }

  /**
   * Ends all of them.
   * @param shutdown Why.
   * @returns When their requests were answered.
   */
  async close(shutdown: StreamError): Promise<void> {
    this.#shutdown = shutdown;
    await Promise.all([...this.#open.values()].map((upload) => upload.shutDown(shutdown)));
    if (this.#requests.size === 0) return;
    await Promise.all(this.#requests);
    await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
  }

  /** Has a request answered; the server is not shut down before that. */
  async during<T>(answer: () => Promise<T>): Promise<T> {
    const answering = answer();
    const settled = answering.catch(() => {});
    this.#requests.add(settled);
    try {
      return await answering;
    } finally {
      this.#requests.delete(settled);
    }
  }
}
