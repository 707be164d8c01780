/** Recovery of a log whose data and index are cut at any byte, or whose index lost a part. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { ResourceRecord } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { Resources } from "../../src/resources.ts";
import { FileStorage } from "../../src/storage/file.ts";
import { INDEX_ENTRY_BYTES, indexPath, logPath } from "../../src/storage/layout.ts";
import { concat, lineBreaksOf, utf8 } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { type Chance, withChance } from "../helpers/random.ts";
import { checksumOf, readAll, registration, statusWhere } from "../helpers/resources.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const BYTES = utf8("\nfirst\n\nthird line\r\nfourth\n\n\nseventh line\nwithout a break");

/** What a crash left. */
interface Left {
  data: Uint8Array;
  index: Uint8Array | null;
}

/** A running upload as its server left it. */
interface Upload extends Left {
  record: ResourceRecord;
  secret: string;
}

/** Writes one entry of an index: 5 bytes, the highest first. */
function encodeEntry(into: Uint8Array, at: number, byteOffset: number): void {
  into[at] = Math.floor(byteOffset / 2 ** 32);
  new DataView(into.buffer).setUint32(into.byteOffset + at + 1, byteOffset % 2 ** 32);
}

function indexOf(data: Uint8Array): Uint8Array {
  const breaks = lineBreaksOf(data);
  const index = new Uint8Array(breaks.length * INDEX_ENTRY_BYTES);
  breaks.forEach((byteOffset, entry) => encodeEntry(index, entry * INDEX_ENTRY_BYTES, byteOffset));
  return index;
}

async function interrupted(supportsLineAccess = true): Promise<Upload> {
  await using directory = await temporaryDirectory();
  const catalog = new MemoryCatalog();
  const resources = new Resources({ storage: new FileStorage(directory.path), catalog });
  const metadata = { ...registration().metadata, supportsLineAccess };
  const upload = await resources.register(registration({ metadata, ownedBy: "SECRET" }));
  const { resource } = upload.appender;
  upload.appender.append(BYTES.slice());
  await statusWhere(resource, ({ currentSize }) => currentSize === BYTES.length);
  await resources.close();
  const path = logPath(directory.path, resource.id);
  const data = new Uint8Array(await readFile(path));
  const index = supportsLineAccess ? new Uint8Array(await readFile(indexPath(path))) : null;
  assertEquals(index, supportsLineAccess ? indexOf(BYTES) : null);
  return { data, index, record: (await catalog.get(resource.id))!, secret: upload.secret! };
}

/** Recovers what is left twice, goes on with the upload, and checks every step. */
async function assertRecovers({ record, secret }: Upload, left: Left): Promise<void> {
  await using directory = await temporaryDirectory();
  const path = logPath(directory.path, record.id);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, left.data);
  if (left.index !== null) await writeFile(indexPath(path), left.index);
  const catalog = new MemoryCatalog();
  await catalog.create(record);
  for (let recoveries = 1; recoveries <= 2; recoveries++) {
    const resources = new Resources({ storage: new FileStorage(directory.path), catalog });
    assertEquals(await resources.recover(), 1);
    await assertInLine(resources, record, left.data);
    await assertFiles(record, path, left.data);
    if (recoveries === 2) await assertGoesOn(resources, record, secret, left.data.length);
    await resources.close();
  }
  await assertFiles(record, path, BYTES);
}

/** What is shown is what the data has. */
async function assertInLine(
  resources: Resources,
  { id, metadata }: ResourceRecord,
  data: Uint8Array,
): Promise<void> {
  await using opened = await resources.open(id);
  const { resource } = opened;
  const { currentSize, numberOfLines, transferStatus } = resource.status;
  assertEquals(currentSize, data.length);
  assertEquals(transferStatus, data.length === 0 ? "INITIATED" : "IN_PROGRESS");
  assertBytes(await readAll(resource), data);
  if (metadata.supportsLineAccess) {
    const breaks = lineBreaksOf(data);
    assertEquals(numberOfLines, breaks.length);
    const ends = await Promise.all(breaks.map((_, line) => resource.lineStart(line + 1)));
    assertEquals(ends, breaks.map((byteOffset) => byteOffset + 1));
  }
  await opened.release();
}

