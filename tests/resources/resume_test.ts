/** Uploads and follows that outlive connections and servers, by the library and on the wire. */
import { stat, truncate } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  type ErrorCode,
  follow,
  open,
  push,
  type PushedUpload,
  type PushOptions,
  resumePush,
  StreamError,
  SUBPROTOCOL,
} from "../../mod.ts";
import { type MessageOf, UPLOAD_PATH } from "../../src/protocol.ts";
import type { Durability, OwnedUpload } from "../../src/resources.ts";
import { logPath } from "../../src/storage/layout.ts";
import { concat, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, Gate, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { Place, type PlaceKind, type PlaceOptions } from "../helpers/place.ts";
import { Chance, withChance } from "../helpers/random.ts";
import { checksumOf } from "../helpers/resources.ts";
import { getJson, isFailed, memoryResources, RawClient, statusOf } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const text = (byteCount: number, seed = 1) => new Chance(seed).text(byteCount);

/** Both kinds of storage show the same behaviour. */
function both(
  behaviour: string,
  check: (place: Place) => Promise<void>,
  options: PlaceOptions = {},
): void {
  for (const kind of ["memory", "files"] as const) on(kind, behaviour, check, options);
}

function on(
  kind: PlaceKind,
  behaviour: string,
  check: (place: Place) => Promise<void>,
  options: PlaceOptions = {},
): void {
  test(`${kind}: ${behaviour}`, async () => {
    await using place = await Place.open(kind, options);
    await check(place);
  });
}

test("who gives an upload up hears when it goes on with another owner, or was completed", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const registration = { metadata, contextId: null, makeContext: true, digests: ["md5"] };
  const { appender, secret } = await resources.register({ ...registration, ownedBy: "SECRET" });
  const resumed = await resources.resume(appender.resource.id, secret);
  const givenUp = new StreamError("ABORTED", "its owner gave it up");
  await assertFails("FENCED", () => appender.giveUp(givenUp));
  assert("appender" in resumed);
  await resumed.appender.complete(null);
  await assertFails("WRONG_STATE", () => resumed.appender.giveUp(givenUp));
  await resources.close();
});

test("who completes an upload that was resumed meanwhile hears that, not that it was given up", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const registration = { metadata, contextId: null, makeContext: true, digests: ["md5"] };
  const { appender, secret } = await resources.register({ ...registration, ownedBy: "SECRET" });
  appender.append(utf8("abc"));
  const resumed = await resources.resume(appender.resource.id, secret);
  await assertFails("FENCED", () => appender.complete(null));
  assert("appender" in resumed);
  assertEquals((await resumed.appender.complete(null)).size, 3);
  await resources.close();
});

test("where too many uploads wait for their owners, the ones that wait longest are given up", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000, maxUploads: 1 });
  const registration = { metadata, contextId: null, makeContext: true, digests: ["md5"] };
  const gone = new StreamError("INTERRUPTED", "its owner is gone");
  const begun: OwnedUpload[] = [];
  for (let count = 0; count < 12; count++) {
    begun.push(await resources.register({ ...registration, ownedBy: "SECRET" }));
    await resources.interrupt(begun[count].appender, gone);
  }
  const stateOf = async ({ appender: { resource: { id } } }: OwnedUpload) =>
    (await resources.get(id)).status.transferStatus;
  for (const upload of begun.slice(0, 2)) {
    while (await stateOf(upload) !== "FAILED") await sleep(1);
  }
  const { appender: { resource: { id } }, secret } = begun[2];
  assert("appender" in await resources.resume(id, secret));
  const others = await Promise.all(begun.slice(3).map(stateOf));
  assertEquals(others, others.map(() => "INITIATED"));
  await resources.close();
});

/** An upload by the library. */
interface Pushing {
  upload: PushedUpload;
  writer: WritableStreamDefaultWriter<Uint8Array>;
  id: string;
  /** Errors after which it tried again. */
  retries: ErrorCode[];
}

