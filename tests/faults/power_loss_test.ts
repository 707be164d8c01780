/**
 * A machine stops: the size of a file survives, pages that were not flushed are zeros. The same where a server is killed
 * and the disk refuses after that what it took.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { push, type PushedUpload, SqliteCatalog } from "../../mod.ts";
import type { Storage } from "../../src/storage.ts";
import { logPath } from "../../src/storage/layout.ts";
import { assertBytes, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { Place } from "../helpers/place.ts";
import { Chance } from "../helpers/random.ts";
import { checksumOf } from "../helpers/resources.ts";
import { statusOf } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const BYTES = new Chance(7).text(300_000);
const PAGE_BYTES = 4096;
/** Whose every server runs in a boot of its own. */
const otherBoots = (storage: Storage) =>
  changed(storage, { storage: { boot: crypto.randomUUID() } });

/** Overwrites a page of a log with zeros. */
async function zeroPage(directory: string, id: string, page: number): Promise<void> {
  const file = await open(logPath(directory, id), "r+");
  await file.write(new Uint8Array(PAGE_BYTES), 0, PAGE_BYTES, page * PAGE_BYTES);
  await file.close();
}

interface Pushing {
  upload: PushedUpload;
  writer: WritableStreamDefaultWriter<Uint8Array>;
  id: string;
}

/** An upload of which the server has all but the last 1000 bytes. */
async function pushing(place: Place): Promise<Pushing> {
  const upload = await push(place.url, metadata);
  const writer = upload.writable.getWriter();
  writer.closed.catch(() => {});
  const id = upload.resumeToken.split(":")[0];
  await writer.write(BYTES.slice(0, -1000));
  await statusOf(place.resources, id, ({ currentSize }) => currentSize === BYTES.length - 1000);
  return { upload, writer, id };
}

/** Makes the saved state of a digest look like one of another implementation. */
async function otherMark(place: Place, id: string, mark: "version" | "state"): Promise<void> {
  const catalog = new SqliteCatalog(join(place.directory, "catalog.sqlite"));
  const { revision, digestState } = (await catalog.get(id))!;
  const state = digestState!.state.map((byte, index) => index < 4 ? byte ^ 0xff : byte);
  const change = mark === "state" ? { state } : { version: "hash-wasm 3.9" };
  await catalog.update(id, revision, { digestState: { ...digestState!, ...change } });
  await catalog.close();
}

async function content(place: Place, id: string): Promise<Uint8Array> {
  return await (await fetch(`${place.server.url}/resources/${id}/content`)).bytes();
}

test("pages lost with the power before the saved digest are no COMPLETED upload", async () => {
  await using place = await Place.open("files", { wrap: otherBoots });
  const { upload, writer, id } = await pushing(place);
  await place.restart(() => zeroPage(place.directory, id, 3));
  const finishing = writer.write(BYTES.slice(-1000)).then(() => writer.close());
  finishing.catch(() => {});
  await assertFails("OFFSET_LOST", () => within("the end of the upload", upload.done));
  const { status } = await place.resources.get(id);
  assertEquals([status.transferStatus, status.durableSize], ["FAILED", 0]);
  assertMatch(status.failure!, /^OFFSET_LOST: the machine stopped/);
});

test("an upload that lost nothing with the power is completed, whatever was not flushed", async () => {
  await using place = await Place.open("files", { wrap: otherBoots });
  const { upload, writer, id } = await pushing(place);
  await place.restart();
  await writer.write(BYTES.slice(-1000));
  await writer.close();
  assertEquals((await upload.done).digest.value, await checksumOf(BYTES));
  assertBytes(await content(place, id), BYTES);
});

test("what no digest covered when the power went is COMPLETED by the uploader's digest only", async () => {
  await using place = await Place.open("files", { wrap: otherBoots });
  const url = `${place.server.url}/resources/device.log`;
  const begun = await fetch(url, {
    method: "PUT",
    headers: { "upload-complete": "?0" },
    body: BYTES as BodyInit,
  });
  const address = begun.headers.get("location")!;
  const { id } = await begun.json();
  await statusOf(place.resources, id, ({ currentSize }) => currentSize === BYTES.length);
  const after = await place.crash();
  await zeroPage(after.directory, id, 70);
  const { pathname } = new URL(address, place.server.url);
  const ended = await fetch(`${after.server.url}${pathname}`, {
    method: "PATCH",
    headers: {
      "content-type": "application/partial-upload",
      "upload-offset": String(BYTES.length),
      "upload-complete": "?1",
    },
  });
  assertEquals([ended.status, (await ended.json()).code], [410, "OFFSET_LOST"]);
  const { status } = await after.resources.get(id);
  assertEquals(status.transferStatus, "FAILED");
});

test("pages that the disk refused after its server was killed are no COMPLETED upload", async () => {
  await using place = await Place.open("files");
  const { upload, writer, id } = await pushing(place);
  const after = await place.crash(({ directory }) => zeroPage(directory, id, 0));
  const finishing = writer.write(BYTES.slice(-1000)).then(() => writer.close());
  finishing.catch(() => {});
  await assertFails("OFFSET_LOST", () => within("the end of the upload", upload.done));
  const { status } = await after.resources.get(id);
  assertEquals([status.transferStatus, status.durableSize], ["FAILED", 0]);
  assertMatch(status.failure!, /^OFFSET_LOST: the server stopped, the disk refused bytes/);
});

test("an upload of a server that was killed is completed, whatever was not flushed", async () => {
  await using place = await Place.open("files");
  const { upload, writer, id } = await pushing(place);
  const after = await place.crash();
  await writer.write(BYTES.slice(-1000));
  await writer.close();
  assertEquals((await upload.done).digest.value, await checksumOf(BYTES));
  assertBytes(await content(after, id), BYTES);
});

for (const mark of ["version", "state"] as const) {
  test(`a saved digest with another implementation's mark in its ${mark} is computed anew`, async () => {
    await using place = await Place.open("files");
    const { upload, writer, id } = await pushing(place);
    await place.restart(() => otherMark(place, id, mark));
    await writer.write(BYTES.slice(-1000));
    await writer.close();
    assertEquals((await within("the end", upload.done)).digest.value, await checksumOf(BYTES));
  });
}
