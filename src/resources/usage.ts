/**
 * How many bytes there are, in all and by upload context, and how many there may be.
 * @module
 */
import type { Catalog, RecordChange, ResourceRecord } from "../catalog.ts";
import { StreamError } from "../protocol.ts";
import type { Storage } from "../storage.ts";

/** Limits on bytes that belong to no single resource. */
export interface UsageLimits {
  /** Bytes of all resources of one upload context; no limit by default. */
  maxContextBytes?: number | undefined;
  /** Bytes of all resources; no limit by default. */
  maxTotalBytes?: number | undefined;
  /** Bytes that must stay free where the logs are; 0 by default. */
  minFreeBytes?: number | undefined;
}

/** Part of the total that room is made for at once, for several who need it. */
const MOST_AT_ONCE = 0.1;

/** So often room is made for one who needs it, and others take it. */
const MOST_ROUNDS = 1000;

/** How old a reading of the free space may be. */
const FREE_SPACE_AGE_MS = 1000;

/** Count of an upload that this node appends to; its record is up to a second behind. */
export class UploadAccount {
  readonly #usage: Usage;
  readonly #close: () => void;
  #counted: number;
  #isClosed = false;
  #isLeft = false;

  /** Use {@link Usage.openAccount}. */
  constructor(
    usage: Usage,
    readonly contextId: string | null,
    /** When it was registered. */
    readonly createdAtMs: number,
    /** Bytes of the record, as those who watch the catalog were told. */
    public recorded: number,
    close: () => void,
  ) {
    this.#usage = usage;
    this.#counted = recorded;
    this.#close = close;
  }

  /** Bytes that are counted. */
  get counted(): number {
    return this.#counted;
  }