async function pushing(place: Place, options: PushOptions = {}): Promise<Pushing> {
  const retries: ErrorCode[] = [];
  const onRetry = ({ code }: StreamError) => void retries.push(code);
  const upload = await push(place.url, metadata, { onRetry, ...options });
  return { ...writing(upload), retries };
}

function writing(upload: PushedUpload): Omit<Pushing, "retries"> {
  const writer = upload.writable.getWriter();
  // What goes wrong is asked of `done`.
  writer.closed.catch(() => {});
  const [id] = upload.resumeToken.split(":");
  return { upload, writer, id };
}

/** Writes bytes and waits until they can be read. */
async function write(place: Place, { writer, id }: Omit<Pushing, "retries">, bytes: Uint8Array) {
  const { currentSize } = (await place.resources.get(id)).status;
  await writer.write(bytes);
  await arrived(place, id, currentSize + bytes.length);
}

function arrived(place: Place, id: string, byteCount: number): Promise<unknown> {
  return statusOf(place.resources, id, ({ currentSize }) => currentSize === byteCount);
}

/** Waits until somebody owns an upload for the n-th time; no event tells of an owner that wrote nothing yet. */
async function inEpoch(place: Place, id: string, wanted: number): Promise<void> {
  const look = async () => {
    while ((await place.resources.get(id)).status.epoch !== wanted) await sleep(1);
  };
  await within(`epoch ${wanted}`, look());
}

/** Waits until nobody owns the upload. */
function abandoned(place: Place): Promise<void> {
  return eventually("the end of the connection", () => place.resources.uploads === 0);
}

/** Ends an upload and checks that exactly these bytes are there. */
async function assertCompletes(
  place: Place,
  { upload, writer, id }: Omit<Pushing, "retries">,
  bytes: Uint8Array,
): Promise<void> {
  await within("the end of the upload", writer.close());
  await assertStored(place, id, bytes);
  const { size, numberOfLines, digest } = await upload.done;
  assertEquals([size, numberOfLines, digest.value], [
    bytes.length,
    linesOf(bytes),
    await checksumOf(bytes),
  ]);
}

/** Checks a COMPLETED resource with another reader. */
async function assertStored(place: Place, id: string, bytes: Uint8Array): Promise<void> {
  const { status, digest } = await place.resources.get(id);
  assertEquals([status.transferStatus, status.currentSize], ["COMPLETED", bytes.length]);
  assertEquals(digest, { algorithm: "xxh128", value: await checksumOf(bytes) });
  assertBytes(await received(`${place.server.url}/resources/${id}`), bytes);
}

function received(reference: string): Promise<Uint8Array> {
  return within("the end of a follower", new Response(follow(reference)).bytes());
}

/** Counts how often a client is sent a message. */
function heard(place: Place, name: string): { count: number } {
  const messages = { count: 0 };
  place.proxy.tap = (bytes) => {
    if (new TextDecoder().decode(bytes).includes(name)) messages.count++;
  };
  return messages;
}

/** An upload on the wire. */
interface RawUpload extends Disposable {
  client: RawClient;
  ready: MessageOf<"ReadyForUpload">;
}

async function connected(place: Place): Promise<RawClient> {
  return await RawClient.open(`${place.ws}${UPLOAD_PATH}`, SUBPROTOCOL);
}

async function rawUpload(place: Place): Promise<RawUpload> {
  const client = await connected(place);
  client.say({ "@": "StartUpload", metadata, digests: ["xxh128"] });
  const ready = await client.inbox.next("ReadyForUpload");
  return { client, ready, [Symbol.dispose]: () => client[Symbol.dispose]() };
}

const resumeMessage = ({ id = "", secret = "" }: MessageOf<"ReadyForUpload">) => ({
  "@": "ResumeUpload" as const,
  id,
  secret,
});

