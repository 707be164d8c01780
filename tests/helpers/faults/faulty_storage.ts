/** A machine that fails at a chosen step, or stops there and forgets what was not brought to disk. */
import { setImmediate as turn } from "node:timers/promises";
import type { Catalog } from "../../../src/catalog.ts";
import { MemoryCatalog } from "../../../src/catalog/memory.ts";
import { StreamError } from "../../../src/protocol.ts";
import type { LogReader, LogWriter, Storage } from "../../../src/storage.ts";
import { MemoryStorage } from "../../../src/storage/memory.ts";
import { concat } from "../bytes.ts";
import type { Chance } from "../random.ts";
import { changed, override } from "../storage.ts";

/** What happens at a step: it fails, it and all later ones fail, or the machine stops. */
export type Trouble = "once" | "always" | "stop";

/**
 * What survives a stop: all that the process wrote; what was brought to disk; or that, and a size that promises more:
 * behind what was brought to disk any byte may have become zero.
 */
export type Survival = "written" | "flushed" | "zeroed";

/** How a log stands on the disk. */
interface OnDisk {
  lineAccess: boolean;
  size: number;
  /** Bytes that a flush brought to disk; -1 before its directory entry was. */
  flushed: number;
  /** The kernel forgets what it failed to flush: a later flush that succeeds does not bring it to disk. */
  holeAt: number;
}

/** The steps of one resource on storage and catalog, counted, and trouble at one of them. */
export class FaultyMachine {
  /** Steps until now. */
  steps = 0;
  /** Name of the step that met trouble. */
  met: string | null = null;
  /** Whether the machine stopped. */
  stopped = false;
  /** A machine that is started on what only its disk kept is another boot. */
  readonly boot: string;
  readonly storage: Storage;
  readonly catalog: Catalog;
  readonly #chance: Chance;
  readonly #memory: MemoryStorage;
  readonly #logs: Map<string, OnDisk>;
  readonly #journal: Redo[];
  #at: number;
  /** Whether steps are counted, and of which resource; those of the catalog as a whole are everybody's. */
  #armed = false;
  #subject: string | null = null;
  #journalFlushed: number;

  /**
   * @param at Number of the step that meets trouble, from 1; Infinity for none.
   * @param trouble What happens there.
   * @param chance Decides what is left open.
   * @param before What an earlier machine left.
   */
  constructor(at: number, readonly trouble: Trouble, chance: Chance, before?: Survivors) {
    this.#at = at;
    this.#chance = chance;
    this.boot = before?.boot ?? crypto.randomUUID();
    this.#memory = before?.storage ?? new MemoryStorage();
    this.#logs = before?.logs ?? new Map();
    this.#journal = before?.journal ?? [];
    this.#journalFlushed = this.#journal.length;
    this.storage = this.#faultyStorage(this.#memory);
    this.catalog = this.#faultyCatalog(before?.catalog ?? new MemoryCatalog());
  }

  /** From now on the steps of a resource are counted; without an id of the one that is created next. */
  arm(id: string | null = null): void {
    this.#armed = true;
    this.#subject = id;
  }

  /** From now on nothing fails. */
  heal(): void {
    this.#at = Infinity;
  }

