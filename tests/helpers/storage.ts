/** Storages that behave like a real one on a bad day. */
import { setImmediate as turn } from "node:timers/promises";
import { StreamError } from "../../src/protocol.ts";
import type { LogReader, LogWriter, Storage } from "../../src/storage.ts";

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
    create: async (id, options) => changedWriter(await inner.create(id, options)),
    recover: async (id, options) => changedWriter(await inner.recover(id, options)),
    openReader: async (id) => {
      const log = await inner.openReader(id);
      return reader ? override(log, reader(log)) : log;
    },
    delete: (id) => inner.delete(id),
    freeBytes: () => inner.freeBytes(),
    close: () => inner.close(),
    ...storage,
  };
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
      async append(byteOffset, parts) {
        await turn();
        await log.append(byteOffset, parts);
        await turn();
      },
      async checkpoint() {
        await turn();
        await log.checkpoint();
        show(id, log);
      },
      async sync() {
        await turn();
        await log.sync();
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

function snapshot({ size, lineBreaks }: LogWriter): { size: number; lineBreaks: number } {
  return { size, lineBreaks };
}

function notYet(): StreamError {
  return new StreamError("STORAGE_FAILED", "this was not checkpointed");
}