both(
  "an upload and its follower go on after each cut, and nothing is there twice",
  async (place) => {
    const bytes = text(300_000);
    const upload = await pushing(place);
    const follower = received(upload.upload.reference);
    for (let cuts = 0; cuts < 3; cuts++) {
      await upload.writer.write(bytes.slice(cuts * 75_000, (cuts + 1) * 75_000));
      place.proxy.cut();
      await inEpoch(place, upload.id, cuts + 2);
    }
    await upload.writer.write(bytes.slice(225_000));
    await assertCompletes(place, upload, bytes);
    assertBytes(await follower, bytes);
    assertEquals(upload.retries.every((code) => code === "INTERRUPTED"), true);
  },
);

both("with durability `disk`, too, an upload goes on after a cut", async (place) => {
  const bytes = text(200_000);
  const upload = await pushing(place);
  await upload.writer.write(bytes.slice(0, 100_000));
  place.proxy.cut();
  await upload.writer.write(bytes.slice(100_000));
  await assertCompletes(place, upload, bytes);
}, { durability: "disk" });

both(
  "an upload whose connection falls silent is given up by the server and resumed",
  async (place) => {
    const bytes = text(1000);
    const upload = await pushing(place);
    await write(place, upload, bytes.slice(0, 500));
    place.proxy.hold();
    await abandoned(place);
    assertEquals((await place.resources.get(upload.id)).status.transferStatus, "IN_PROGRESS");
    place.proxy.release();
    await inEpoch(place, upload.id, 2);
    await upload.writer.write(bytes.slice(500));
    await assertCompletes(place, upload, bytes);
  },
  { heartbeat: { pingAfterMs: 50, deadAfterMs: 200 } },
);

both("who does not know the secret is NOT_OWNER, and the upload goes on", async (place) => {
  const upload = await pushing(place);
  const wrong = `${upload.id}:${"0".repeat(64)}`;
  await assertFails("NOT_OWNER", () => resumePush(place.url, wrong));
  await assertFails("NOT_OWNER", () => resumePush(place.url, upload.id));
  const nowhere = `${crypto.randomUUID()}:${"0".repeat(64)}`;
  await assertFails("NOT_FOUND", () => resumePush(place.url, nowhere));
  await upload.writer.write(utf8("one\n"));
  await assertCompletes(place, upload, utf8("one\n"));
  assertEquals(upload.retries, []);
});

both(
  "the newest connection owns an upload, and bytes of an older one are never appended",
  (place) =>
    withChance(async (chance) => {
      for (let round = 0; round < 10; round++) {
        const garbage = chance.text(chance.whole(1, 3000));
        using older = await rawUpload(place);
        using newer = await connected(place);
        const before = chance.whole(0, 20);
        for (let sent = 0; sent < before; sent++) older.client.give(garbage);
        newer.say(resumeMessage(older.ready));
        for (let sent = before; sent < 40; sent++) older.client.give(garbage);
        const { offset = 0, epoch } = await newer.inbox.next("ReadyForUpload");
        assertEquals(epoch, 2);
        const taken = offset / garbage.length;
        assert(Number.isInteger(taken) && taken <= 40, `${offset} of ${garbage.length} a message`);
        older.client.give(garbage);
        await older.client.inbox.close();
        newer.give(utf8("end"));
        const bytes = concat([...Array(taken).fill(garbage), utf8("end")]);
        newer.say({ "@": "FinishUpload", checksum: await checksumOf(bytes), size: bytes.length });
        assertEquals((await newer.inbox.next("UploadAcknowledged")).size, bytes.length);
        await assertStored(place, older.ready.id!, bytes);
      }
    }),
);

both("an older connection is told that it was fenced, and closed with 1008", async (place) => {
  using older = await rawUpload(place);
  using newer = await connected(place);
  newer.say(resumeMessage(older.ready));
  assertEquals((await older.client.inbox.next("Error")).code, "FENCED");
  const { code, reason } = await older.client.inbox.close();
  assertEquals([code, reason.split(":")[0]], [1008, "FENCED"]);
});

both(
  "a push whose upload was taken over fails with FENCED and does not fight for it",
  async (place) => {
    const upload = await pushing(place);
    await write(place, upload, utf8("first\n"));
    const second = writing(await resumePush(place.url, upload.upload.resumeToken));
    await assertFails("FENCED", () => within("the older push", upload.upload.done));
    assertEquals(upload.retries, []);
    await second.writer.write(utf8("first\nsecond\n"));
    await assertCompletes(place, second, utf8("first\nsecond\n"));
  },
);

