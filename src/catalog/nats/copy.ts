/**
 * What a node has of the catalog that it shares: a copy in a file (`projection.ts`), which follows the changes of all
 * nodes (`feed.ts`) and shows its own ones at once.
 * @module
 */
import type { RecordChange, ResourceRecord, UploadContext } from "../../catalog.ts";
import { type Bucket, MARKER_HOURS } from "../../cluster/bucket.ts";
import { type Engine, shardOf } from "../../cluster/engine.ts";
import type { StreamError } from "../../protocol.ts";
import type { CatalogFile } from "../sqlite/file.ts";
import { Watchers } from "../watchers.ts";
import { contextKey, decodeContext, decodeRecord } from "./encoding.ts";
import { type Change, Feed } from "./feed.ts";
import { type Position, Projection } from "./projection.ts";

/** How often it is kept how far the copy is, in ms. */
const KEEP_MS = 1000;
/** A change that a copy has may be so much later than it says that it had everything, in ms. */
const HEARD_WITHIN_MS = 10_000;
/** Deletions that a copy missed are told for so long; an older one is made anew. */
const OLDEST_COPY_MS = MARKER_HOURS / 2 * 3_600_000;

/** What is copied. */
export interface Buckets {
  /** Those of records. */
  records: readonly Bucket[];
  /** That of contexts. */
  contexts: Bucket;
}

/** A copy as it was left, and where its buckets end by now. */
export interface LeftCopy {
  /** The file. */
  projection: Projection;
  /** Where each bucket ends. */
  ends: ReadonlyMap<Bucket, Position>;
  /** How many records the file has of each. */
  held: Map<Bucket, number>;
}

/** Who has a copy. */
export interface CopyOwner {
  /** Hears of a record that somebody made or changed, before it shows. */
  heard(change: string, record: ResourceRecord): void;
  /** Looks for records that somebody took from a bucket, of which no change tells. */
  shrunk(bucket: Bucket): Promise<void>;
}

/** The copy of a node. */
export class Copy {
  readonly #buckets: Buckets;
  readonly #owner: CopyOwner;
  readonly #projection: Projection;
  readonly #feeds: ReadonlyMap<Bucket, Feed>;
  readonly #watchers = new Watchers();
  /** How many records it has of each bucket. */
  #held: Map<Bucket, number>;
  /** Own changes that it has, and the feed has not brought yet, by their keys. */
  readonly #ahead = new Map<string, { bucket: Bucket; sequence: number }>();
  readonly #lost = Promise.withResolvers<StreamError>();
  readonly #keeper: ReturnType<typeof setInterval>;

