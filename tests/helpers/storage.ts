/** Storages that behave like a real one on a bad day. */
import { setImmediate as turn } from "node:timers/promises";
import { StreamError } from "../../src/protocol.ts";
import type { LogEnd, LogReader, LogWriter, Storage } from "../../src/storage.ts";

/** What is done differently. */
export interface Changes {
  writer?(writer: LogWriter): Partial<LogWriter>;
  reader?(reader: LogReader): Partial<LogReader>;
  storage?: Partial<Storage>;
}

/** The storage, but for the changes. */
export function changed(inner: Storage, { writer, reader, storage }: Changes): Storage {
  const changedWriter = (log: LogWriter) => writer ? override(log, writer(log)) : log;
  return {
    boot: inner.boot,
    create: async (id, options) => changedWriter(await inner.create(id, options)),
    recover: async (id, options) => changedWriter(await inner.recover(id, options)),
    openReader: async (id, life) => {
      const log = await inner.openReader(id, life);
      return reader ? override(log, reader(log)) : log;
    },
    follow: (id, listener) => inner.follow(id, listener),
    delete: (id, life) => inner.delete(id, life),
    freeBytes: inner.freeBytes?.bind(inner),
    close: () => inner.close(),
    ...storage,
  };
}

/** Two instances over the same logs or records: each call goes to the other one than the call before. */
export function inTurn<T extends object>(first: T, second: T): T {
  let calls = 0;
  return new Proxy(first, {
    get(_, name) {
      const value = first[name as keyof T];
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const target = calls++ % 2 === 0 ? first : second;
        return (target[name as keyof T] as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}

/** An object that does what `changes` says, and else what `inner` does. */
export function override<T extends object>(inner: T, changes: Partial<T>): T {
  return new Proxy(inner, {
    get(target, name) {
      if (name in changes) return changes[name as keyof T];
      const value = target[name as keyof T];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Shows readers nothing that was not checkpointed, and takes its time for everything. */
export function strict(inner: Storage): Storage {
  const visible = new Map<string, { size: number; lineBreaks: number }>();
  const show = (id: string, log: LogWriter) => visible.set(id, snapshot(log));
  const none = { size: 0, lineBreaks: 0 };
  const slowly = (id: string, log: LogWriter): LogWriter =>
    override(log, {
      async append(byteOffset, parts, statusOf) {
        await turn();
        await log.append(
          byteOffset,
          parts,
          statusOf && ((end) => {
            visible.set(id, snapshot(end));
            return statusOf(end);
          }),
        );
        await turn();
      },
      async settle() {
        await turn();
        await log.settle?.();
        show(id, log);
      },
      async flush() {
        await turn();
        await log.flush?.();
        show(id, log);
      },
    });
  return changed(inner, {
    storage: {
      create: async (id, options) => slowly(id, await inner.create(id, options)),
      recover: async (id, options) => slowly(id, await inner.recover(id, options)),
      openReader: async (id) => {
        const log = await inner.openReader(id);
        return override(log, {
          async read(byteOffset, byteCount, buffer) {
            if (byteOffset + byteCount > (visible.get(id) ?? none).size) throw notYet();
            await turn();
            return await log.read(byteOffset, byteCount, buffer);
          },
          async lineBreak(index) {
            if (index >= (visible.get(id) ?? none).lineBreaks) throw notYet();
            await turn();
            return await log.lineBreak(index);
          },
        });
      },
    },
  });
}

function snapshot({ size, lineBreaks }: LogEnd): { size: number; lineBreaks: number } {
  return { size, lineBreaks };
}

function notYet(): StreamError {
  return new StreamError("STORAGE_FAILED", "this was not checkpointed");
}