async function assertFiles({ metadata }: ResourceRecord, path: string, data: Uint8Array) {
  assertBytes(await readFile(path), data);
  if (metadata.supportsLineAccess) assertBytes(await readFile(indexPath(path)), indexOf(data));
}

/** The owner sends the rest, and the digest is that of the whole. */
async function assertGoesOn(
  resources: Resources,
  { id, metadata }: ResourceRecord,
  secret: string,
  size: number,
): Promise<void> {
  const resumed = await resources.resume(id, secret);
  assert("appender" in resumed);
  assertEquals(resumed.appender.received, size);
  resumed.appender.append(BYTES.slice(size));
  const { numberOfLines } = await resumed.appender.complete(await checksumOf(BYTES), BYTES.length);
  assertEquals(numberOfLines, metadata.supportsLineAccess ? 9 : null);
}

/** Names what was left when a check fails. */
async function recovers(upload: Upload, left: Left, what: string): Promise<void> {
  await assertRecovers(upload, left).catch((error) => {
    throw new Error(`${what}: ${error.message}`, { cause: error });
  });
}

test("data that was cut at any byte is the truth, and the upload goes on from there", async () => {
  const upload = await interrupted();
  for (let size = 0; size <= BYTES.length; size++) {
    await recovers(upload, { ...upload, data: upload.data.slice(0, size) }, `${size} bytes`);
  }
});

test("data without line access that was cut at any byte is the truth, too", async () => {
  const upload = await interrupted(false);
  for (let size = 0; size <= BYTES.length; size++) {
    await recovers(upload, { ...upload, data: upload.data.slice(0, size) }, `${size} bytes`);
  }
});

test("an index that was cut at any byte, or is gone, is made whole", async () => {
  const upload = await interrupted();
  const index = upload.index!;
  for (let size = 0; size <= index.length; size++) {
    await recovers(upload, { ...upload, index: index.slice(0, size) }, `${size} bytes of index`);
  }
  await recovers(upload, { ...upload, index: null }, "no index");
});

test("data and index that were cut at different bytes are brought in line", () =>
  withChance(async (chance) => {
    const upload = await interrupted();
    for (let round = 0; round < 60; round++) {
      const dataSize = chance.whole(0, BYTES.length);
      const indexSize = chance.whole(0, upload.index!.length);
      const left = {
        data: upload.data.slice(0, dataSize),
        index: upload.index!.slice(0, indexSize),
      };
      await recovers(upload, left, `${dataSize} bytes, ${indexSize} bytes of index`);
    }
  }));

test("an index with a hole, or with anything behind its end, is made right", () =>
  withChance(async (chance) => {
    const upload = await interrupted();
    for (let round = 0; round < 60; round++) {
      const left = {
        data: upload.data.slice(0, chance.whole(0, BYTES.length)),
        index: damaged(upload.index!, chance),
      };
      await recovers(upload, left, `${left.data.length} bytes, index ${left.index}`);
    }
  }));

/** An index of which a page never came to disk, or with entries of other data behind its own. */
function damaged(index: Uint8Array, chance: Chance): Uint8Array {
  const from = chance.whole(0, index.length);
  if (chance.happens(0.5)) return index.slice().fill(0, from, chance.whole(from, index.length));
  const foreign = new Uint8Array(chance.whole(1, 3) * INDEX_ENTRY_BYTES);
  for (let at = 0; at < foreign.length; at += INDEX_ENTRY_BYTES) {
    encodeEntry(foreign, at, chance.whole(0, BYTES.length));
  }
  return concat([index, foreign, foreign.slice(0, chance.whole(0, INDEX_ENTRY_BYTES - 1))]);
}