both("an owner that comes back after another one sent more goes on behind that", async (place) => {
  const bytes = text(3000);
  const upload = await pushing(place);
  await write(place, upload, bytes.slice(0, 1000));
  place.proxy.refusing = true;
  place.proxy.cut();
  const other = writing(await resumePush(place.server.url, upload.upload.resumeToken));
  await other.writer.write(bytes.slice(0, 2000));
  await arrived(place, upload.id, 2000);
  place.proxy.refusing = false;
  await assertFails("FENCED", () => within("the other push", other.upload.done));
  await upload.writer.write(bytes.slice(1000, 1500));
  await upload.writer.write(bytes.slice(1500));
  await assertCompletes(place, upload, bytes);
});

both(
  "of two who resume at the same time one owns the upload, and the other is told",
  async (place) => {
    for (let round = 0; round < 20; round++) {
      using first = await rawUpload(place);
      first.client.give(utf8("one\n"));
      const rivals = [await connected(place), await connected(place)];
      for (const rival of rivals) rival.say(resumeMessage(first.ready));
      const isFenced = (rival: RawClient) => rival.inbox.closing !== null;
      await eventually("the fence", () => rivals.some(isFenced));
      const [winner, ...others] = rivals.filter((rival) => !isFenced(rival));
      assertEquals(others.length, 0);
      const loser = rivals.find(isFenced)!;
      assertStringIncludes(loser.inbox.closing!.reason, "FENCED");
      const { offset } = await winner.inbox.next("ReadyForUpload");
      const bytes = utf8(offset === 0 ? "two\n" : "one\ntwo\n");
      winner.give(utf8("two\n"));
      winner.say({ "@": "FinishUpload", checksum: await checksumOf(bytes) });
      await winner.inbox.next("UploadAcknowledged");
      await assertStored(place, first.ready.id!, bytes);
      for (const rival of rivals) rival[Symbol.dispose]();
    }
  },
);

both("who resumes a COMPLETED upload is acknowledged again", async (place) => {
  const bytes = text(2000);
  const upload = await pushing(place);
  await upload.writer.write(bytes);
  await assertCompletes(place, upload, bytes);
  const again = writing(await resumePush(place.url, upload.upload.resumeToken));
  await again.writer.write(bytes.slice(0, 700));
  await again.writer.write(bytes.slice(700));
  await assertCompletes(place, again, bytes);
});

both("a source that is not what was COMPLETED is told, and changes nothing", async (place) => {
  const bytes = text(2000);
  const upload = await pushing(place);
  await upload.writer.write(bytes);
  await assertCompletes(place, upload, bytes);
  const wrong: [ErrorCode, Uint8Array][] = [
    ["CONFLICT", bytes.slice(0, 1999)],
    ["CHECKSUM_MISMATCH", concat([bytes, utf8("x")])],
    ["CHECKSUM_MISMATCH", text(2000, 2)],
  ];
  for (const [code, source] of wrong) {
    const again = writing(await resumePush(place.url, upload.upload.resumeToken));
    again.writer.write(source).catch(() => {});
    again.writer.close().catch(() => {});
    await assertFails(code, () => within(code, again.upload.done));
  }
  await assertStored(place, upload.id, bytes);
});

both("a FAILED upload cannot be resumed", async (place) => {
  const upload = await pushing(place);
  await write(place, upload, utf8("one\n"));
  await upload.upload.abort("enough");
  const { failure } = await statusOf(place.resources, upload.id, isFailed);
  assertEquals(failure, "ABORTED: enough");
  const resume = () => resumePush(place.url, upload.upload.resumeToken);
  assertMatch((await assertFails("WRONG_STATE", resume)).message, /ABORTED: enough/);
});

