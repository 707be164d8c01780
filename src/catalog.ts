/**
 * Records of resources and of upload contexts: what exists, and in which state.
 * @module
 */
import type {
  Digest,
  DigestAlgorithm,
  Outcome,
  ResourceMetadata,
  TransferStatus,
} from "./protocol.ts";

/** What a digest said of bytes that the disk has. */
export interface FlushedState {
  /** Bytes the state covers. */
  byteOffset: number;
  /** The saved state. */
  state: Uint8Array;
}

/** Where a digest stood, to continue it after a restart without reading everything again. */
export interface DigestState {
  /** Algorithm of the digest. */
  algorithm: DigestAlgorithm;
  /** Bytes the state covers. */
  byteOffset: number;
  /** The saved state. */
  state: Uint8Array;
  /** Version of the implementation that saved it; null where nobody knows. */
  version: string | null;
  /** Boot of the storage (`Storage.boot`) in which it was saved; null where nobody knows. */
  boot: string | null;
  /** First byte that a stop of the machine may have changed before it was read; null for none. */
  doubtfulFrom: number | null;
  /** The state up to which all was flushed; null where nobody knows, or where nothing has to be flushed. */
  flushed: FlushedState | null;
}

/** Words of an uploader on the whole, in advance; held against what arrives, whoever completes it. */
export interface Announcement {
  /** Size in bytes; null when it did not say. */
  size: number | null;
  /** Digest in lower-case hexadecimal, of the upload's algorithm; null when it did not say. */
  checksum: string | null;
}

/** Whose an unfinished upload is: a node may take it over when this is its own, did not change for a lease, or is not there. */
export interface Owner {
  /** Id of the node. */
  node: string;
  /** When it runs out unless it is renewed, by the clock of that node, in ms since 1970; Infinity for never. */
  untilMs: number;
  /** Set where nobody appends there: it waits for its uploader. A catalog of one node alone may forget it. */
  waits?: true;
  /** Set where it is taken over to be deleted, so that its uploader hears that; it may be forgotten likewise. */
  deletes?: true;
}

/** Whose an upload is: the connection's that registered it, theirs who know its secret, or anybody's. */
export type Ownership = "CONNECTION" | "SECRET" | "ANYBODY";

/** An append that counts whole or not at all, and what the annotation is once it counts. */
export interface Intent {
  /** Where its bytes begin. */
  byteOffset: number;
  /** How many there are. */
  byteCount: number;
  /** The annotation that belongs to them. */
  annotation: string;
}

/** Record of a resource; while it is written, its log knows better. */
export interface ResourceRecord {
  /** Id of the resource. */
  readonly id: string;
  /** Metadata that the upload announced. */
  readonly metadata: ResourceMetadata;
  /** Upload context; null without one. */
  readonly contextId: string | null;
  /** Time of registration, in ms since 1970. */
  readonly createdAtMs: number;
  /** State of the transfer. */
  transferStatus: TransferStatus;
  /** Bytes at the last update. */
  size: number;
  /** Lines at the last update; null without line access. */
  lines: number | null;
  /** Bytes known to be on disk at the last update. */
  durableSize: number;
  /** Ownership of the log. */
  epoch: number;
  /** Number of the last status within the epoch; below 0 so many epochs that were claimed by who has not had the log yet. */
  sequence: number;
  /** Why it failed; null unless FAILED. */
  failure: string | null;
  /** How the producer ended; only when COMPLETED, and the uploader told it. */
  outcome?: Outcome;
  /** Digest of the whole; null until COMPLETED. */
  digest: Digest | null;
  /** Where the digest stood; null once it is final. */
  digestState: DigestState | null;
  /** SHA-256 of the secret that proves ownership of the upload, in hexadecimal. */
  secretHash: string | null;
  /** Announcement of the whole by the uploader. */
  announced: Announcement;
  /** Whose the upload is. */
  readonly ownedBy: Ownership;
  /** What a face keeps for its clients; to everything else any text. */
  annotation?: string;
  /** The append that was about to be made at the last update; null for none. */
  intent?: Intent | null;
  /** Which node appends to it, or waits for its uploader; null for none. */
  owner: Owner | null;
  /** Time of the last update of the status, in ms since 1970. */
  updatedAtMs: number;
  /** Counts updates, from a number that no earlier life of the id came to; an update must know the current one. */
  revision: number;
}

/** The parts of a record that change. */
export type ResourceChange = Partial<
  Omit<
    ResourceRecord,
    "id" | "metadata" | "contextId" | "createdAtMs" | "ownedBy" | "revision"
  >
>;

/** Texts by name that the host of a server gave to an upload context; nothing of them is told to clients. */
export type ContextAttributes = Readonly<Record<string, string>>;

/** An upload context: a group of uploads (a test run, a job). */
export interface UploadContext {
  /** Its id, chosen by whoever made it. */
  id: string;
  /** Time it was made, in ms since 1970. */
  createdAtMs: number;
  /** Time since which it takes no more uploads, in ms since 1970; null while it does. */
  closedAtMs: number | null;
  /** What it was made with; never changes. */
  attributes: ContextAttributes;
}

