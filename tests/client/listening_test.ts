/** Filters of statuses, the end of a download, and uploads that end together. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  discardUpload,
  open,
  openFile,
  openGrowingFile,
  push,
  type PushedUpload,
  type ResourceStatus,
  UploadGroup,
} from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import { isCompleted, startServer, statusOf, type TestServer } from "../helpers/server.ts";

const directory = mkdtempSync(join(tmpdir(), "stream-listening-"));
after(() => rmSync(directory, { recursive: true }));

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const idOf = ({ reference }: PushedUpload) => reference.slice(-36);
const namesOf = (statuses: ResourceStatus[]) => statuses.map((status) => status.transferStatus);

/** Waits until so many bytes of an upload can be read. */
const arrived = ({ resources }: TestServer, upload: PushedUpload, byteCount: number) =>
  statusOf(resources, idOf(upload), ({ currentSize }) => currentSize === byteCount);

test("who asks for the end of a transfer hears of no status before, on both sides", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const download = await open(upload.reference);
  const ends = [upload, download].map((side) =>
    Array.fromAsync(side.statuses({ transferStatuses: ["COMPLETED", "FAILED"] }))
  );
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await arrived(server, upload, 4);
  await writer.close();
  await statusOf(server.resources, idOf(upload), isCompleted);
  assertEquals(namesOf(await within("the end of the upload", ends[0])), ["COMPLETED"]);
  await new Response(download.read()).bytes();
  download.close();
  assertEquals(namesOf(await within("the end of the download", ends[1])), ["COMPLETED"]);
});

test("a download tells when it is closed, and by whom", async () => {
  await using server = await startServer();
  const upload = await push(server.url, metadata);
  const mine = await open(upload.reference);
  mine.close();
  assertStrictEquals(await within("its end", mine.closed), null);

  const cancelled = await open(upload.reference);
  await cancelled.read().cancel();
  assertStrictEquals(await within("its end", cancelled.closed), null);

  const theirs = await open(upload.reference);
  await upload.abort("no more");
  await server.resources.delete(idOf(upload));
  assertEquals((await within("its end", theirs.closed))?.code, "DELETED");
});

test("uploads of a group end well together: their sources are asked to stop, what they had is there", async () => {
  await using server = await startServer();
  const uploads = new UploadGroup();
  const started = await Promise.all(["a", "b", "c"].map(async (name) => {
    const path = join(directory, name);
    writeFileSync(path, "one\n");
    const { stream } = await openGrowingFile(path, { stop: uploads.stopping, pollIntervalMs: 20 });
    const upload = uploads.add(await push(server.url, { ...metadata, filename: name }));
    void stream.pipeTo(upload.writable);
    await arrived(server, upload, 4);
    appendFileSync(path, "two\n");
    return upload;
  }));
  assertEquals(uploads.size, 3);
  const ends = await within("the end", uploads.close());
  assertEquals(ends.map(({ status }) => status), ["fulfilled", "fulfilled", "fulfilled"]);
  assertEquals(uploads.size, 0);
  for (const upload of started) assertEquals((await upload.done).size, 8);
});

test("what a group gives up is FAILED and keeps its bytes; what comes later is given up, too", async () => {
  await using server = await startServer();
  const uploads = new UploadGroup();
  const upload = uploads.add(await push(server.url, metadata));
  await upload.writable.getWriter().write(utf8("one\n"));
  await arrived(server, upload, 4);
  await uploads.abort(new Error("the process ends"));
  const { transferStatus, currentSize, failure } =
    (await server.resources.get(idOf(upload))).status;
  assertEquals([transferStatus, currentSize], ["FAILED", 4]);
  assertEquals(failure, "ABORTED: the process ends");
  const late = uploads.add(await discardUpload(metadata));
  assertEquals(await within("its end", late.done.catch(({ code }) => code)), "ABORTED");
});

test("an upload that does not end in time is given up", async () => {
  const uploads = new UploadGroup();
  uploads.add(await discardUpload(metadata));
  const [end] = await within("the end", uploads.close(20));
  assertEquals(end.status === "rejected" && end.reason.code, "ABORTED");
});

test("a file with a buffer of 1 MiB arrives byte for byte", async () => {
  await using server = await startServer();
  const path = join(directory, "large");
  const bytes = new Uint8Array(3_000_001).map((_, at) => at * 31 >> 3);
  writeFileSync(path, bytes);
  const { stream } = await openFile(path, { bufferBytes: 1024 * 1024 });
  const upload = await push(server.url, { ...metadata, supportsLineAccess: false });
  await stream.pipeTo(upload.writable);
  const download = await open(upload.reference);
  assertEquals(await new Response(download.read()).bytes(), bytes);
  download.close();
});