  /**
   * Begins to hear of changes; see `caughtUp`.
   * @param engine Where the buckets are.
   * @param buckets What is copied.
   * @param left The copy as it was left.
   * @param owner Who has it.
   */
  constructor(engine: Engine, buckets: Buckets, left: LeftCopy, owner: CopyOwner) {
    this.#buckets = buckets;
    this.#owner = owner;
    this.#projection = left.projection;
    this.#held = left.held;
    const positions = left.projection.positions();
    this.#feeds = new Map(Array.from(left.ends, ([bucket, end]) => {
      const position = positions.get(bucket.name) ?? { ...end, sequence: 0 };
      return [bucket, this.#feed(engine, bucket, position)];
    }));
    // What the disk refuses now is kept the next time.
    this.#keeper = setInterval(() => void this.keep().catch(() => {}), KEEP_MS);
  }

  #feed(engine: Engine, bucket: Bucket, position: Position): Feed {
    const isOfRecords = bucket !== this.#buckets.contexts;
    return new Feed(engine, bucket, position, {
      take: (changes) => this.#take(bucket, changes),
      held: () => this.#held.get(bucket) ?? 0,
      shrunk: () => isOfRecords ? this.#owner.shrunk(bucket) : Promise.resolve(),
      lost: this.#lost.resolve,
    });
  }

  /** The file, for those who look at many records. */
  get file(): CatalogFile {
    return this.#projection.file;
  }

  /** Ids of all records, in their order, some at a time. */
  idPages(): Generator<string[], void, void> {
    return this.#projection.idPages();
  }

  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]> {
    return this.file.read(() => this.#projection.usage());
  }

  /** Hears of every change of a record, on whichever node. */
  watch(listener: (change: RecordChange) => void): () => void {
    return this.#watchers.add(listener);
  }

  /** Resolves when a bucket is not what it was, so that this is no copy of it. */
  get lost(): Promise<StreamError> {
    return this.#lost.promise;
  }

  /** For how long it may have missed something, in ms. */
  get lagMs(): number {
    return Math.max(...Array.from(this.#feeds.values(), (feed) => feed.lagMs));
  }

  /** Waits until it has everything that was stored anywhere when this was called. */
  async caughtUp(): Promise<void> {
    await Promise.all(Array.from(this.#feeds.values(), (feed) => feed.caughtUp()));
  }

  /** How full a bucket was when that was asked for last: 1 for no room. */
  filled(bucket: Bucket): number {
    return this.#feeds.get(bucket)!.filled;
  }

  /** The bucket of a record. */
  bucketOf(id: string): Bucket {
    return bucketOf(this.#buckets.records, id);
  }

  /** Shows a record that was changed through this node: those who watch are told before that is said to be done. */
  made(id: string, sequence: number, is: ResourceRecord | null): void {
    this.#showOwn(this.bucketOf(id), id, sequence, () => this.#show(id, is));
  }

  /** Shows a context that was made or changed through this node. */
  madeContext(sequence: number, context: UploadContext): void {
    const show = () => this.#projection.putContext(context);
    this.#showOwn(this.#buckets.contexts, contextKey(context.id), sequence, show);
  }

  /** Shows an own change, unless a feed brought it, or one after it. */
  #showOwn(bucket: Bucket, key: string, sequence: number, show: () => void): void {
    const feed = this.#feeds.get(bucket)!;
    if (sequence <= feed.position.sequence) return;
    feed.hears(sequence);
    if (sequence <= (this.#ahead.get(key)?.sequence ?? 0)) return;
    try {
      show();
      this.#ahead.set(key, { bucket, sequence });
    } catch { /* The feed brings it again. */ }
  }

  /** Takes what a feed brings. */
  #take(bucket: Bucket, changes: readonly Change[]): void {
    const take = () => changes.forEach((change) => this.#takeOne(bucket, change));
    try {
      if (changes.length > 1) this.#projection.together(take);
      else take();
    } catch (error) {
      this.#held = countIn(this.#buckets.records, this.#projection.ids());
      throw error;
    }
  }

  #takeOne(bucket: Bucket, { key, entry: { sequence, value, change } }: Change): void {
    const isOfRecords = bucket !== this.#buckets.contexts;
    const record = isOfRecords && value !== null ? decodeRecord(value) : null;
    if (record !== null) this.#owner.heard(change, record);
    const ahead = this.#ahead.get(key)?.sequence ?? 0;
    if (ahead <= sequence) this.#ahead.delete(key);
    if (ahead >= sequence) return;
    if (isOfRecords) this.#show(key, record);
    else if (value !== null) this.#projection.putContext(decodeContext(value));
  }

  /** Shows a record as it is now, and tells those who watch. */
  #show(id: string, is: ResourceRecord | null): void {
    let was = this.file.record(id);
    // An id that was used again, of which the deletion was missed, is two resources.
    if (was !== null && (is === null || was.createdAtMs !== is.createdAtMs)) {
      this.#projection.remove(id);
      this.#counted(id, -1);
      this.#watchers.tell({ was, is: null });
      was = null;
    }
    if (is === null) return;
    this.#projection.put(was, is);
    if (was === null) this.#counted(id, 1);
    this.#watchers.tell({ was, is });
  }

  #counted(id: string, change: 1 | -1): void {
    const bucket = this.bucketOf(id);
    this.#held.set(bucket, (this.#held.get(bucket) ?? 0) + change);
  }

  /** Keeps how far it is. */
  keep(): Promise<void> {
    return this.file.write(() => {
      for (const [{ name }, { position }] of this.#feeds) this.#projection.keep(name, position);
      // What a feed passed over was changed again since.
      for (const [key, { bucket, sequence }] of this.#ahead) {
        if (sequence <= this.#feeds.get(bucket)!.position.sequence) this.#ahead.delete(key);
      }
    });
  }

  /** Ends it where it is. */
  async close(): Promise<void> {
    clearInterval(this.#keeper);
    await Promise.all(Array.from(this.#feeds.values(), (feed) => feed.close()));
    await this.keep().catch(() => {});
    await this.#projection.close();
  }
}

/**
 * Opens the copy that a node left here, if it can be gone on with; else an empty one.
 * @param engine Where the buckets are.
 * @param buckets What is copied.
 * @param path The file.
 * @throws {StreamError} STORAGE_FAILED, NOT_READY.
 */
export async function leftCopy(
  engine: Engine,
  { records, contexts }: Buckets,
  path: string,
): Promise<LeftCopy> {
  const ends = new Map<Bucket, Position & { messages: number }>();
  for (const bucket of [...records, contexts]) {
    const { created: life, state, ts } = await engine.streamInfo(bucket.stream);
    const { last_seq: sequence, messages } = state;
    ends.set(bucket, { life, sequence, messages, atMs: Date.parse(ts!) });
  }
  let held = new Map<Bucket, number>();
  const projection = new Projection(path, (positions, ids) => {
    held = countIn(records, ids);
    const fits = [...ends].every(([bucket, { life, sequence, messages, atMs }]) => {
      const known = positions.get(bucket.name);
      return known?.life === life && known.sequence <= sequence &&
        (held.get(bucket) ?? 0) <= messages && Math.abs(atMs - known.atMs) < OLDEST_COPY_MS;
    });
    if (!fits) held.clear();
    return fits;
  });
  const known = projection.positions();
  for (const bucket of ends.keys()) {
    const position = known.get(bucket.name);
    if (position === undefined || await goesOnFrom(position, engine, bucket)) continue;
    await projection.close();
    return { projection: new Projection(path, () => false), ends, held: new Map() };
  }
  return { projection, ends, held };
}

/**
 * Whether a bucket goes on from where a copy was kept. One that was put back as it was before, with its disks, has the
 * same life, and what came since has numbers that the copy takes for known.
 */
async function goesOnFrom(
  { sequence, atMs }: Position,
  { jsm: { direct } }: Engine,
  { stream }: Bucket,
): Promise<boolean> {
  try {
    const start_time = new Date(atMs + HEARD_WITHIN_MS);
    for await (const next of await direct.getBatch(stream, { start_time, batch: 1 })) {
      return next.seq > sequence;
    }
  } catch { /* Nothing came since. */ }
  return true;
}

function bucketOf(records: readonly Bucket[], id: string): Bucket {
  return records[shardOf(id, records.length)];
}

/** How many of the ids belong into each bucket. */
function countIn(records: readonly Bucket[], ids: Iterable<string>): Map<Bucket, number> {
  const counts = new Map<Bucket, number>();
  for (const id of ids) {
    const bucket = bucketOf(records, id);
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  }
  return counts;
}