both("an interrupted upload is IN_PROGRESS with all its bytes within its window", async (place) => {
  const upload = await pushing(place, { retryForMs: 0 });
  await write(place, upload, utf8("one\ntw"));
  place.proxy.cut();
  await abandoned(place);
  const { transferStatus, currentSize, numberOfLines } =
    (await place.resources.get(upload.id)).status;
  assertEquals([transferStatus, currentSize, numberOfLines], ["IN_PROGRESS", 6, 1]);
});

both(
  "an upload that nobody resumes is FAILED after the window with its true size and lines",
  async (place) => {
    const upload = await pushing(place, { retryForMs: 0 });
    await write(place, upload, utf8("one\ntw"));
    place.proxy.cut();
    const { currentSize, numberOfLines, failure } = await statusOf(
      place.resources,
      upload.id,
      isFailed,
    );
    assertEquals([currentSize, numberOfLines], [6, 2]);
    assertMatch(failure!, /^INTERRUPTED: /);
    const resume = () => resumePush(place.url, upload.upload.resumeToken);
    await assertFails("WRONG_STATE", resume);
    assertEquals((await received(`${place.url}/resources/${upload.id}`)).length, 6);
  },
  { resumeWindowMs: 50 },
);

both(
  "an upload that its server left unfinished is FAILED when nobody comes after the restart",
  async (place) => {
    const upload = await pushing(place, { retryForMs: 0 });
    await write(place, upload, utf8("one\ntw"));
    await place.restart();
    const { currentSize, numberOfLines, failure } = await statusOf(
      place.resources,
      upload.id,
      isFailed,
    );
    assertEquals([currentSize, numberOfLines], [6, 2]);
    assertMatch(failure!, /^INTERRUPTED: /);
  },
  { resumeWindowMs: 300 },
);

both("a Step upload is FAILED the moment its connection breaks", async (place) => {
  const client = await RawClient.open(`${place.ws}${UPLOAD_PATH}`);
  client.say({ "@": "StartUpload", metadata });
  const { reference } = await client.inbox.next("ReadyForUpload");
  place.proxy.cut();
  const id = reference.uri.split("/").pop()!;
  assertMatch((await statusOf(place.resources, id, isFailed)).failure!, /^INTERRUPTED: /);
});

both("an upload and its follower go on when the server was restarted", async (place) => {
  const bytes = text(200_000);
  const upload = await pushing(place);
  const download = await open(upload.upload.reference);
  const follower = new Response(download.read()).bytes();
  await upload.writer.write(bytes.slice(0, 100_000));
  await place.restart();
  await inEpoch(place, upload.id, 3);
  await upload.writer.write(bytes.slice(100_000));
  await assertCompletes(place, upload, bytes);
  assertBytes(await within("the follower", follower), bytes);
  assertEquals(upload.retries[0], "SHUTDOWN");
});

on("files", "an upload and its follower go on after the server was killed", async (place) => {
  const bytes = text(300_000);
  const upload = await pushing(place);
  const download = await open(upload.upload.reference);
  const follower = new Response(download.read()).bytes();
  await upload.writer.write(bytes.slice(0, 100_000));
  const second = await place.crash();
  await inEpoch(second, upload.id, 3);
  await upload.writer.write(bytes.slice(100_000, 200_000));
  const third = await second.crash();
  await inEpoch(third, upload.id, 5);
  await upload.writer.write(bytes.slice(200_000));
  await assertCompletes(third, upload, bytes);
  assertBytes(await within("the follower", follower), bytes);
});

/** Counts the bytes that are read of logs. */
function countReads(): { bytes: number; options: PlaceOptions } {
  const reads = { bytes: 0, options: {} };
  reads.options = {
    wrap: (storage) =>
      changed(storage, {
        reader: (log) => ({
          read: (byteOffset, byteCount) => {
            reads.bytes += byteCount;
            return log.read(byteOffset, byteCount);
          },
        }),
      }),
  } satisfies PlaceOptions;
  return reads;
}

