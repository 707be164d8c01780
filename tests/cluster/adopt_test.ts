/** Copies of data directories on a real engine: whoever copies the same at once, and wherever that is cut off. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import type { NatsCatalog } from "../../src/catalog/nats.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { copyResource, type Destination, type Source } from "../../src/cli/cluster/copy.ts";
import type { Engine } from "../../src/cluster/engine.ts";
import { MESSAGE_BYTES } from "../../src/cluster/logs.ts";
import { createDigest } from "../../src/digest.ts";
import { hashSecret, lifeOf, type OwnedUpload, Resources } from "../../src/resources.ts";
import { FileStorage } from "../../src/storage/file.ts";
import type { NatsStorage } from "../../src/storage/nats.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";
import { record } from "../catalog/records.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { changed, override } from "../helpers/storage.ts";
import { checksumOf, registration } from "../helpers/resources.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
import { logsInEngine, passAMinute } from "./logs.ts";

/** Messages of the log that is copied. */
const MESSAGES = 4;

const nobody = () => {};

/** What was killed: it must not be collected as garbage, as an open file would be told of. */
const left: unknown[] = [];

/** Single servers with the same resource, and a cluster to copy it into. */
class Copies implements AsyncDisposable {
  readonly #ends = new AsyncDisposableStack();
  readonly content = new Uint8Array(MESSAGES * MESSAGE_BYTES);
  record!: ResourceRecord;
  source!: Source;
  #logs!: Awaited<ReturnType<typeof logsInEngine>>;
  #records!: Awaited<ReturnType<typeof emptyPlace>>;

  static async make(given: Partial<ResourceRecord> = {}): Promise<Copies> {
    const copies = new Copies();
    const { content } = copies;
    for (let at = 0; at < content.length; at += 65_536) {
      crypto.getRandomValues(content.subarray(at, at + 65_536));
    }
    const digest = await createDigest("xxh128");
    digest.update(content);
    copies.record = record({
      metadata: {
        filename: "a.bin",
        mimeType: "application/octet-stream",
        supportsLineAccess: false,
      },
      transferStatus: "COMPLETED",
      size: content.length,
      durableSize: content.length,
      lines: null,
      epoch: 3,
      digest: { algorithm: "xxh128", value: digest.value() },
      ...given,
    });
    const directory = copies.#ends.use(await temporaryDirectory());
    const storage = new FileStorage(directory.path);
    copies.source = { directory: directory.path, storage, catalog: new MemoryCatalog() };
    const log = await storage.create(copies.record.id, { lineAccess: false, epoch: 3 });
    await log.append(0, [content]);
    await log.close();
    copies.#logs = copies.#ends.use(await logsInEngine());
    copies.#records = copies.#ends.use(await emptyPlace());
    return copies;
  }

  /** Parts of a node, to which everything was stored a minute before. */
  async late(): Promise<Destination & { storage: NatsStorage; engine: Engine }> {
    const storage = await this.#logs.node();
    const engine = this.#logs.engineOf(storage);
    passAMinute(engine);
    return { storage, engine, catalog: await this.#records.catalog() };
  }

  /** One more command, with a connection of its own. */
  async destination(): Promise<Destination> {
    return { storage: await this.#logs.node(), catalog: await this.#records.catalog() };
  }

  copyTo(to: Destination, source: Partial<Source> = {}): Promise<boolean> {
    return copyResource(this.record, { ...this.source, ...source }, to, nobody);
  }

  /** Holds what the cluster has against what was copied. */
  async check({ storage, catalog }: Destination): Promise<void> {
    const found = (await catalog.get(this.record.id))!;
    assertEquals([found.transferStatus, found.size, found.digest], [
      this.record.transferStatus,
      this.content.length,
      this.record.digest,
    ]);
    assertBytes(await readAll(storage, found), this.content);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#ends.disposeAsync();
  }
}

async function readAll(storage: Destination["storage"], found: ResourceRecord) {
  const reader = await storage.openReader(found.id, lifeOf(found));
  try {
    const bytes = new Uint8Array(found.size);
    for (let at = 0; at < bytes.length; at += MESSAGE_BYTES) {
      bytes.set(await reader.read(at, Math.min(MESSAGE_BYTES, bytes.length - at)), at);
    }
    return bytes;
  } finally {
    await reader.close();
  }
}

/** The same, but somebody comes just before a record is made. */
function beforeRecord(to: Destination, step: () => Promise<void>): Destination {
  const create: NatsCatalog["create"] = async (...args) => {
    await step();
    await to.catalog.create(...args);
  };
  return { ...to, catalog: override(to.catalog, { create }) };
}

/** The same, killed when some messages are stored: nothing of it goes on. */
function killedAfter(
  to: Destination,
  messages: number,
): { to: Destination; killed: Promise<void> } {
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  const storage = changed(to.storage, {
    writer: (writer) => ({
      append: async (...args) => {
        if (messages-- > 0) return await writer.append(...args);
        resolve();
        await new Promise((resolve) => left.push(resolve));
      },
    }),
  });
  return { to: { ...to, storage }, killed };
}

test("adopt: who is killed that began when another one had all but the record leaves that true", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.destination()];
  const second = killedAfter(b, MESSAGES / 2);
  const first = beforeRecord(a, async () => {
    await Promise.race([copies.copyTo(second.to), second.killed]);
  });
  await copies.copyTo(first);
  await copies.check(a);
});

