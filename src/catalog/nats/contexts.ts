/**
 * Upload contexts in a bucket of the engine.
 * @module
 */
import type { ContextAttributes, UploadContext } from "../../catalog.ts";
import type { Bucket } from "../../cluster/bucket.ts";
import { StreamError } from "../../protocol.ts";
import { contextKey, decodeContext, encodeContext } from "./encoding.ts";

/** How often a change is tried again that others were faster with. */
const ATTEMPTS = 20;

/** What the catalog does about changes of contexts. */
export interface ContextChanges {
  /** @throws {StreamError} QUOTA_EXCEEDED where there is no room for another one. */
  checkRoom(): void;
  /** A name that no other change has. */
  name(): string;
  /** A context was made or changed. */
  made(sequence: number, context: UploadContext): void;
}

/** Makes and closes contexts, by the word of the engine. */
export class Contexts {
  /**
   * @param bucket Where they are.
   * @param changes Hears of changes.
   */
  constructor(private readonly bucket: Bucket, private readonly changes: ContextChanges) {}

  /** The context, or null. */
  async get(id: string): Promise<UploadContext | null> {
    const { value } = await this.bucket.find(contextKey(id)) ?? {};
    return value ? decodeContext(value) : null;
  }

  /** Makes a context unless it exists. */
  async create(id: string, attributes: ContextAttributes = {}): Promise<UploadContext> {
    const known = await this.get(id);
    if (known !== null) return known;
    this.changes.checkRoom();
    const made = { id, createdAtMs: Date.now(), closedAtMs: null, attributes: { ...attributes } };
    if (await this.#write(0, made, this.changes.name())) return made;
    const found = await this.get(id);
    if (found !== null) return found;
    throw new StreamError("STORAGE_FAILED", `the engine has lost the upload context ${id}`);
  }

  /** Closes a context unless it is closed. */
  async close(id: string): Promise<UploadContext | null> {
    const name = this.changes.name();
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const entry = await this.bucket.find(contextKey(id));
      if (!entry?.value) return null;
      const context = decodeContext(entry.value);
      if (context.closedAtMs !== null) return context;
      const closed = { ...context, closedAtMs: Date.now() };
      if (await this.#write(entry.sequence, closed, name)) return closed;
    }
    throw new StreamError(
      "NOT_READY",
      `upload context ${id} changes all the time: try again later`,
    );
  }

  /** @returns False where somebody was faster. */
  async #write(expected: number, context: UploadContext, name: string): Promise<boolean> {
    const key = contextKey(context.id);
    const outcome = await this.bucket.write(key, expected, encodeContext(context), name);
    if (!("sequence" in outcome)) return false;
    this.changes.made(outcome.sequence, context);
    return true;
  }
}
