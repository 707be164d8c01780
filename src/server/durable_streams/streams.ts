/**
 * The streams of a server: found by their paths, created, expired, deleted.
 *
 * A stream is a resource whose id is made of its path; so is every other resource, by its id as the path. What is
 * forked is copied; a source that is deleted leaves its path taken as long as there are forks, and nothing of its bytes.
 * @module
 */
import {
  checkLife,
  foldResourceId,
  isFinal,
  isUuid,
  StreamError,
  toStreamError,
  toUuid,
} from "../../protocol.ts";
import type { Resources, ResourceView } from "../../resources.ts";
import { SharedUploads } from "../../session.ts";
import { isText } from "../../mime.ts";
import { annotationOf, factsOf, parseFacts, type StreamFacts } from "./facts.ts";
import type { SaidOffset } from "./offsets.ts";

/** Time between two looks for streams that are over, and between two pages of one. */
const SWEEP_MS = 60_000;
const PAGE_PAUSE_MS = 50;
const PAGE = 100;
/** Streams whose last read is known; of the others the last append counts. */
const MAX_ACCESSES = 100_000;
/** Forks of forks that are looked through. */
const MAX_FORK_DEPTH = 100;

/** A stream that is there. */
export interface Stream {
  /** Id of its resource. */
  id: string;
  /** The resource. */
  view: ResourceView;
  /** What is kept of it. */
  facts: StreamFacts;
  /** Whether anybody may append to it; what some other way brought here is only read. */
  isShared: boolean;
}

/**
 * Checks an offset, which may have been told in another life of the stream.
 * @throws {StreamError} DELETED, unless the stream was forked from that life behind the offset.
 */
export function checkSaid({ view, facts }: Stream, { life, byteOffset }: SaidOffset): void {
  const isInherited = facts.lives?.some(([known, end]) => known === life && byteOffset <= end);
  if (!isInherited) checkLife(view.status, life);
}

/** The id of the resource of a stream. */
export async function streamId(path: string): Promise<string> {
  const folded = foldResourceId(path);
  if (isUuid(folded)) return folded;
  const bytes = new TextEncoder().encode(`durable-stream ${path}`);
  return toUuid(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), 8);
}

/** All streams of a server. */
export class Streams {
  /** Appends to them. */
  readonly uploads: SharedUploads;
  readonly #resources: Resources;
  /** When streams with a time to live were read last. */
  readonly #accesses = new Map<string, number>();
  #startedMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** @param resources All resources. */
  constructor(resources: Resources) {
    this.#resources = resources;
    this.uploads = new SharedUploads(resources);
  }

  /**
   * Finds a stream.
   * @throws {StreamError} NOT_FOUND; GONE for one that was deleted and has forks.
   */
  async find(id: string): Promise<Stream> {
    const view = await this.#resources.get(id);
    const facts = factsOf(view);
    if (facts === null) return { id, view, facts: foreignFacts(view), isShared: false };
    const { transferStatus } = view.status;
    if (facts.creating && transferStatus !== "COMPLETED") throw noStream();
    const stream = { id, view, facts, isShared: true };
    if (facts.gone || this.#isExpired(stream)) {
      await this.remove(stream);
      // Its path may be taken by now.
      if (await this.#isGone(id)) throw goneStream();
      throw noStream();
    }
    if (!facts.closing || isFinal(transferStatus)) return stream;
    await this.uploads.take(id, (appender) => finishClosing(appender));
    return { ...stream, view: await this.#resources.get(id) };
  }

  /** A stream was read or appended to: its time to live begins anew. */
  touch({ id, facts }: Stream): void {
    if (facts.ttlS === undefined) return;
    this.#accesses.delete(id);
    this.#accesses.set(id, this.#resources.certainMs);
    if (this.#accesses.size > MAX_ACCESSES) {
      this.#accesses.delete(this.#accesses.keys().next().value!);
    }
  }

  /**
   * Deletes a stream with its bytes; one that has forks leaves its path taken.
   * @throws {StreamError} NOT_FOUND, STORAGE_FAILED; WRONG_STATE for an upload that is somebody's and goes on.
   */
  async remove({ id, view }: Stream): Promise<void> {
    await this.uploads.closed(id, async () => {
      const now = await this.#resources.get(id).catch(() => null);
      if (now === null || now.createdAtMs !== view.createdAtMs) return;
      const facts = factsOf(now);
      const forks = facts === null ? [] : await this.#livingForks(id, facts);
      if (facts?.gone && forks.length > 0) return;
      this.#accesses.delete(id);
      // What some other way brought here is deleted as there: not while it is being uploaded.
      await this.#resources.delete(id, { force: facts !== null });
      if (facts !== null && forks.length > 0) await this.#leaveSign(now, { ...facts, forks });
    });
  }

  /**
   * Notes with a stream that another is forked from it.
   * @param source The stream.
   * @param forkId Id of the other.
   * @param maxForks The most that it may have.
   * @throws {StreamError} LIMIT_REACHED.
   */
  async addFork(source: Stream, forkId: string, maxForks: number): Promise<void> {
    const { id, isShared } = source;
    if (!isShared) return;
    await this.uploads.take(id, async (appender) => {
      const { facts } = appender === null ? source : { facts: parseFacts(appender.annotation) };
      const known = facts.forks ?? [];
      const living = known.length < maxForks ? known : await this.#livingForks(id, facts);
      if (living.length >= maxForks) {
        throw new StreamError("LIMIT_REACHED", `the stream has ${maxForks} forks: delete some`);
      }
      const forks = [...new Set([...living, forkId])];
      if (appender !== null) {
        return await appender.appendWhole(new Uint8Array(), annotationOf({ ...facts, forks }));
      }
      await this.#resources.annotate(id, (text) => annotationOf({ ...parseFacts(text), forks }));
    });
  }

  /** Looks for streams that are over, from now on; those that are asked for are found to be over at once. */
  start(): void {
    this.#startedMs = this.#resources.certainMs;
    this.#timer ??= setTimeout(() => void this.#sweep(), SWEEP_MS);
  }

  /** Looks for nothing any more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.uploads.close();
  }

  async #sweep(): Promise<void> {
    let after: ResourceView | undefined;
    try {
      do {
        const page = await this.#resources.list({ order: "oldest", limit: PAGE, after });
        for (const view of page) await this.#removeIfOver(view);
        after = page.length < PAGE ? undefined : page.at(-1);
        await new Promise((resolve) => this.#timer = setTimeout(resolve, PAGE_PAUSE_MS));
      } while (after !== undefined && !this.#isClosed);
    } catch { /* What fails now is tried again then. */ }
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#sweep(), SWEEP_MS);
  }