test("adopt: who looked before another one made the record, and is killed then, leaves that true", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.destination()];
  const second = killedAfter(b, MESSAGES / 2);
  const look: NatsCatalog["look"] = async (id) => {
    const found = await b.catalog.look(id);
    await copies.copyTo(a);
    return found;
  };
  const late = { ...second.to, catalog: override(b.catalog, { look }) };
  assertEquals(await Promise.race([copies.copyTo(late), second.killed]), false);
  await copies.check(a);
});

test("adopt: of two that copy the same at once the one that comes later goes on with what is there", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.destination()];
  let [appended, isFirst] = [0, true];
  const storage = changed(a.storage, {
    writer: (writer) => ({
      append: async (...args) => {
        await writer.append(...args);
        appended++;
        if (appended < MESSAGES / 2 || !isFirst) return;
        isFirst = false;
        assertEquals(await copies.copyTo(b), true);
      },
    }),
  });
  assertEquals(await copies.copyTo({ ...a, storage }), false);
  await copies.check(b);
});

test("adopt: what was cut off is gone on with, and not copied again", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.destination()];
  const { to, killed } = killedAfter(a, 3);
  await Promise.race([copies.copyTo(to), killed]);
  const appended: number[] = [];
  const storage = changed(b.storage, {
    writer: (writer) => ({
      append: async (byteOffset, parts) => {
        appended.push(byteOffset);
        await writer.append(byteOffset, parts);
      },
    }),
  });
  assertEquals(await copies.copyTo({ ...b, storage }), true);
  assertEquals(appended, [3 * MESSAGE_BYTES]);
  await copies.check(b);
});

test("adopt: other bytes that the cluster has of this life are neither believed nor deleted", async () => {
  await using copies = await Copies.make();
  const to = await copies.destination();
  const { id } = copies.record;
  const options = { lineAccess: false, epoch: 1, life: lifeOf(copies.record) };
  const other = await to.storage.create(id, options);
  await other.append(0, [utf8("other")]);
  await assertFails("CONFLICT", () => copies.copyTo(to));
  assertEquals(await to.catalog.get(id), null);
  const reader = await to.storage.openReader(id);
  assertEquals(await reader.read(0, 5), utf8("other"));
  await reader.close();
});

test("adopt: a copy whose digest is another one makes no record, and what it left may be gone on with", async () => {
  await using copies = await Copies.make({
    digest: { algorithm: "xxh128", value: "0".repeat(32) },
  });
  const to = await copies.destination();
  await assertFails("CHECKSUM_MISMATCH", () => copies.copyTo(to));
  assertEquals(await to.catalog.get(copies.record.id), null);
  // As stream check --repair leaves it.
  copies.record = { ...copies.record, transferStatus: "FAILED", failure: "damaged", digest: null };
  assertEquals(await copies.copyTo(to), true);
  await copies.check(to);
});