/** Which upload contexts to list, page by page, newest first. */
export interface ContextQuery {
  /** Only those after this one in the order of the list. */
  after?: { createdAtMs: number; id: string };
  /** At most so many. */
  limit: number;
}

/** Which records to list, page by page. */
export interface ResourceQuery {
  /** Only those of one upload context. */
  contextId?: string;
  /** Only those in one of these states. */
  transferStatuses?: readonly TransferStatus[];
  /** Only those whose filename holds this, whatever the case of ASCII letters. */
  filenamePart?: string;
  /** Only those whose id begins so. */
  idPrefix?: string;
  /** Newest or oldest first; newest by default. */
  order?: "newest" | "oldest";
  /** Only those after this one in the order of the list. */
  after?: { createdAtMs: number; id: string };
  /** At most so many. */
  limit: number;
}

/** Which finished resources to list, page by page, the one that ended first first. */
export interface EndedQuery {
  /** Only those that ended before, in ms since 1970. */
  beforeMs: number;
  /** Only those after this one in the order of the list. */
  after?: { updatedAtMs: number; id: string };
  /** At most so many. */
  limit: number;
}

/** The time of a catalog at a moment: what passed while it was in use, whatever became of the clock. */
export interface CatalogTime {
  /** Time by which records age, in ms since 1970 for a clock that was always right. */
  steadyMs: number;
  /** What the machine's clock said then, in ms since 1970. */
  wallMs: number;
  /** Time that both leave out, as it may not have passed, in ms; 0 by default. */
  doubtMs?: number;
}

/** A change of a record: it was made (`was` is null), changed, or deleted (`is` is null). */
export interface RecordChange {
  /** The record before; null when it was made. */
  was: ResourceRecord | null;
  /** The record now; null when it was deleted. */
  is: ResourceRecord | null;
}

/** A place for records, which several instances may share; every write is compare-and-set. */
export interface Catalog {
  /** Adds a record; CONFLICT when the id exists. */
  create(record: ResourceRecord): Promise<void>;
  /** The record, or null. */
  get(id: string): Promise<ResourceRecord | null>;
  /**
   * Changes a record if nobody did since it was read.
   * @returns The record with its new revision.
   * @throws {StreamError} CONFLICT when the revision is another one; NOT_FOUND when the record is gone.
   */
  update(id: string, revision: number, change: ResourceChange): Promise<ResourceRecord>;
  /** Records in the order asked for, by the time of registration. */
  list(query: ResourceQuery): Promise<ResourceRecord[]>;
  /** Finished resources that ended before a time, the one that ended first first. */
  listEnded(query: EndedQuery): Promise<ResourceRecord[]>;
  /**
   * Removes a record.
   * @param id Its id.
   * @param createdAtMs When it was registered: its id may have been used again; whenever by default.
   * @returns False when there was none.
   */
  delete(id: string, createdAtMs?: number): Promise<boolean>;
  /**
   * Makes an upload context unless it exists.
   * @param id Its id.
   * @param attributes Kept as they are, unless it exists; none by default.
   * @returns It, either way.
   */
  createContext(id: string, attributes?: ContextAttributes): Promise<UploadContext>;
  /** The upload context, or null. */
  getContext(id: string): Promise<UploadContext | null>;
  /** Closes an upload context unless it is closed; returns it either way, or null when there is none. */
  closeContext(id: string): Promise<UploadContext | null>;
  /** Upload contexts, newest first. */
  listContexts(query: ContextQuery): Promise<UploadContext[]>;
  /** Bytes of all resources, by upload context. */
  usage(): Promise<{ contextId: string | null; bytes: number }[]>;
  /**
   * Hears of every change of a record, in order for each. A change made through this instance is told before its
   * promise resolves, one made elsewhere soon after.
   * @param listener Hears of it; it must not change what it is given.
   * @returns Ends it.
   */
  watch(listener: (change: RecordChange) => void): () => void;
  /** The time that was kept last; missing where nothing outlives the process. */
  lastTime?(): Promise<CatalogTime>;
  /** Keeps the time, for the process that comes next. */
  keepTime?(time: CatalogTime): Promise<void>;
  /** For how long lists and news may have missed something, in ms; missing where they miss nothing. */
  readonly lagMs?: number;
  /**
   * Touches an id that has no record, before a log is deleted that none names: nobody who saw that log makes its record
   * any more. Missing where nobody makes a record of a log that is there.
   * @returns False where it has a record.
   */
  touch?(id: string): Promise<boolean>;
  /**
   * Finds out whether records are taken now; missing where they always are.
   * @throws {StreamError} NOT_READY when what nodes share does not answer; anything else when they are not.
   */
  probe?(): Promise<void>;
  /** Brings everything written to disk; missing where a write is as safe as it gets. */
  sync?(): Promise<void>;
  /** Releases everything. */
  close(): Promise<void>;
}