for (const kind of ["memory", "files"] as const) {
  test(`${kind}: a restarted server takes the digest up without reading a byte`, async () => {
    const reads = countReads();
    await using place = await Place.open(kind, reads.options);
    const bytes = text(500_000);
    const upload = await pushing(place);
    await write(place, upload, bytes.slice(0, 400_000));
    await place.restart();
    await inEpoch(place, upload.id, 3);
    await upload.writer.write(bytes.slice(400_000));
    await upload.writer.close();
    await upload.upload.done;
    assertEquals(reads.bytes, 0);
    await assertStored(place, upload.id, bytes);
  });
}

for (const durability of ["os", "disk"] as const) {
  test(`files: after a kill only what was not flushed is read again: ${durability}`, () => {
    return readsUnflushed(durability);
  });
}

async function readsUnflushed(durability: Durability): Promise<void> {
  const reads = countReads();
  await using place = await Place.open("files", { ...reads.options, durability });
  const bytes = text(500_000);
  const upload = await pushing(place);
  await write(place, upload, bytes.slice(0, 300_000));
  let size = 300_000;
  // The digest is saved with a checkpoint, once a second: a line every few milliseconds until it is.
  while ((await place.resources.get(upload.id)).digestState!.byteOffset < 300_000) {
    await write(place, upload, bytes.slice(size, size + 100));
    size += 100;
    await sleep(20);
  }
  await write(place, upload, bytes.slice(size, size + 50_000));
  size += 50_000;
  const { byteOffset } = (await place.resources.get(upload.id)).digestState!;
  const after = await place.crash();
  await upload.writer.write(bytes.slice(size));
  await upload.writer.close();
  await upload.upload.done;
  // Of so few bytes none were flushed by themselves.
  assertEquals(reads.bytes, durability === "disk" ? size - byteOffset : size);
  await assertStored(after, upload.id, bytes);
}

/** Lets the server lose half of what it acknowledged. */
async function loseHalf(place: Place, upload: Pushing, bytes: Uint8Array): Promise<void> {
  const path = logPath(place.directory, upload.id);
  assertEquals((await stat(path)).size, bytes.length);
  await place.restart(() => truncate(path, bytes.length / 2));
}

on(
  "files",
  "lost bytes that a push still keeps are sent again, and nobody need be told",
  async (place) => {
    const bytes = text(2000);
    const upload = await pushing(place);
    await write(place, upload, bytes.slice(0, 1000));
    await loseHalf(place, upload, bytes.slice(0, 1000));
    await upload.writer.write(bytes.slice(1000));
    await assertCompletes(place, upload, bytes);
  },
);

on("files", "a push whose acknowledged bytes were lost fails with OFFSET_LOST", async (place) => {
  const upload = await pushing(place);
  const bytes = text(1_000_000);
  await write(place, upload, bytes);
  await loseHalf(place, upload, bytes);
  const { message } = await assertFails(
    "OFFSET_LOST",
    () => within("the push", upload.upload.done),
  );
  assertMatch(message, /bytes and now has 500000$/);
  const { currentSize, failure } = await statusOf(place.resources, upload.id, isFailed);
  assertEquals(currentSize, 500_000);
  assertStringIncludes(failure!, message);
});

on("files", "a follower that saw bytes which were lost hears OFFSET_LOST", async (place) => {
  const bytes = text(1000);
  const upload = await pushing(place, { retryForMs: 0 });
  const follower = follow(upload.upload.reference).getReader();
  await upload.writer.write(bytes);
  for (let seen = 0; seen < bytes.length;) seen += (await follower.read()).value!.length;
  await loseHalf(place, upload, bytes);
  await assertFails("OFFSET_LOST", () => within("the follower", follower.read()));
});

on(
  "files",
  "lost bytes that the source still has are sent again, and the digest is right",
  async (place) => {
    const bytes = text(1000);
    const upload = await pushing(place, { retryForMs: 0 });
    await write(place, upload, bytes);
    await loseHalf(place, upload, bytes);
    const again = writing(await resumePush(place.url, upload.upload.resumeToken));
    await again.writer.write(bytes);
    await assertCompletes(place, again, bytes);
  },
);