  /** What a machine that is started after this one finds. */
  async survivors(survival: Survival): Promise<Survivors> {
    const storage = new MemoryStorage();
    const logs = new Map<string, OnDisk>();
    for (const [id, log] of this.#logs) {
      const least = survival === "written" ? log.size : log.flushed;
      if (least < 0 && this.#chance.happens(0.5)) continue;
      const size = this.#chance.whole(Math.max(0, least), log.size);
      const reader = await this.#memory.openReader(id);
      const writer = await storage.create(id, { lineAccess: log.lineAccess, epoch: 0 });
      const bytes = (await reader.read(0, size)).slice();
      if (survival === "zeroed") this.#zero(bytes, Math.max(0, log.flushed));
      await writer.append(0, [bytes]);
      logs.set(id, { ...log, size, flushed: size, holeAt: Infinity });
    }
    const least = survival === "written" ? this.#journal.length : this.#journalFlushed;
    const journal = this.#journal.slice(0, this.#chance.whole(least, this.#journal.length));
    const catalog = new MemoryCatalog();
    for (const redo of journal) await redo(catalog);
    const boot = survival === "written" ? this.boot : undefined;
    return { storage, catalog, logs, journal, boot };
  }

  /** Loses a run of bytes behind what was brought to disk. */
  #zero(bytes: Uint8Array, flushed: number): void {
    const start = this.#chance.whole(Math.min(flushed, bytes.length), bytes.length);
    bytes.fill(0, start, this.#chance.whole(start, bytes.length));
  }

  /** One step, unless it meets trouble; a machine that stops may have done it, or a part. */
  async #step<T>(
    name: string,
    id: string | null,
    action: () => Promise<T>,
    part: () => Promise<unknown> = action,
  ): Promise<T> {
    await turn();
    if (this.stopped) throw new StreamError("STORAGE_FAILED", "the machine stopped");
    if (!this.#armed || id !== null && id !== this.#subject) return await action();
    this.steps++;
    const isMet = this.trouble === "always" ? this.steps >= this.#at : this.steps === this.#at;
    if (!isMet) return await action();
    this.met ??= name;
    if (this.trouble === "stop") {
      if (this.#chance.happens(0.5)) await part();
      this.stopped = true;
    }
    throw new StreamError("STORAGE_FAILED", `${name}: EIO`);
  }

  #faultyStorage(memory: MemoryStorage): Storage {
    return changed(memory, {
      storage: {
        boot: this.boot,
        create: (id, options) => {
          if (this.#armed) this.#subject ??= id;
          return this.#step("create", id, async () => {
            const { lineAccess } = options;
            this.#logs.set(id, { lineAccess, size: 0, flushed: -1, holeAt: Infinity });
            return this.#faultyWriter(id, await memory.create(id, options));
          });
        },
        recover: (id, options) =>
          this.#step(
            "recover",
            id,
            async () => this.#faultyWriter(id, await memory.recover(id, options)),
          ),
        openReader: (id) =>
          this.#step(
            "openReader",
            id,
            async () => this.#faultyReader(id, await memory.openReader(id)),
          ),
        follow: (id, listener) => this.#step("follow", id, () => memory.follow(id, listener)),
        delete: (id) =>
          this.#step("delete", id, () => {
            this.#logs.delete(id);
            return memory.delete(id);
          }),
      },
    });
  }

  #faultyWriter(id: string, writer: LogWriter): LogWriter {
    const log = this.#logs.get(id)!;
    const append: LogWriter["append"] = async (byteOffset, parts, statusOf) => {
      await writer.append(byteOffset, parts, statusOf);
      log.size = writer.size;
    };
    const torn = async (byteOffset: number, parts: readonly Uint8Array[]) => {
      const bytes = concat(parts);
      await append(byteOffset, [bytes.slice(0, this.#chance.whole(0, bytes.length))]);
    };
    // Writing and the checkpoint behind it may fail each by itself, and neither leaves a trace then.
    const appendAndShow: LogWriter["append"] = (byteOffset, parts, statusOf) => {
      const write = () =>
        this.#step(
          "append",
          id,
          () => append(byteOffset, parts, statusOf),
          () => torn(byteOffset, parts),
        );
      if (statusOf === undefined) return write();
      if (parts.length === 0) {
        return this.#step("checkpoint", id, () => append(byteOffset, [], statusOf));
      }
      return this.#step("checkpoint", id, write, () => torn(byteOffset, parts));
    };
    const flush = async (name: string, step: () => Promise<void>) => {
      try {
        await this.#step(name, id, async () => {
          await step();
          log.flushed = Math.min(writer.size, log.holeAt);
        });
      } catch (error) {
        log.holeAt = Math.min(log.holeAt, Math.max(0, log.flushed));
        throw error;
      }
    };
    return override(writer, {
      append: appendAndShow,
      announce: (status) => this.#step("announce", id, () => writer.announce(status)),
      settle: () => this.#step("settle", id, async () => await writer.settle?.()),
      flushData: () => flush("flushData", async () => await writer.flushData?.()),
      flush: () => flush("flush", async () => await writer.flush?.()),
      close: () => this.#step("close", id, () => writer.close()),
    });
  }

  #faultyReader(id: string, reader: LogReader): LogReader {
    return override(reader, {
      read: (byteOffset, byteCount, buffer) =>
        this.#step("read", id, () => reader.read(byteOffset, byteCount, buffer)),
    });
  }

  #faultyCatalog(memory: Catalog): Catalog {
    const write = <T>(name: string, id: string, redo: (catalog: Catalog) => Promise<T>) =>
      this.#step(name, id, async () => {
        const result = await redo(memory);
        this.#journal.push(redo);
        return result;
      });
    return override(memory, {
      create: (record) => write("create record", record.id, (to) => to.create(record)),
      update: (id, revision, change) =>
        write("update record", id, (to) => to.update(id, revision, change)),
      delete: (id, createdAtMs) => write("delete record", id, (to) => to.delete(id, createdAtMs)),
      get: (id) => this.#step("get record", id, () => memory.get(id)),
      sync: () =>
        this.#step("sync catalog", null, () => {
          this.#journalFlushed = this.#journal.length;
          return Promise.resolve();
        }),
    });
  }
}

/** A change of the catalog, for another one. */
type Redo = (catalog: Catalog) => Promise<unknown>;

/** What a later machine begins with. */
export interface Survivors {
  storage: MemoryStorage;
  catalog: MemoryCatalog;
  logs: Map<string, OnDisk>;
  journal: Redo[];
  /** Boot in which what was written still is as it was; another one by default. */
  boot: string | undefined;
}
