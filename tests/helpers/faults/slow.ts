/** Storage and catalog whose calls take turns of the event loop, and may be refused: what each call meets, `meets` says. */
import type { Catalog, ResourceRecord } from "../../../src/catalog.ts";
import { StreamError } from "../../../src/protocol.ts";
import type { LogWriter, Storage, TailListener } from "../../../src/storage.ts";
import { changed, override } from "../storage.ts";

/** Calls that take their time. */
const OF_CATALOG = [
  ...["create", "get", "update", "delete"] as const,
  ...["createContext", "getContext", "closeContext"] as const,
];
const OF_STORAGE = ["create", "recover", "openReader", "delete", "follow", "newest"] as const;
const OF_WRITER = ["append", "announce", "settle", "flush", "flushData"] as const;

const DEAF: TailListener = { appended() {}, told() {} };

/**
 * What a call meets: it is refused, or nobody answers it and it was carried out all the same, or will be (`LATE`), as
 * with an engine that elects a leader.
 */
export type Refusal = "BEFORE" | "AFTER" | "LATE" | null;

/** What calls meet. */
export interface Meeting {
  /** Waits; called before and after each call. */
  pause(): Promise<void>;
  /** Tells what becomes of the call. */
  meets(name: string): Refusal;
}

/** A storage whose calls meet something. */
export function slowStorage(inner: Storage, meeting: Meeting): Storage {
  const writer = (log: LogWriter) => slow(log, OF_WRITER, meeting);
  // Who follows a tail that is told later is behind.
  const newest = async (id: string) => {
    const tail = await inner.follow(id, DEAF);
    tail.close();
    return tail.status;
  };
  return slow(changed(inner, { writer, storage: { newest } }), OF_STORAGE, meeting);
}

/** A catalog whose calls meet something. */
export function slowCatalog(inner: Catalog, meeting: Meeting): Catalog {
  return slow(inner, OF_CATALOG, meeting, new Doubts(inner));
}

/** Changes that were made although nobody answered: whoever made one goes on from it, and what it made is taken back. */
class Doubts {
  readonly #inner: Catalog;
  readonly #made = new Map<string, string>();

  constructor(inner: Catalog) {
    this.#inner = inner;
  }

  /** The arguments of a call, as they are meant now. */
  async meant(name: string, args: unknown[]): Promise<unknown[]> {
    if (name !== "update") return args;
    const [id, revision, ...more] = args;
    const now = (await this.#inner.get(id as string))?.revision;
    return this.#made.get(`${id} ${now}`) === `${id} ${revision}` ? [id, now, ...more] : args;
  }

  /** Nobody is told that a call was carried out. */
  doubt(name: string, args: unknown[], result: unknown): void {
    if (name === "update") {
      const [id, revision] = args;
      this.#made.set(`${id} ${(result as ResourceRecord).revision}`, `${id} ${revision}`);
    } else if (name === "create") {
      const [{ id, createdAtMs }] = args as [ResourceRecord];
      void this.#inner.delete(id, createdAtMs);
    }
  }
}

function slow<T extends object>(
  inner: T,
  names: readonly (keyof T & string)[],
  { pause, meets }: Meeting,
  doubts?: Doubts,
): T {
  const changes: Partial<T> = {};
  for (const name of names) {
    const method = inner[name];
    if (typeof method !== "function") continue;
    const call = async (...args: unknown[]) => {
      await pause();
      const refusal = meets(name);
      if (refusal === "BEFORE") throw new StreamError("STORAGE_FAILED", `${name} was refused`);
      const meant = await doubts?.meant(name, args) ?? args;
      const carryOut = async () => await method.apply(inner, meant);
      if (refusal === null) {
        const result = await carryOut();
        await pause();
        return result;
      }
      const doubt = async () => doubts?.doubt(name, args, await carryOut());
      if (refusal === "AFTER") await doubt();
      else void pause().then(doubt).catch(() => {});
      throw new StreamError("NOT_READY", `${name} was not answered`);
    };
    changes[name] = call as T[typeof name];
  }
  return override(inner, changes);
}