test("memory: what is written while an upload is resumed waits for the server's answer", async () => {
  const recovering = new Gate();
  const wrap: PlaceOptions["wrap"] = (storage) =>
    changed(storage, {
      storage: {
        async recover(id, options) {
          await recovering.passed();
          return await storage.recover(id, options);
        },
      },
    });
  await using place = await Place.open("memory", { wrap });
  const upload = await pushing(place);
  await write(place, upload, utf8("one\n"));
  recovering.shut();
  place.proxy.cut();
  await eventually("the second connection", () => recovering.waiting === 1);
  const written = upload.writer.write(utf8("two\n"));
  // Whatever was sent has arrived by then.
  await getJson(`${place.url}/resources/${upload.id}`);
  recovering.open();
  await within("the write", written);
  await assertCompletes(place, upload, utf8("one\ntwo\n"));
});

/** A push that is gone after half of its bytes, and the one of another process that takes it over. */
async function takenOver(place: Place, bytes: Uint8Array) {
  const upload = await pushing(place, { retryForMs: 0 });
  await write(place, upload, bytes.slice(0, bytes.length / 2));
  place.proxy.cut();
  const again = writing(await resumePush(place.url, upload.upload.resumeToken));
  return { upload, again };
}

both(
  "a push by another process reads its source again and sends what is missing",
  async (place) => {
    const bytes = text(200_000);
    const { upload, again } = await takenOver(place, bytes);
    for (let at = 0; at < bytes.length; at += 30_000) {
      await again.writer.write(bytes.slice(at, at + 30_000));
    }
    await assertCompletes(place, again, bytes);
    assertEquals(again.upload.reference, upload.upload.reference);
  },
);

both(
  "a push by another process goes on after further cuts, while it still reads again",
  async (place) => {
    const bytes = text(200_000);
    const { upload, again } = await takenOver(place, bytes);
    await again.writer.write(bytes.slice(0, 50_000));
    place.proxy.cut();
    await inEpoch(place, upload.id, 3);
    await again.writer.write(bytes.slice(50_000, 150_000));
    place.proxy.cut();
    await again.writer.write(bytes.slice(150_000));
    await assertCompletes(place, again, bytes);
  },
);

both(
  "a source that is shorter than what was sent is refused, and the right one goes on",
  async (place) => {
    const bytes = text(1000);
    const { upload, again } = await takenOver(place, bytes);
    again.writer.write(bytes.slice(0, 400)).catch(() => {});
    again.writer.close().catch(() => {});
    await assertFails("CONFLICT", () => within("the end", again.upload.done));
    const right = writing(await resumePush(place.url, upload.upload.resumeToken));
    await right.writer.write(bytes);
    await assertCompletes(place, right, bytes);
  },
);

both("a source that is different in what was sent fails a resumed push", async (place) => {
  const bytes = text(1000);
  const { upload, again } = await takenOver(place, bytes);
  again.writer.write(text(bytes.length, 2)).catch(() => {});
  again.writer.close().catch(() => {});
  await assertFails("CHECKSUM_MISMATCH", () => within("the end", again.upload.done));
  const { currentSize } = await statusOf(place.resources, upload.id, isFailed);
  assertEquals(currentSize, 1000);
});

both("a push that may not try again fails at once, and so does a follower", async (place) => {
  const upload = await pushing(place, { retryForMs: 0 });
  const download = await open(upload.upload.reference, { retryForMs: 0 });
  const reading = download.read().getReader().read();
  place.proxy.cut();
  await assertFails("INTERRUPTED", () => within("the push", upload.upload.done));
  await assertFails("INTERRUPTED", () => within("the follower", reading));
  assertEquals([upload.retries, place.proxy.accepted], [[], 2]);
});

both("a push that is aborted between two attempts connects no more", async (place) => {
  const upload = await pushing(place);
  place.proxy.refusing = true;
  place.proxy.cut();
  await eventually("a further attempt", () => upload.retries.length > 1);
  await upload.upload.abort("enough");
  await assertFails("ABORTED", () => upload.upload.done);
  place.proxy.refusing = false;
  const { failure } = await statusOf(place.resources, upload.id, isFailed);
  assertMatch(failure!, /^INTERRUPTED: /);
  assertEquals(place.proxy.connections, 0);
}, { resumeWindowMs: 500 });

