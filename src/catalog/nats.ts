/**
 * A catalog that any number of nodes share, in buckets of NATS JetStream.
 *
 * Every change is compare-and-set in the engine, and `get` asks its leader; whatever looks at many records looks at a
 * copy of this node (`nats/copy.ts`), which is milliseconds behind.
 * @module
 */
import type {
  Catalog,
  CatalogTime,
  ContextAttributes,
  ContextQuery,
  EndedQuery,
  RecordChange,
  ResourceChange,
  ResourceQuery,
  ResourceRecord,
  UploadContext,
} from "../catalog.ts";
import { Account } from "../cluster/account.ts";
import { CONTEXT_BUCKET, type Engine, RECORD_BUCKETS, SETTINGS_BUCKET } from "../cluster/engine.ts";
import { isFinal, StreamError, toStreamError } from "../protocol.ts";
import { STEPS } from "../turn.ts";
import { Bucket, type Entry } from "../cluster/bucket.ts";
import { Contexts } from "./nats/contexts.ts";
import { type Buckets, Copy, type LeftCopy, leftCopy } from "./nats/copy.ts";
import { decodeRecord, encodeRecord } from "./nats/encoding.ts";
import { keepTime, lastTime } from "./nats/time.ts";

/** A stalled engine is waited for so long, in ms; an election takes 4 to 9 s. */
const WAIT_MS = 12_000;
/** A copy that is so much behind is none to show, in ms. */
const MOST_LAG_MS = 15_000;
/** How often a change is tried again that others were faster with. */
const ATTEMPTS = 20;
/** What the name of a change begins with that tells of a record that is gone, though no node deleted it. */
const GONE = "gone ";
/** Changes of which nobody knows whether they were made. */
const MOST_DOUBTS = 10_000;
/** Records whose last change is remembered: more than there are uploads at a time. */
const MOST_OWN = 2000;
/** What is new is refused from here on: a bucket without room takes neither changes nor deletions. */
const MOST_FILLED = 0.9;

/** How a {@link NatsCatalog} behaves. */
export interface NatsCatalogOptions {
  /** File of the copy; only this instance uses it. */
  path: string;
  /** How long a stalled engine is waited for, in ms; 12 000 by default. */
  waitMs?: number;
}

/**
 * Catalog in NATS JetStream, which other instances share.
 *
 * While the engine elects a leader, calls wait; after 12 s they fail with NOT_READY.
 */
export class NatsCatalog implements Catalog {
  readonly #records: readonly Bucket[];
  readonly #contexts: Contexts;
  readonly #settings: Bucket;
  readonly #copy: Copy;
  readonly #account: Account;
  readonly #engine: Engine;
  /** Records as this instance wrote them, which it will most probably write again. */
  readonly #own = new Map<string, { sequence: number; record: ResourceRecord }>();
  /** Records that changes were made from, by their names, of which nobody knows whether they were made. */
  readonly #doubts = new Map<string, string>();
  /** Changes that made records, of which nobody knows either, and which were refused to whoever wanted them. */
  readonly #refused = new Set<string>();
  readonly #instance = crypto.randomUUID();
  #changes = 0;