  async #removeIfOver(view: ResourceView): Promise<void> {
    const facts = factsOf(view);
    if (facts === null) return;
    const stream = { id: view.id, view, facts, isShared: true };
    if (facts.gone || this.#isExpired(stream)) await this.remove(stream);
  }

  #isExpired({ id, facts: { ttlS, expiresAt, appendedMs = 0 } }: Stream): boolean {
    const nowMs = this.#resources.certainMs;
    if (expiresAt !== undefined && nowMs >= Date.parse(expiresAt)) return true;
    if (ttlS === undefined) return false;
    // What was read before this process began, nobody knows any more.
    const accessedMs = this.#accesses.get(id) ?? this.#startedMs;
    return nowMs >= Math.max(accessedMs, appendedMs) + ttlS * 1000;
  }

  async #isGone(id: string): Promise<boolean> {
    const view = await this.#resources.get(id).catch(() => null);
    return view !== null && factsOf(view)?.gone === true;
  }

  /** Takes the path of a stream whose bytes were deleted. */
  async #leaveSign(
    { id, metadata, contextId }: ResourceView,
    { contentType, origin, forks }: StreamFacts,
  ): Promise<void> {
    const { appender } = await this.#resources.register({
      id,
      metadata,
      contextId,
      requiresContext: false,
      makeContext: true,
      ownedBy: "ANYBODY",
      digests: [],
      annotation: annotationOf({ contentType, origin, forks, gone: true }),
      isSign: true,
    });
    const cause = "the stream was deleted; its path is free again when its forks are deleted";
    await appender.fail(new StreamError("DELETED", cause));
  }

  /** Forks that are there, or have such themselves. */
  async #livingForks(id: string, { forks = [] }: StreamFacts, depth = 0): Promise<string[]> {
    const living: string[] = [];
    for (const forkId of forks) {
      const fork = await this.#resources.get(forkId).catch((error) => {
        if (toStreamError(error).code === "NOT_FOUND") return null;
        throw error;
      });
      const facts = fork === null ? null : factsOf(fork);
      if (facts?.origin?.id !== id) continue;
      const isAlive = !facts.gone || depth < MAX_FORK_DEPTH &&
          (await this.#livingForks(forkId, facts, depth + 1)).length > 0;
      if (isAlive) living.push(forkId);
    }
    return living;
  }
}

/** Closes a stream whose last append said so, if a process ended in between. */
export async function finishClosing(
  appender: Parameters<Parameters<SharedUploads["take"]>[1]>[0],
): Promise<void> {
  if (appender !== null && parseFacts(appender.annotation).closing) await appender.complete(null);
}

/** What a stream is that nobody created as one: JSON that was pushed is no list of messages. */
function foreignFacts({ metadata: { mimeType } }: ResourceView): StreamFacts {
  const isRead = mimeType !== "application/json" && isText(mimeType);
  return { contentType: isRead || !isText(mimeType) ? mimeType : "text/plain" };
}

/** There is no such stream. */
function noStream(): StreamError {
  return new StreamError("NOT_FOUND", "there is no such stream: PUT creates one");
}

function goneStream(): StreamError {
  return new StreamError(
    "GONE",
    "the stream was deleted; its path is free again when its forks are deleted",
  );
}