  /**
   * Counts what is to be stored; once the record counts, an append that is under way still does not.
   * @param size Size of the resource then, in bytes.
   * @param announced Size that it is to have at the end.
   * @throws {StreamError} QUOTA_EXCEEDED, and nothing is counted.
   */
  async grow(size: number, announced: number | null = null): Promise<void> {
    if (this.#isClosed) return;
    this.#usage.checkWhole(this.contextId, announced ?? size);
    const bytes = size - this.#counted;
    await this.#usage.take(this.contextId, bytes);
    if (this.#isClosed) this.#usage.give(this.contextId, bytes);
    else this.#counted = size;
  }

  /** Takes back what was counted and then refused, unless the record counts. */
  settle(size: number): void {
    if (this.#isClosed) return;
    this.#usage.give(this.contextId, this.#counted - size);
    this.#counted = size;
  }

  /** Whether the record counts from its next change on. */
  get isLeft(): boolean {
    return this.#isLeft;
  }

  /** Nobody appends any more, and the record does not tell what there is. */
  leave(): void {
    this.#isLeft = true;
  }

  /** From now on the record counts. */
  close(): void {
    if (this.#isClosed) return;
    this.settle(this.recorded);
    this.#isClosed = true;
    this.#close();
  }
}

/** Counts what is stored and refuses what would be too much. */
export class Usage {
  readonly #limits: UsageLimits;
  readonly #storage: Storage;
  readonly #makeRoom: (bytes: number) => Promise<boolean>;
  readonly #contexts = new Map<string, number>();
  readonly #accounts = new Map<string, UploadAccount>();
  #total = 0;
  /** Free bytes at the last reading, less what was written since. */
  #freeBytes = Infinity;
  #readAtMs = -Infinity;
  /** Room is being made. */
  #making: Promise<boolean> | null = null;
  /** Bytes for which that is asked. */
  #needed = 0;

  /**
   * Counts nothing yet; see `load`.
   * @param limits What is too much.
   * @param storage Where the bytes are.
   * @param makeRoom Deletes what may be deleted so that so many more bytes are within the total; false when there is
   * nothing.
   */
  constructor(
    limits: UsageLimits,
    storage: Storage,
    makeRoom: (bytes: number) => Promise<boolean>,
  ) {
    this.#limits = limits;
    this.#storage = storage;
    this.#makeRoom = makeRoom;
  }

  /** Bytes of all resources. */
  get totalBytes(): number {
    return this.#total;
  }

  /** Starts again, with what the catalog knows. */
  async load(catalog: Catalog): Promise<void> {
    const counts = await catalog.usage();
    this.#total = 0;
    this.#contexts.clear();
    for (const { contextId, bytes } of counts) this.#count(contextId, bytes);
    for (const { contextId, counted, recorded } of this.#accounts.values()) {
      this.#count(contextId, counted - recorded);
    }
  }

  /**
   * Counts an upload of this node by itself, and no more by its record.
   * @param record The record.
   */
  openAccount({ id, contextId, size, createdAtMs }: ResourceRecord): UploadAccount {
    const left = this.#accounts.get(id);
    if (left?.createdAtMs === createdAtMs) left.close();
    const account = new UploadAccount(this, contextId, createdAtMs, size, () => {
      if (this.#accounts.get(id) === account) this.#accounts.delete(id);
    });
    this.#accounts.set(id, account);
    return account;
  }

  /** A record changed, here or on another node. */
  changed({ was, is }: RecordChange): void {
    const { id, contextId, createdAtMs } = (is ?? was)!;
    const account = this.#accounts.get(id);
    // An upload that was deleted elsewhere may still be ending when its id is used again.
    if (account?.createdAtMs !== createdAtMs) {
      return this.#count(contextId, (is?.size ?? 0) - (was?.size ?? 0));
    }
    account.recorded = is?.size ?? 0;
    if (is === null || account.isLeft) account.close();
  }

  /**
   * Asks before anything is deleted for a resource that would not fit if it were the only one.
   * @param contextId Upload context; null without one.
   * @param size Its size at the end, as far as it is known, in bytes.
   * @throws {StreamError} QUOTA_EXCEEDED.
   */
  checkWhole(contextId: string | null, size: number): void {
    const { maxTotalBytes = Infinity, maxContextBytes = Infinity } = this.#limits;
    if (size > maxTotalBytes) throw tooMuchInAll(maxTotalBytes);
    if (contextId !== null && size > maxContextBytes) {
      throw tooMuchInContext(contextId, maxContextBytes);
    }
  }

  /**
   * Counts bytes that are to be stored.
   * @param contextId Upload context; null without one.
   * @param bytes How many; 0 asks whether there is room at all.
   * @throws {StreamError} QUOTA_EXCEEDED, and nothing is counted.
   */
  async take(contextId: string | null, bytes: number): Promise<void> {
    const { maxTotalBytes = Infinity, minFreeBytes = 0 } = this.#limits;
    if (minFreeBytes > 0) await this.#measure(bytes + minFreeBytes);
    // Nothing is deleted for who may not have it anyway.
    this.#checkContext(contextId, bytes);
    this.#needed += bytes;
    try {
      // What others deleted may count for a moment yet.
      for (let rounds = 0; rounds < MOST_ROUNDS && this.#total + bytes > maxTotalBytes; rounds++) {
        // That there was nothing to be deleted for another one, who may need less, says nothing.
        const isOwn = this.#making === null;
        if (!await this.#shareRoom(bytes, maxTotalBytes) && isOwn) break;
      }
      this.#takeNow(contextId, bytes);
    } finally {
      this.#needed -= bytes;
    }
  }

  /** Makes room for one who needs it and all who wait, but not of everything that there is; false when there is nothing. */
  #shareRoom(bytes: number, maxTotalBytes: number): Promise<boolean> {
    const needed = Math.max(bytes, Math.min(this.#needed, maxTotalBytes * MOST_AT_ONCE));
    return this.#making ??= this.#makeRoom(needed).finally(() => this.#making = null);
  }

  /** Counts bytes that are to be stored; nothing is waited for, so that nobody else can take the same ones. */
  #takeNow(contextId: string | null, bytes: number): void {
    const { maxTotalBytes = Infinity, minFreeBytes = 0 } = this.#limits;
    if (this.#total + bytes > maxTotalBytes) throw tooMuchInAll(maxTotalBytes);
    this.#checkContext(contextId, bytes);
    if (this.#freeBytes < bytes + minFreeBytes) {
      throw new StreamError(
        "QUOTA_EXCEEDED",
        `less than ${minFreeBytes} bytes are free, which must stay so: see --min-free`,
      );
    }
    this.#freeBytes -= bytes;
    this.#count(contextId, bytes);
  }

  /** Whether less space is free than must stay so. */
  async isDiskFull(): Promise<boolean> {
    const { minFreeBytes = 0 } = this.#limits;
    if (minFreeBytes > 0) await this.#measure(minFreeBytes);
    return this.#freeBytes < minFreeBytes;
  }

  /** Bytes were deleted, or never stored after all. */
  give(contextId: string | null, bytes: number): void {
    this.#count(contextId, -bytes);
  }

  #count(contextId: string | null, bytes: number): void {
    this.#total += bytes;
    if (contextId === null) return;
    const inContext = (this.#contexts.get(contextId) ?? 0) + bytes;
    if (inContext > 0) this.#contexts.set(contextId, inContext);
    else this.#contexts.delete(contextId);
  }

  #checkContext(contextId: string | null, bytes: number): void {
    const { maxContextBytes = Infinity } = this.#limits;
    if (contextId === null) return;
    if ((this.#contexts.get(contextId) ?? 0) + bytes <= maxContextBytes) return;
    throw tooMuchInContext(contextId, maxContextBytes);
  }

  /** Reads the free bytes again when the last reading is old or would not be enough. */
  async #measure(wanted: number): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#readAtMs >= FREE_SPACE_AGE_MS || this.#freeBytes < wanted) {
      this.#readAtMs = nowMs;
      this.#freeBytes = await this.#storage.freeBytes?.() ?? Infinity;
    }
  }
}

function tooMuchInAll(maxBytes: number): StreamError {
  return new StreamError("QUOTA_EXCEEDED", `the server may hold ${maxBytes} bytes in all`);
}

function tooMuchInContext(contextId: string, maxBytes: number): StreamError {
  return new StreamError(
    "QUOTA_EXCEEDED",
    `upload context ${contextId} may hold ${maxBytes} bytes`,
  );
}