test("adopt: no record is made of a log that was deleted meanwhile", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.destination()];
  const { id } = copies.record;
  // As stream check --cluster --repair does it.
  const to = beforeRecord(a, async () => {
    assertEquals(await b.catalog.touch(id), true);
    await b.storage.delete(id, lifeOf(copies.record));
  });
  await assertFails("CONFLICT", () => copies.copyTo(to));
  assertEquals(await a.catalog.get(id), null);
  assertEquals(await copies.copyTo(a), true);
  await copies.check(a);
  assertEquals(await b.catalog.touch(id), false);
});

test("adopt: no record is made of a log in whose place a registration put another, which has no record yet", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.late()];
  const { id } = copies.record;
  const [began, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const create: NatsCatalog["create"] = async (...args) => {
    began.resolve();
    await goesOn.promise;
    await b.catalog.create(...args);
  };
  const node = new Resources({ ...b, catalog: override(b.catalog, { create }) });
  const registered = Promise.withResolvers<OwnedUpload>();
  // As one does that stood still for a minute when all but the record was there.
  const to = beforeRecord(a, async () => {
    node.register(registration({ id })).then(registered.resolve, registered.reject);
    await Promise.race([began.promise, registered.promise]);
  });
  await assertFails("CONFLICT", () => copies.copyTo(to));
  goesOn.resolve();
  const { appender } = await registered.promise;
  appender.append(utf8("new"));
  await appender.complete(await checksumOf(utf8("new")));
  assertBytes(await readAll(b.storage, (await b.catalog.get(id))!), utf8("new"));
  await node.close();
});

test("adopt: a registration that looked before the record was made leaves the log to it", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.late()];
  const storage = override(b.storage, {
    async create(...args) {
      await copies.copyTo(a);
      return await b.storage.create(...args);
    },
  });
  const node = new Resources({ ...b, storage });
  const { id } = copies.record;
  await assertFails("CONFLICT", () => node.register(registration({ id })));
  await copies.check(a);
  await node.close();
});

test("adopt: what was left of another life of the id is replaced when it is a minute old", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.late()];
  const { id } = copies.record;
  const left = await a.storage.create(id, { lineAccess: false, epoch: 1, life: "left" });
  await left.append(0, [utf8("left")]);
  await assertFails("CONFLICT", () => copies.copyTo(a));
  assertEquals(await copies.copyTo(b), true);
  await copies.check(b);
});

test("adopt: a log that was left stays where somebody takes it over when it is to be deleted", async () => {
  await using copies = await Copies.make();
  const [a, b] = [await copies.destination(), await copies.late()];
  const { to, killed } = killedAfter(a, 3);
  await Promise.race([copies.copyTo(to), killed]);
  const { js } = b.engine;
  const publish = js.publish.bind(js);
  js.publish = async (subject, data, options) => {
    if (options?.headers?.has("Nats-Rollup")) await copies.copyTo(a);
    return await publish(subject, data, options);
  };
  assertEquals(await b.storage.deleteLeft(copies.record.id), false);
  await copies.check(a);
});

test("adopt: an upload that two copied can be resumed at the first attempt", async () => {
  const secret = "secret";
  await using copies = await Copies.make({
    transferStatus: "IN_PROGRESS",
    digest: null,
    ownedBy: "SECRET",
    secretHash: await hashSecret(secret),
  });
  const [a, b] = [await copies.destination(), await copies.destination()];
  const look: NatsCatalog["look"] = async (id) => {
    const found = await b.catalog.look(id);
    await copies.copyTo(a);
    return found;
  };
  // The record is made when the second one has just seen that there is none, and takes the log over.
  let gets = 0;
  const get: NatsCatalog["get"] = async (id) => gets++ === 0 ? null : await b.catalog.get(id);
  const late = { ...b, catalog: override(b.catalog, { look, get }) };
  assertEquals(await copies.copyTo(late), false);
  const node = new Resources({ ...a, nodeId: "a", leaseMs: 60_000 });
  const resumed = await node.resume(copies.record.id, secret);
  assertEquals("appender" in resumed && resumed.appender.received, copies.content.length);
  await node.close();
});