both(
  "a push or follow that is given up while it connects leaves no connection behind",
  async (place) => {
    const upload = await pushing(place);
    const download = await open(upload.upload.reference);
    place.proxy.hold();
    const { accepted } = place.proxy;
    place.proxy.cut();
    await eventually("further attempts", () => place.proxy.accepted === accepted + 2);
    await upload.upload.abort("enough");
    download.close();
    place.proxy.release();
    const { failure } = await statusOf(place.resources, upload.id, isFailed);
    assertMatch(failure!, /^INTERRUPTED: /);
    await eventually("the end of the connections", () => place.proxy.connections === 0);
  },
  { resumeWindowMs: 500 },
);

for (const when of ["before its owner is back", "after its owner is back"]) {
  for (const kind of ["memory", "files"] as const) {
    test(`${kind}: an upload that is cut off while it completes, ${when}, is acknowledged`, async () => {
      const syncing = new Gate();
      await using place = await Place.open(kind, {
        wrap: (storage) =>
          changed(storage, {
            writer: (log) => ({
              async flush() {
                await syncing.passed();
                await log.flush?.();
              },
            }),
          }),
      });
      const upload = await pushing(place);
      await upload.writer.write(utf8("one\n"));
      syncing.shut();
      const ended = assertCompletes(place, upload, utf8("one\n"));
      await eventually("the flush", () => syncing.waiting === 1);
      place.proxy.cut();
      if (when === "before its owner is back") syncing.open();
      await eventually("the owner", () => place.proxy.accepted === 2);
      syncing.open();
      await ended;
    });
  }
}

both(
  "a push of what is COMPLETED already survives a cut while it reads its source again",
  async (place) => {
    const bytes = text(2000);
    const upload = await pushing(place);
    await upload.writer.write(bytes);
    await assertCompletes(place, upload, bytes);
    const again = writing(await resumePush(place.url, upload.upload.resumeToken));
    await again.writer.write(bytes.slice(0, 700));
    const answers = heard(place, "UploadAcknowledged");
    place.proxy.cut();
    await eventually("the second answer", () => answers.count === 1);
    await again.writer.write(bytes.slice(700));
    await assertCompletes(place, again, bytes);
  },
);

both("a follower that waits for bytes to come goes on waiting after a cut", async (place) => {
  const upload = await pushing(place);
  await write(place, upload, utf8("0123456789"));
  const download = await open(`${place.url}/resources/${upload.id}`);
  const reading = new Response(download.read({ from: 15 })).text();
  place.proxy.cut();
  await eventually("its second connection", () => download.status.epoch === 2);
  await upload.writer.write(utf8("abcdefghij"));
  await upload.writer.close();
  assertEquals(await within("the follower", reading), "fghij");
  download.close();
});

const MIB = 1024 * 1024;

on(
  "memory",
  "a follower that reads nothing holds one window, however often it is cut",
  async (place) => {
    const upload = await pushing(place);
    await upload.writer.write(new Uint8Array(24 * MIB));
    await upload.writer.close();
    const download = await open(`${place.url}/resources/${upload.id}`, { retryForMs: 500 });
    const reader = download.read().getReader();
    let sent = 0;
    place.proxy.tap = ({ length }) => sent += length;
    for (let cuts = 0; cuts < 4; cuts++) {
      sent = 0;
      await eventually("a window", () => sent >= 4 * MIB);
      if (cuts === 3) place.proxy.refusing = true;
      place.proxy.cut();
    }
    let held = 0;
    const readAll = async () => {
      for (;;) held += (await reader.read()).value!.length;
    };
    await assertFails("UNREACHABLE", () => within("the end of the follower", readAll()));
    assert(held > 0 && held <= 5 * MIB, `${held} bytes were kept`);
  },
);
