/**
 * Upload contexts and their attributes, which never change once the context was made.
 * @module
 */
import type { Catalog, ContextAttributes, UploadContext } from "../catalog.ts";
import { checkContextId, StreamError } from "../protocol.ts";

/** Contexts whose attributes are kept in memory. */
const MAX_KNOWN = 1000;

/** Attributes of one context, as JSON in UTF-8. */
const MAX_ATTRIBUTES_BYTES = 16 * 1024;

/** Attributes of uploads without a context. */
const NONE: ContextAttributes = Object.freeze({});

const encoder = new TextEncoder();

/** Makes and finds upload contexts, and knows the attributes of the newest. */
export class Contexts {
  readonly #catalog: Catalog;
  readonly #checkRoom: () => Promise<void>;
  /** The ones that were used first come first. */
  readonly #known = new Map<string, ContextAttributes>();

  /**
   * @param catalog Where contexts are.
   * @param checkRoom Refuses a new one where there is no room: nobody deletes contexts.
   */
  constructor(catalog: Catalog, checkRoom: () => Promise<void>) {
    this.#catalog = catalog;
    this.#checkRoom = checkRoom;
  }

  /**
   * Makes a context unless it exists; one that does keeps its attributes.
   * @throws {StreamError} BAD_METADATA, QUOTA_EXCEEDED.
   */
  async make(id: string, attributes: ContextAttributes = NONE): Promise<UploadContext> {
    checkAttributes(attributes);
    const known = await this.find(checkContextId(id));
    if (known !== null) return known;
    await this.#checkRoom();
    return this.#learn(await this.#catalog.createContext(id, attributes));
  }

  /** The context, or null. */
  async find(id: string): Promise<UploadContext | null> {
    const context = await this.#catalog.getContext(id);
    return context === null ? null : this.#learn(context);
  }

  /** Attributes of a context, if memory has them. */
  recall(id: string | null): ContextAttributes | undefined {
    return id === null ? NONE : this.#known.get(id);
  }

  /** Attributes of a context; none where there is no such context. */
  async attributes(id: string | null): Promise<ContextAttributes> {
    return this.recall(id) ?? (await this.find(id!))?.attributes ?? NONE;
  }

  #learn(context: UploadContext): UploadContext {
    const { id, attributes } = context;
    this.#known.delete(id);
    this.#known.set(id, Object.freeze(attributes));
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    return context;
  }
}

/** @throws {StreamError} BAD_METADATA. */
function checkAttributes(attributes: ContextAttributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") continue;
    throw new StreamError("BAD_METADATA", `the attribute ${JSON.stringify(name)} is no text`);
  }
  const byteCount = encoder.encode(JSON.stringify(attributes)).length;
  if (byteCount <= MAX_ATTRIBUTES_BYTES) return;
  throw new StreamError(
    "BAD_METADATA",
    `the attributes have ${byteCount} bytes as JSON, ${MAX_ATTRIBUTES_BYTES} at most`,
  );
}