  private constructor(engine: Engine, buckets: Buckets, settings: Bucket, left: LeftCopy) {
    this.#records = buckets.records;
    this.#contexts = new Contexts(buckets.contexts, {
      checkRoom: () => this.#checkRoom(buckets.contexts),
      name: () => this.#nameChange(),
      made: (sequence, context) => this.#copy.madeContext(sequence, context),
    });
    this.#settings = settings;
    this.#copy = new Copy(engine, buckets, left, {
      heard: (change, { id, createdAtMs }) => {
        if (this.#refused.delete(change)) this.#takeBack(id, createdAtMs);
      },
      shrunk: (bucket) => this.#forgetPurged(engine, bucket),
    });
    this.#account = new Account(engine);
    this.#engine = engine;
  }

  /**
   * Opens the catalog, when its copy has everything: what is missing of it is fetched first.
   * @param engine Where the records are; not closed with the catalog.
   * @param options Where the copy is.
   * @throws {StreamError} STORAGE_FAILED, NOT_READY.
   */
  static async open(
    engine: Engine,
    { path, waitMs = WAIT_MS }: NatsCatalogOptions,
  ): Promise<NatsCatalog> {
    const bucket = (name: string) => new Bucket(engine, name, waitMs);
    const buckets = { records: RECORD_BUCKETS.map(bucket), contexts: bucket(CONTEXT_BUCKET) };
    const left = await leftCopy(engine, buckets, path);
    const catalog = new NatsCatalog(engine, buckets, bucket(SETTINGS_BUCKET), left);
    try {
      await engine.insist(waitMs, () => catalog.caughtUp());
      await catalog.#account.ask();
      await catalog.#copy.keep();
    } catch (error) {
      await catalog.close();
      throw toStreamError(error, "NOT_READY");
    }
    return catalog;
  }

  /** Resolves when a bucket is not what it was, so that the copy here is none of it. */
  get lost(): Promise<StreamError> {
    return this.#copy.lost;
  }

  /** For how long the copy may have missed something, in ms. */
  get lagMs(): number {
    return this.#copy.lagMs;
  }

  /** Waits until the copy has everything that was stored anywhere when this was called. */
  caughtUp(): Promise<void> {
    return this.#copy.caughtUp();
  }

  /**
   * Adds a record; one that is made although this fails is removed as soon as it shows.
   * @param record The record.
   * @param since Number of the change since which its id must not have been touched (`look`).
   * @throws {StreamError} CONFLICT, QUOTA_EXCEEDED, NOT_READY, STORAGE_FAILED.
   */
  async create(record: ResourceRecord, since?: number): Promise<void> {
    const { id, createdAtMs } = record;
    this.#checkRoom(this.#bucketOf(id));
    const value = encodeRecord(record);
    const change = this.#nameChange();
    let expected = since ?? 0;
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const outcome = await this.#bucketOf(id).write(id, expected, value, change)
        .catch((error) => this.#refuse(id, createdAtMs, change, error));
      if ("sequence" in outcome) return this.#made(id, outcome.sequence, decodeRecord(value));
      if (outcome.found?.value) break;
      if (since !== undefined) {
        throw new StreamError("CONFLICT", `what there was of ${id} was deleted meanwhile`);
      }
      // It was deleted, and may be used again.
      expected = outcome.found?.sequence ?? 0;
    }
    throw new StreamError("CONFLICT", `the resource ${id} exists already`);
  }

  /** @throws {StreamError} QUOTA_EXCEEDED. */
  #checkRoom(bucket: Bucket): void {
    if (this.#account.filled >= MOST_FILLED) {
      throw new StreamError(
        "QUOTA_EXCEEDED",
        "the account of the nodes is nearly full in the engine: delete something, or raise its limits",
      );
    }
    if (this.#copy.filled(bucket) < MOST_FILLED) return;
    throw new StreamError(
      "QUOTA_EXCEEDED",
      `bucket ${bucket.name} of the engine is nearly full: delete something, or give it more max_bytes`,
    );
  }

  /** Whoever wanted a record is told that it was not made. */
  #refuse(id: string, createdAtMs: number, change: string, error: unknown): never {
    forgetFirst(this.#refused, MOST_DOUBTS);
    this.#refused.add(change);
    // It may have shown meanwhile.
    if (this.#copy.file.record(id)?.createdAtMs === createdAtMs) {
      this.#takeBack(id, createdAtMs);
    }
    throw error;
  }

  /** Removes a record that was made although whoever wanted it was told something else. */
  #takeBack(id: string, createdAtMs: number): void {
    // Where that fails, recovery finds an upload that nobody goes on with.
    void this.delete(id, createdAtMs).catch(() => {});
  }

  /** The record, or null; by the word of the engine. */
  async get(id: string): Promise<ResourceRecord | null> {
    const { value } = await this.#find(id) ?? {};
    return value ? decodeRecord(value) : null;
  }

  /** Whether the copy here has a record of an id, which is milliseconds behind. */
  knows(id: string): boolean {
    return this.#copy.file.record(id) !== null;
  }

  /** What the engine has of an id; what it has nothing of, and the copy has, somebody purged. */
  async #find(id: string): Promise<Entry | null> {
    const found = await this.#bucketOf(id).find(id);
    if (found === null) await this.#forget(id);
    return found;
  }

  /** Tells all nodes that a record is gone, if the copy has it, and the engine nothing at all. */
  async #forget(id: string): Promise<void> {
    if (!this.knows(id)) return;
    const change = GONE + this.#nameChange();
    const outcome = await this.#bucketOf(id).write(id, 0, null, change);
    if ("sequence" in outcome) this.#made(id, outcome.sequence, null);
  }

  /** Looks for records that somebody purged from a bucket, of which no change tells. */
  async #forgetPurged(engine: Engine, bucket: Bucket): Promise<void> {
    const { state } = await engine.streamInfo(bucket.stream, { subjects_filter: ">" });
    const keys = new Set(Object.keys(state.subjects ?? {}).map((each) => bucket.keyOf(each)));
    for (const ids of this.#copy.idPages()) {
      for (const id of ids) {
        if (this.#bucketOf(id) === bucket && !keys.has(id)) await this.#forget(id);
      }
      await STEPS.next("catalog");
    }
  }

  /** When a node deleted the record of an id, by the clocks of the engine; null where none did, as far as is known. */
  async deletedAtMs(id: string): Promise<number | null> {
    const bucket = this.#bucketOf(id);
    const { value = null, change = "" } = await bucket.find(id) ?? {};
    const isDeleted = value === null && change !== "" && !change.startsWith(GONE);
    return isDeleted ? await bucket.changedAtMs(id) : null;
  }

  /** The record like `get`, and the number of the last change of its id; 0 where it never had any. */
  async look(id: string): Promise<{ record: ResourceRecord | null; sequence: number }> {
    const { value = null, sequence = 0 } = await this.#bucketOf(id).find(id) ?? {};
    return { record: value && decodeRecord(value), sequence };
  }

  /** Touches an id that has no record: whoever looked before makes none of a log that is there. */
  async touch(id: string): Promise<boolean> {
    const change = this.#nameChange();
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const { record, sequence } = await this.look(id);
      if (record !== null) return false;
      if ("sequence" in await this.#bucketOf(id).write(id, sequence, null, change)) return true;
    }
    throw changing(id);
  }

  /** Changes a record if nobody did since it was read. */
  async update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord> {
    const base = `${id} ${revision}`;
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const { sequence, record } = await this.#basis(id, revision, base);
      const changed = { ...record, ...change, revision: record.revision + 1 };
      const value = encodeRecord(changed);
      const outcome = await this.#write(id, sequence, value, base);
      if ("sequence" in outcome) {
        this.#made(id, outcome.sequence, decodeRecord(value));
        return decodeRecord(value);
      }
      this.#own.delete(id);
    }
    throw changing(id);
  }

  /** Records in the order asked for. */
  list(query: ResourceQuery): Promise<ResourceRecord[]> {
    return this.#copy.file.list(query);
  }

  /** Finished resources that ended before a time. */
  listEnded(query: EndedQuery): Promise<ResourceRecord[]> {
    return this.#copy.file.listEnded(query);
  }

  /** Removes a record. */
  async delete(id: string, createdAtMs?: number): Promise<boolean> {
    const change = this.#nameChange();
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const entry = await this.#find(id);
      if (!entry?.value) return false;
      const record = decodeRecord(entry.value);
      if (record.createdAtMs !== (createdAtMs ?? record.createdAtMs)) return false;
      const outcome = await this.#bucketOf(id).write(id, entry.sequence, null, change);
      if ("sequence" in outcome) {
        this.#made(id, outcome.sequence, null);
        return true;
      }
    }
    throw changing(id);
  }

  /** Makes an upload context unless it exists. */
  createContext(id: string, attributes?: ContextAttributes): Promise<UploadContext> {
    return this.#contexts.create(id, attributes);
  }

  /** The upload context, or null; by the word of the engine. */
  getContext(id: string): Promise<UploadContext | null> {
    return this.#contexts.get(id);
  }

  /** Closes an upload context unless it is closed. */
  closeContext(id: string): Promise<UploadContext | null> {
    return this.#contexts.close(id);
  }

  /** Upload contexts, newest first. */
  listContexts(query: ContextQuery): Promise<UploadContext[]> {
    return this.#copy.file.listContexts(query);
  }

  /** Bytes of all resources, by upload context; those of one moment, as others change meanwhile. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    return this.#copy.usage();
  }

  /** Hears of every change of a record, on whichever node. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#copy.watch(listener);
  }

  /** The time that any node kept last. */
  lastTime(): Promise<CatalogTime> {
    return lastTime(this.#settings, this.#nameChange());
  }

  /** Keeps the time, for the node that starts next. */
  keepTime(time: CatalogTime): Promise<void> {
    return keepTime(this.#settings, time, this.#nameChange());
  }

  /** Finds out whether the engine takes records, and the copy here is one to show. */
  async probe(): Promise<void> {
    const { refusal } = this.#engine;
    if (refusal !== null) {
      throw new StreamError("WRONG_STATE", `the engine refuses the connection: ${refusal}`);
    }
    if (this.lagMs > MOST_LAG_MS) throw new StreamError("NOT_READY", "the engine does not answer");
    try {
      await this.caughtUp();
      await Promise.all(this.#records.map((bucket) => bucket.probe()));
      for (const bucket of this.#records) this.#checkRoom(bucket);
    } catch (error) {
      throw toStreamError(error, "NOT_READY");
    }
  }

  /** Ends the copy where it is; the engine stays open. */
  async close(): Promise<void> {
    this.#account.close();
    await this.#copy.close();
  }

  /** What an update changes: the record at a revision, and the number of its last change. */
  async #basis(
    id: string,
    revision: number,
    base: string,
  ): Promise<{ sequence: number; record: ResourceRecord }> {
    const own = this.#own.get(id);
    if (own?.record.revision === revision) return own;
    const entry = await this.#find(id);
    if (!entry?.value) throw new StreamError("NOT_FOUND", `there is no resource ${id}`);
    const record = decodeRecord(entry.value);
    // An earlier change from the same record was made after all: whoever made it goes on from it.
    if (record.revision !== revision && this.#doubts.get(entry.change) !== base) {
      const message = `resource ${id} is at revision ${record.revision}, not ${revision}`;
      throw new StreamError("CONFLICT", message);
    }
    return { sequence: entry.sequence, record };
  }

  /** Changes a record; where nobody knows whether it was made, that is found out by the next change. */
  async #write(id: string, expected: number, value: Uint8Array, base: string) {
    const change = this.#nameChange();
    try {
      return await this.#bucketOf(id).write(id, expected, value, change);
    } catch (error) {
      forgetFirst(this.#doubts, MOST_DOUBTS);
      this.#doubts.set(change, base);
      throw error;
    }
  }

  /** A record was changed through this instance. */
  #made(id: string, sequence: number, is: ResourceRecord | null): void {
    this.#own.delete(id);
    if (is !== null && !isFinal(is.transferStatus)) this.#own.set(id, { sequence, record: is });
    if (this.#own.size > MOST_OWN) this.#own.delete(this.#own.keys().next().value!);
    this.#copy.made(id, sequence, is);
  }

  #bucketOf(id: string): Bucket {
    return this.#copy.bucketOf(id);
  }

  #nameChange(): string {
    return `${this.#instance}.${++this.#changes}`;
  }
}

/** Makes room for one more. */
function forgetFirst(known: Map<string, unknown> | Set<string>, most: number): void {
  if (known.size >= most) known.delete(known.keys().next().value!);
}

function changing(id: string): StreamError {
  return new StreamError("NOT_READY", `resource ${id} changes all the time: try again later`);
}
