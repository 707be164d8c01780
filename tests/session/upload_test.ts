import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { xxhash128 } from "hash-wasm";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import {
  type ErrorCode,
  ERRORS,
  LIMITS,
  type ResourceStatus,
  StreamError,
  SUBPROTOCOL,
} from "../../src/protocol.ts";
import type { Resources } from "../../src/resources.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { UploadSession } from "../../src/session/upload.ts";
import { utf8 } from "../helpers/bytes.ts";
import {
  assertBytes,
  eventually,
  FakeConnection,
  Peer,
  type Said,
  within,
} from "../helpers/frames/connection.ts";
import {
  GatedCatalog,
  GatedStorage,
  isCompleted,
  isFailed,
  memoryResources,
  statusOf,
} from "../helpers/server.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const start: Said = { "@": "StartUpload", metadata };
const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest("hex");

/** An uploader with a session of its own. */
function uploader(
  subprotocol: string,
  resources: Resources = memoryResources(),
  contextId: string | null = null,
  makesContexts?: boolean,
): Peer {
  const connection = new FakeConnection(subprotocol);
  const session = new UploadSession(connection, {
    resources,
    contextId,
    makesContexts,
    referenceTo: (id) => `ws://host/ws/streaming/download/${id}`,
    heartbeat: HEARTBEAT,
  });
  return new Peer(session, connection);
}

const native = (resources?: Resources, contextId?: string) =>
  uploader(SUBPROTOCOL, resources, contextId);
const step = (resources?: Resources, contextId?: string) => uploader("", resources, contextId);

/** Starts an upload; the id of its resource. */
async function begin(peer: Peer, message: Said = start): Promise<string> {
  peer.say(message);
  const { reference } = await peer.inbox.next("ReadyForUpload");
  return reference.uri.slice(reference.uri.lastIndexOf("/") + 1);
}

/** An upload of "one" that was finished, whose bytes the disk has not taken yet. */
async function finishing(subprotocol: string) {
  const storage = new GatedStorage();
  const resources = memoryResources({ storage });
  const peer = uploader(subprotocol, resources);
  const id = await begin(peer);
  storage.syncing.shut();
  peer.give(utf8("one\n"));
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one\n")) });
  return { storage, resources, peer, id };
}

async function contentOf(resources: Resources, id: string): Promise<Uint8Array> {
  await using opened = await resources.open(id);
  const { resource } = opened;
  try {
    const { currentSize } = resource.status;
    return currentSize === 0 ? new Uint8Array(0) : await resource.read(0, currentSize);
  } finally {
    await opened.release();
  }
}

/** Fails unless the session closed because of this error, and said so first if the peer is native. */
async function assertClosed(peer: Peer, code: ErrorCode): Promise<string> {
  const closing = await peer.inbox.close();
  assertEquals(closing.code, ERRORS[code].close, closing.reason);
  const errors = peer.inbox.all("Error");
  if (peer.connection.subprotocol === SUBPROTOCOL) {
    assertEquals(errors.map((error) => error.code), [code]);
    assertEquals(peer.inbox.order.at(-1), "Error");
  } else assertEquals(errors, []);
  return closing.reason;
}

async function assertFailed(
  resources: Resources,
  id: string,
  code: ErrorCode,
): Promise<ResourceStatus> {
  const status = await statusOf(resources, id, isFailed);
  assertMatch(status.failure!, new RegExp(`^${code}: .`));
  return status;
}

test("an upload is told where its resource is, what it may send and how to digest it", async () => {
  using peer = native();
  peer.say({ ...start, digests: ["sha256", "md5"] });
  const ready = await peer.inbox.next("ReadyForUpload");
  assertEquals(ready, {
    "@": "ReadyForUpload",
    reference: { uri: `ws://host/ws/streaming/download/${ready.id}` },
    id: ready.id,
    secret: ready.secret,
    epoch: 1,
    offset: 0,
    limit: 256 * KiB,
    digest: "sha256",
  });
  assertMatch(ready.secret!, /^[0-9a-f]{64}$/);
});

test("the digest is the first offered one that the server knows, md5 if there is none", async () => {
  const choices: [string[] | undefined, string][] = [
    [["xxh128", "sha256", "md5"], "xxh128"],
    [["crc32", "md5", "sha256"], "md5"],
    [["constructor", "sha256"], "sha256"],
    [["crc32"], "md5"],
    [[], "md5"],
    [undefined, "md5"],
  ];
  for (const [digests, chosen] of choices) {
    using peer = native();
    peer.say({ ...start, digests });
    assertEquals((await peer.inbox.next("ReadyForUpload")).digest, chosen);
  }
});

for (const algorithm of ["xxh128", "sha256", "md5"]) {
  test(`an upload with the right ${algorithm} is acknowledged and COMPLETED`, async () => {
    const resources = memoryResources();
    const bytes = new Uint8Array(randomBytes(100_000));
    using peer = native(resources);
    const id = await begin(peer, { ...start, digests: [algorithm] });
    for (let at = 0; at < bytes.length; at += 7000) peer.give(bytes.slice(at, at + 7000));
    const value = algorithm === "xxh128"
      ? await xxhash128(bytes)
      : createHash(algorithm).update(bytes).digest("hex");
    peer.say({ "@": "FinishUpload", checksum: value.toUpperCase(), size: bytes.length });

    const acknowledged = await peer.inbox.next("UploadAcknowledged");
    const { status, digest } = await resources.get(id);
    assertEquals(status.transferStatus, "COMPLETED");
    assertEquals([status.currentSize, status.durableSize], [bytes.length, bytes.length]);
    assertEquals(
      acknowledged,
      {
        "@": "UploadAcknowledged",
        size: bytes.length,
        numberOflines: status.numberOfLines,
        checksum: value,
        digest: algorithm,
      } as typeof acknowledged,
    );
    assertEquals(digest, { algorithm, value } as typeof digest);
    assertBytes(await contentOf(resources, id), bytes);
    assertEquals(peer.inbox.closing, null);
    assertEquals(resources.uploads, 0);
  });
}

test("the size need not be said", async () => {
  using peer = native();
  await begin(peer);
  peer.give(utf8("one\ntwo"));
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one\ntwo")) });
  const { size, numberOflines } = await peer.inbox.next("UploadAcknowledged");
  assertEquals([size, numberOflines], [7, 2]);
});

test("an upload without line access has no line count", async () => {
  using peer = native();
  await begin(peer, { ...start, metadata: { ...metadata, supportsLineAccess: false } });
  peer.give(utf8("one\n"));
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one\n")) });
  assertEquals((await peer.inbox.next("UploadAcknowledged")).numberOflines, null);
  for (const { resourceStatus } of peer.inbox.all("StatusChanged")) {
    assertEquals(resourceStatus.numberOfLines, null);
  }
});

test("an upload must say whether it has lines", async () => {
  using peer = native();
  const { supportsLineAccess: _, ...rest } = metadata;
  peer.say({ ...start, metadata: rest } as Said);
  await assertClosed(peer, "BAD_MESSAGE");
});

test("an empty upload completes with size 0 and 0 lines", async () => {
  using peer = native();
  await begin(peer);
  peer.give(new Uint8Array(0));
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("")), size: 0 });
  const { size, numberOflines } = await peer.inbox.next("UploadAcknowledged");
  assertEquals([size, numberOflines], [0, 0]);
});

test("the uploader hears of every checkpoint, in order, and of COMPLETED before the end", async () => {
  using peer = native();
  await begin(peer);
  for (const text of ["one\n", "two\n", "thr"]) {
    peer.give(utf8(text));
    const { length } = peer.inbox.all("StatusChanged");
    await peer.inbox.until("a status", () => peer.inbox.all("StatusChanged").length > length);
  }
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one\ntwo\nthr")) });
  await peer.inbox.next("UploadAcknowledged");
  const statuses = peer.inbox.all("StatusChanged").map(({ resourceStatus }) =>
    resourceStatus as ResourceStatus
  );
  assertEquals(statuses.map(({ currentSize }) => currentSize), [4, 8, 11, 11]);
  assertEquals(statuses.map(({ numberOfLines }) => numberOfLines), [1, 2, 2, 3]);
  assertEquals(statuses.map(({ sequence }) => sequence), [1, 2, 3, 4]);
  assertEquals(statuses.map(({ epoch }) => epoch), [1, 1, 1, 1]);
  assertEquals(statuses.map(({ transferStatus }) => transferStatus), [
    ...["IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"],
  ]);
  assertEquals(peer.inbox.order.slice(-2), ["StatusChanged", "UploadAcknowledged"]);
});

const finish: Said = { "@": "FinishUpload", checksum: md5(utf8("")) };
const notForUploads: Said[] = [
  { "@": "RequestChunk", startOffset: 0, endOffset: 0 },
  { "@": "RequestLines", startingLineIndex: 0, linesCount: 0 },
  { "@": "LocateLines", startingLineIndex: 0, linesCount: 0 },
  { "@": "Follow", from: 0, window: 65536 },
  { "@": "Consumed", offset: 0 },
  { "@": "ReadyForUpload", reference: { uri: "x" } },
  { "@": "Credit", limit: 1, acknowledged: 0 },
  { "@": "UploadAcknowledged", size: 0, numberOflines: 0, checksum: "" },
  { "@": "FollowEnd", offset: 0 },
  { "@": "Error", code: "INTERNAL", message: "" },
];

for (const subprotocol of [SUBPROTOCOL, ""]) {
  const kind = subprotocol === "" ? "Step" : "native";

  test(`${kind}: what comes before StartUpload is WRONG_STATE`, async () => {
    const early = [
      (peer: Peer) => peer.say(finish),
      (peer: Peer) => peer.give(utf8("a")),
      (peer: Peer) => peer.give(utf8("")),
      ...notForUploads.map((message) => (peer: Peer) => peer.say(message)),
    ];
    for (const act of early) {
      using peer = uploader(subprotocol);
      act(peer);
      await assertClosed(peer, "WRONG_STATE");
    }
  });

  test(`${kind}: what comes between StartUpload and ReadyForUpload is WRONG_STATE, and nobody is waited for`, async () => {
    for (const act of [(peer: Peer) => peer.give(utf8("a")), (peer: Peer) => peer.say(finish)]) {
      const resources = memoryResources({ resumeWindowMs: 60_000 });
      using peer = uploader(subprotocol, resources);
      const created = Promise.withResolvers<string>();
      resources.listen((event) => event.type === "created" && created.resolve(event.id));
      peer.say(start);
      act(peer);
      await assertClosed(peer, "WRONG_STATE");
      await assertFailed(
        resources,
        await within("the registration", created.promise),
        "WRONG_STATE",
      );
      assertEquals(peer.inbox.all("ReadyForUpload"), []);
    }
  });

  test(`${kind}: what does not fit a running upload is WRONG_STATE and makes it FAILED`, async () => {
    for (const message of [start, ...notForUploads]) {
      const resources = memoryResources();
      using peer = uploader(subprotocol, resources);
      const id = await begin(peer);
      peer.give(utf8("kept"), false);
      peer.say(message);
      await assertClosed(peer, "WRONG_STATE");
      const { currentSize } = await assertFailed(resources, id, "WRONG_STATE");
      assertEquals(currentSize, 4);
    }
  });

  test(`${kind}: what comes between FinishUpload and its answer is WRONG_STATE`, async () => {
    const late = [
      (peer: Peer) => peer.say(start),
      (peer: Peer) => peer.say(finish),
      (peer: Peer) => peer.give(utf8("a")),
    ];
    for (const act of late) {
      const storage = new GatedStorage();
      storage.syncing.shut();
      const resources = memoryResources({ storage });
      using peer = uploader(subprotocol, resources);
      const id = await begin(peer);
      peer.say(finish);
      act(peer);
      await assertClosed(peer, "WRONG_STATE");
      storage.syncing.open();
      // All bytes and the digest are there: the upload is complete whatever the connection did then.
      const { currentSize } = await statusOf(resources, id, isCompleted);
      assertEquals(currentSize, 0);
    }
  });

  test(`${kind}: what comes after the acknowledgement is WRONG_STATE and changes nothing`, async () => {
    const resources = memoryResources();
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    peer.say(finish);
    await peer.inbox.next("UploadAcknowledged");
    peer.give(utf8("a"));
    await assertClosed(peer, "WRONG_STATE");
    const { status } = await resources.get(id);
    assertEquals([status.transferStatus, status.currentSize], ["COMPLETED", 0]);
  });

  test(`${kind}: a wrong digest or size is CHECKSUM_MISMATCH, and the data stays`, async () => {
    const bytes = utf8("one\ntwo");
    const wrong = [
      { checksum: md5(utf8("other")) },
      { checksum: "" },
      { checksum: "x".repeat(60_000) },
      ...(subprotocol === "" ? [] : [{ checksum: md5(bytes), size: 6 }]),
    ];
    for (const said of wrong) {
      const resources = memoryResources();
      using peer = uploader(subprotocol, resources);
      const id = await begin(peer);
      peer.give(bytes);
      peer.say({ "@": "FinishUpload", ...said });
      const reason = await assertClosed(peer, "CHECKSUM_MISMATCH");
      assertStringIncludes(reason, "CHECKSUM_MISMATCH: ");
      const status = await assertFailed(resources, id, "CHECKSUM_MISMATCH");
      assertEquals([status.currentSize, status.numberOfLines], [7, 2]);
      assertEquals((await resources.get(id)).digest, null);
      assertBytes(await contentOf(resources, id), bytes);
      assertEquals(peer.inbox.all("UploadAcknowledged"), []);
    }
  });

  test(`${kind}: a connection that breaks makes the upload FAILED with all its bytes`, async () => {
    const resources = memoryResources({ checkpointIntervalMs: 60_000 });
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    const pieces = ["one\n", "two\nth", "ree"].map(utf8);
    for (const piece of pieces) peer.give(piece, false);
    peer.leave();
    const status = await assertFailed(resources, id, "INTERRUPTED");
    assertEquals([status.currentSize, status.durableSize, status.numberOfLines], [13, 13, 3]);
    assertBytes(await contentOf(resources, id), utf8("one\ntwo\nthree"));
    assertEquals(resources.uploads, 0);
  });

  test(`${kind}: the reason of an uploader that closes stands in the failure`, async () => {
    const resources = memoryResources();
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    peer.leave(1011, "Upload session was closed before input was signalled to be complete");
    const { failure } = await assertFailed(resources, id, "INTERRUPTED");
    assertStringIncludes(failure!, "closed before input was signalled to be complete");
  });

  test(`${kind}: an orderly close without FinishUpload makes the upload FAILED, too`, async () => {
    const resources = memoryResources();
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    peer.give(utf8("all of it"), true);
    peer.leave(1000, "Upload completed");
    await assertFailed(resources, id, "INTERRUPTED");
  });

  test(`${kind}: a connection that breaks during the registration leaves a FAILED resource`, async () => {
    const resources = memoryResources();
    using peer = uploader(subprotocol, resources);
    const created = Promise.withResolvers<string>();
    resources.listen((event) => event.type === "created" && created.resolve(event.id));
    peer.say(start);
    peer.leave();
    const id = await within("the registration", created.promise);
    await assertFailed(resources, id, "INTERRUPTED");
    await eventually("its place is free", () => resources.uploads === 0);
  });

  test(`${kind}: an upload is completed although the connection breaks after FinishUpload`, async () => {
    const { storage, resources, id, ...ends } = await finishing(subprotocol);
    using peer = ends.peer;
    peer.leave();
    storage.syncing.open();
    const { currentSize } = await statusOf(resources, id, isCompleted);
    assertEquals(currentSize, 4);
  });

  test(`${kind}: a server that ends acknowledges an upload before of which everything is there, unless that takes long`, async () => {
    for (const isLong of [false, true]) {
      const { storage, resources, id, ...ends } = await finishing(subprotocol);
      using peer = ends.peer;
      const session = peer.session as UploadSession;
      session.fail(new StreamError("SHUTDOWN", "the server was shut down"));
      if (!isLong) {
        storage.syncing.open();
        assertEquals((await peer.inbox.next("UploadAcknowledged")).size, 4);
      }
      await assertClosed(peer, "SHUTDOWN");
      storage.syncing.open();
      assertEquals((await statusOf(resources, id, isCompleted)).currentSize, 4);
    }
  });

  test(`${kind}: a malformed message is BAD_MESSAGE and makes the upload FAILED`, async () => {
    for (const text of ["", "{", "[]", '{"@":"FinishUpload"}', "[".repeat(60_000)]) {
      const resources = memoryResources();
      using peer = uploader(subprotocol, resources);
      const id = await begin(peer);
      peer.session.text(text);
      await assertClosed(peer, "BAD_MESSAGE");
      await assertFailed(resources, id, "BAD_MESSAGE");
    }
  });

  test(`${kind}: a control message of 64 KiB is read and a longer one is MESSAGE_TOO_LARGE`, async () => {
    const message = JSON.stringify({ ...start, padding: "" });
    const padded = (bytes: number, char: string) => {
      const missing = bytes - message.length;
      const chars = char.repeat(Math.floor(missing / utf8(char).length));
      const rest = "a".repeat(missing % utf8(char).length);
      return JSON.stringify({ ...start, padding: chars + rest });
    };
    for (const char of ["a", "€"]) {
      using accepted = uploader(subprotocol);
      accepted.session.text(padded(64 * KiB, char));
      await accepted.inbox.next("ReadyForUpload");
      using refused = uploader(subprotocol);
      refused.session.text(padded(64 * KiB + 1, char));
      await assertClosed(refused, "MESSAGE_TOO_LARGE");
    }
  });

  test(`${kind}: properties nobody knows are ignored`, async () => {
    using peer = uploader(subprotocol);
    await begin(peer, { ...start, metadata: { ...metadata, owner: "me" }, colour: "red" });
    peer.say({ ...finish, colour: "red" });
    await peer.inbox.next("UploadAcknowledged");
  });

  test(`${kind}: metadata that is not allowed is refused and leaves no resource`, async () => {
    for (const wrong of [{ filename: "" }, { filename: "a\0" }, { mimeType: "text" }]) {
      const resources = memoryResources();
      using peer = uploader(subprotocol, resources);
      peer.say({ ...start, metadata: { ...metadata, ...wrong } });
      await assertClosed(peer, "BAD_METADATA");
      assertEquals(await resources.list({ limit: 1 }), []);
    }
  });

  test(`${kind}: an upload without the required context is refused in the words Java knows`, async () => {
    const resources = memoryResources({ requireContext: true });
    using peer = uploader(subprotocol, resources);
    peer.say(start);
    const reason = await assertClosed(peer, "CONTEXT_REQUIRED");
    assertEquals(reason, "Missing parameter streamingUploadContextId");
    assertEquals(await resources.list({ limit: 1 }), []);
  });

  test(`${kind}: an upload belongs to its context`, async () => {
    const resources = memoryResources({ requireContext: true });
    await resources.createContext("run-17");
    using peer = uploader(subprotocol, resources, "run-17");
    const id = await begin(peer);
    assertEquals((await resources.get(id)).contextId, "run-17");
  });

  test(`${kind}: the quota's refusal at registration reaches the uploader`, async () => {
    const checkRegistration = () => {
      throw new Error("the disk is full");
    };
    const resources = memoryResources({ quota: { checkRegistration } });
    using peer = uploader(subprotocol, resources);
    peer.say(start);
    const reason = await assertClosed(peer, "QUOTA_EXCEEDED");
    assertEquals(reason, "QuotaExceededException: the disk is full");
    assertEquals(await resources.list({ limit: 1 }), []);
  });

  test(`${kind}: the quota's refusal of growth fails the upload, and what was there stays`, async () => {
    const checkGrowth = (_subject: unknown, size: number) => {
      if (size > 4) throw new Error("4 bytes are enough");
    };
    const resources = memoryResources({ quota: { checkGrowth } });
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    peer.give(utf8("good"), false);
    await statusOf(resources, id, ({ currentSize }) => currentSize === 4);
    peer.give(utf8("!"), false);
    const reason = await assertClosed(peer, "QUOTA_EXCEEDED");
    assertEquals(reason, "QuotaExceededException: 4 bytes are enough");
    const { currentSize } = await assertFailed(resources, id, "QUOTA_EXCEEDED");
    assertEquals(currentSize, 4);
  });

  test(`${kind}: a resource may have its largest size and not one byte more`, async () => {
    for (const size of [1000, 1001]) {
      const resources = memoryResources({ maxResourceBytes: 1000 });
      using peer = uploader(subprotocol, resources);
      await begin(peer);
      const bytes = new Uint8Array(size);
      peer.give(bytes);
      if (size > 1000) await assertClosed(peer, "QUOTA_EXCEEDED");
      else {
        peer.say({ "@": "FinishUpload", checksum: md5(bytes) });
        assertEquals((await peer.inbox.next("UploadAcknowledged")).size, 1000);
      }
    }
  });

  test(`${kind}: one upload above the most at the same time is LIMIT_REACHED`, async () => {
    const resources = memoryResources({ maxUploads: 1 });
    using first = uploader(subprotocol, resources);
    const id = await begin(first);
    using second = uploader(subprotocol, resources);
    second.say(start);
    await assertClosed(second, "LIMIT_REACHED");
    first.leave();
    await statusOf(resources, id, isFailed);
    await eventually("its place is free", () => resources.uploads === 0);
    using third = uploader(subprotocol, resources);
    await begin(third);
  });

  test(`${kind}: a disk that refuses fails the upload with what is on it`, async () => {
    const storage = new GatedStorage();
    const resources = memoryResources({ storage });
    using peer = uploader(subprotocol, resources);
    const id = await begin(peer);
    peer.give(utf8("kept"), false);
    await statusOf(resources, id, ({ currentSize }) => currentSize === 4);
    storage.failure = new StreamError("STORAGE_FAILED", "no space left");
    peer.give(utf8("lost"), false);
    await assertClosed(peer, "STORAGE_FAILED");
    const { currentSize } = await assertFailed(resources, id, "STORAGE_FAILED");
    assertEquals(currentSize, 4);
  });
}

test("native: a data message of 64 KiB is taken and a longer one is MESSAGE_TOO_LARGE", async () => {
  const resources = memoryResources();
  using peer = native(resources);
  const id = await begin(peer);
  peer.give(new Uint8Array(LIMITS.dataMessageBytes));
  peer.give(new Uint8Array(LIMITS.dataMessageBytes + 1));
  await assertClosed(peer, "MESSAGE_TOO_LARGE");
  const { currentSize } = await assertFailed(resources, id, "MESSAGE_TOO_LARGE");
  assertEquals(currentSize, LIMITS.dataMessageBytes);
});

test("native: messages are as long as both ends agree, 64 KiB to 256 KiB, on each connection anew", async () => {
  for (const [wished, agreed] of [[1, 64], [100 * KiB, 100], [2 ** 30, 256]]) {
    const resources = memoryResources({ resumeWindowMs: 60_000 });
    using first = native(resources);
    first.say({ ...start, messageBytes: wished });
    const { id, secret, messageBytes } = await first.inbox.next("ReadyForUpload");
    assertEquals(messageBytes, agreed * KiB);
    first.give(new Uint8Array(messageBytes!));
    first.leave();
    using second = native(resources);
    second.say({ "@": "ResumeUpload", id, secret });
    assertEquals((await second.inbox.next("ReadyForUpload")).messageBytes, undefined);
    second.give(new Uint8Array(LIMITS.dataMessageBytes + 1));
    await assertClosed(second, "MESSAGE_TOO_LARGE");
    const { currentSize } = await assertFailed(resources, id!, "MESSAGE_TOO_LARGE");
    assertEquals(currentSize, messageBytes);
  }
});

test("native: a message longer than was agreed on is MESSAGE_TOO_LARGE", async () => {
  const resources = memoryResources();
  using peer = native(resources);
  const id = await begin(peer, { ...start, messageBytes: 100 * KiB });
  peer.give(new Uint8Array(100 * KiB + 1));
  await assertClosed(peer, "MESSAGE_TOO_LARGE");
  assertEquals((await assertFailed(resources, id, "MESSAGE_TOO_LARGE")).currentSize, 0);
});

test("native: bytes up to the limit are taken, and the next one is CREDIT_EXCEEDED", async () => {
  const storage = new GatedStorage();
  storage.appending.shut();
  const resources = memoryResources({ storage });
  using peer = native(resources);
  peer.say(start);
  const { id, limit } = await peer.inbox.next("ReadyForUpload");
  for (let sent = 0; sent < limit!; sent += 32 * KiB) peer.give(new Uint8Array(32 * KiB));
  peer.give(new Uint8Array(0));
  assertEquals(peer.inbox.closing, null);
  peer.give(new Uint8Array(1));
  await assertClosed(peer, "CREDIT_EXCEEDED");
  storage.appending.open();
  const { currentSize } = await assertFailed(resources, id!, "CREDIT_EXCEEDED");
  assertEquals(currentSize, limit);
});

test("native: no credit comes for bytes that are not written", async () => {
  const storage = new GatedStorage();
  using peer = native(memoryResources({ storage }));
  await begin(peer);
  storage.appending.shut();
  for (let sent = 0; sent < 256 * KiB; sent += 64 * KiB) peer.give(new Uint8Array(64 * KiB));
  // An answer to what was sent last shows that all before it was seen.
  peer.say({ "@": "Ping", id: 1 });
  await peer.inbox.next("Pong");
  assertEquals(peer.inbox.all("Credit"), []);
  storage.appending.open();
  await peer.inbox.next("Credit");
});

/** Sends as fast as credit comes; every state of the window: what was sent, acknowledged and allowed. */
async function sendAll(peer: Peer, size: number): Promise<void> {
  peer.say(start);
  let { limit = 0 } = await peer.inbox.next("ReadyForUpload");
  for (let sent = 0; sent < size;) {
    while (sent === limit) ({ limit } = await peer.inbox.next("Credit"));
    const bytes = Math.min(limit - sent, LIMITS.dataMessageBytes, size - sent);
    peer.give(new Uint8Array(bytes));
    sent += bytes;
  }
}

test("native: Credit raises the limit, acknowledges what is written, and keeps the window", async () => {
  const size = 40 * MiB;
  using peer = native();
  await sendAll(peer, size);
  peer.say({ "@": "FinishUpload", checksum: md5(new Uint8Array(size)), size });
  await peer.inbox.next("UploadAcknowledged");
  const credits = peer.inbox.all("Credit");
  let before = { limit: 256 * KiB, acknowledged: 0 };
  for (const credit of credits) {
    assert(credit.limit > before.limit, "the limit did not grow");
    assert(credit.acknowledged >= before.acknowledged, "written bytes became fewer");
    assert(credit.acknowledged <= before.limit, "bytes were written that were not allowed");
    const window = credit.limit - credit.acknowledged;
    assert(window >= LIMITS.minUploadWindowBytes && window <= LIMITS.uploadWindowBytes);
    before = credit;
  }
  assert(credits.length > 0);
});

test("native: an upload that gets the least credit is not held up by the checkpoints", async () => {
  const resources = memoryResources({ receiveBudgetBytes: 0, checkpointIntervalMs: 60_000 });
  using peer = native(resources);
  await sendAll(peer, 2 * MiB);
  assertEquals(peer.inbox.all("ReadyForUpload")[0].limit, LIMITS.minUploadWindowBytes);
});

test("native: the credit of an upload that ended is there for others", async () => {
  const resources = memoryResources();
  const { freeBytes } = resources.creditPool;
  for (const end of [(peer: Peer) => peer.say(finish), (peer: Peer) => peer.leave()]) {
    using peer = native(resources);
    await begin(peer);
    assertEquals(resources.creditPool.freeBytes, freeBytes - 192 * KiB);
    end(peer);
    await eventually("the credit", () => resources.creditPool.freeBytes === freeBytes);
  }
});

test("native: AbortUpload makes the resource FAILED with its reason", async () => {
  const resources = memoryResources();
  using peer = native(resources);
  const id = await begin(peer);
  peer.give(utf8("some"));
  peer.say({ "@": "AbortUpload", reason: "changed my mind" });
  await assertClosed(peer, "ABORTED");
  const { failure, currentSize } = await statusOf(resources, id, isFailed);
  assertEquals([failure, currentSize], ["ABORTED: changed my mind", 4]);
});

for (
  const [kind, provoke] of Object.entries(
    {
      "gives up": [native, { "@": "AbortUpload", reason: "enough" }],
      "by Step breaks a rule": [step, { "@": "RequestChunk", startOffset: 0, endOffset: 1 }],
    } satisfies Record<string, [typeof native, Said]>,
  )
) {
  const [start, message] = provoke;
  test(`an uploader that ${kind} hears the close when the failure is recorded`, async () => {
    const catalog = new GatedCatalog();
    const resources = memoryResources({ catalog });
    using peer = start(resources);
    const id = await begin(peer);
    using shut = catalog.updating.shut();
    peer.say(message);
    await eventually("the record", () => catalog.updating.waiting > 0);
    assertEquals(peer.inbox.closing, null);
    shut[Symbol.dispose]();
    await peer.inbox.close();
    assertEquals((await resources.get(id)).status.transferStatus, "FAILED");
  });
}

test("native: a close does not wait for ever for a record", async () => {
  const catalog = new GatedCatalog();
  const resources = memoryResources({ catalog });
  using peer = native(resources);
  await begin(peer);
  using _ = catalog.updating.shut();
  peer.say({ "@": "AbortUpload", reason: "enough" });
  await assertClosed(peer, "ABORTED");
});

test("native: of a long reason everybody is told the beginning", async () => {
  const resources = memoryResources();
  using peer = native(resources);
  const id = await begin(peer);
  peer.say({ "@": "AbortUpload", reason: "é".repeat(20_000) });
  const { failure } = await statusOf(resources, id, isFailed);
  assertEquals(failure, `ABORTED: ${"é".repeat((1024 - 9 - 1) / 2)}`);
});

test("native: an unknown message is answered with an error and the upload goes on", async () => {
  using peer = native();
  peer.say({ "@": "Shout" });
  await begin(peer);
  for (const name of ["Whisper", "__proto__", "constructor"]) peer.say({ "@": name });
  peer.say(finish);
  await peer.inbox.next("UploadAcknowledged");
  const codes = peer.inbox.all("Error").map(({ code }) => code);
  assertEquals(codes, Array(4).fill("UNKNOWN_MESSAGE"));
  assertEquals(peer.inbox.closing, null);
});

test("native: a context nobody made is made", async () => {
  const catalog = new MemoryCatalog();
  const resources = memoryResources({ catalog, requireContext: true });
  using peer = native(resources, "run-18");
  const id = await begin(peer);
  assertEquals((await resources.get(id)).contextId, "run-18");
  assertEquals((await catalog.getContext("run-18"))?.id, "run-18");
});

test("native: a context id that is not allowed is BAD_METADATA", async () => {
  for (const contextId of ["a\nb", "a".repeat(257)]) {
    using peer = native(memoryResources(), contextId);
    peer.say(start);
    await assertClosed(peer, "BAD_METADATA");
  }
});

const resume = (id: string, secret: string): Said => ({ "@": "ResumeUpload", id, secret });

/** An upload whose connection broke after some bytes; who would go on with it knows its secret. */
async function interrupted(resources: Resources, content: string) {
  using peer = native(resources);
  peer.say({ ...start, digests: ["sha256"] });
  const { id = "", secret = "" } = await peer.inbox.next("ReadyForUpload");
  for (const char of content) peer.give(utf8(char));
  peer.leave();
  await statusOf(resources, id, ({ currentSize }) => currentSize === content.length);
  await eventually("the end of the connection", () => resources.uploads === 0);
  return { id, secret };
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

test("native: an upload whose connection broke stays IN_PROGRESS with all its bytes", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000, checkpointIntervalMs: 60_000 });
  const { id } = await interrupted(resources, "one\ntwo");
  const { status } = await resources.get(id);
  assertEquals([status.transferStatus, status.numberOfLines], ["IN_PROGRESS", 1]);
  assertBytes(await contentOf(resources, id), utf8("one\ntwo"));
  await resources.close();
});

test("native: an upload that nobody resumes is FAILED after the window, with its last line", async () => {
  const resources = memoryResources({ resumeWindowMs: 20 });
  const { id } = await interrupted(resources, "one\ntwo");
  const { currentSize, numberOfLines } = await assertFailed(resources, id, "INTERRUPTED");
  assertEquals([currentSize, numberOfLines], [7, 2]);
});

test("native: an upload goes on where the log ends, in a new epoch and with the same digest", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const { id, secret } = await interrupted(resources, "one\n");
  using peer = native(resources);
  peer.say(resume(id, secret));
  assertEquals(await peer.inbox.next("ReadyForUpload"), {
    "@": "ReadyForUpload",
    reference: { uri: `ws://host/ws/streaming/download/${id}` },
    id,
    secret,
    epoch: 2,
    offset: 4,
    limit: 4 + 256 * KiB,
    digest: "sha256",
  });
  peer.give(utf8("two\n"));
  peer.say({ "@": "FinishUpload", checksum: sha256("one\ntwo\n"), size: 8 });
  const { size, numberOflines } = await peer.inbox.next("UploadAcknowledged");
  assertEquals([size, numberOflines], [8, 2]);
  assertBytes(await contentOf(resources, id), utf8("one\ntwo\n"));
  const statuses = peer.inbox.all("StatusChanged").map(({ resourceStatus }) =>
    resourceStatus as ResourceStatus
  );
  assert(statuses.every(({ epoch }) => epoch === 2));
  assertEquals(statuses.at(-1)?.transferStatus, "COMPLETED");
});

test("native: only who knows the secret resumes an upload", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const { id, secret } = await interrupted(resources, "one\n");
  const attempts: [string, string, ErrorCode][] = [
    [id, "", "NOT_OWNER"],
    [id, secret.slice(1), "NOT_OWNER"],
    [id, secret.toUpperCase() + "0", "NOT_OWNER"],
    [id, "0".repeat(64), "NOT_OWNER"],
    [crypto.randomUUID(), secret, "NOT_FOUND"],
    ["../x", secret, "NOT_FOUND"],
  ];
  for (const [tried, shown, code] of attempts) {
    using peer = native(resources);
    peer.say(resume(tried, shown));
    await assertClosed(peer, code);
  }
  assertEquals((await resources.get(id)).status.transferStatus, "IN_PROGRESS");
  await resources.close();
});

test("native: who began an upload with a secret of its own begins it again, and goes on with it", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const refused: string[] = [];
  resources.listen((event) => void (event.type === "refused" && refused.push(event.id)));
  const chosen = { id: crypto.randomUUID(), secret: "a-secret_of-the-uploader-1234567" };
  using first = native(resources);
  first.say({ ...start, digests: ["sha256"], ...chosen });
  const ready = await first.inbox.next("ReadyForUpload");
  assertEquals([ready.id, ready.secret, ready.epoch], [chosen.id, chosen.secret, 1]);
  first.give(utf8("one\n"));
  await statusOf(resources, chosen.id, ({ currentSize }) => currentSize === 4);
  using second = native(resources);
  second.say({ ...start, digests: ["md5"], ...chosen });
  const again = await second.inbox.next("ReadyForUpload");
  assertEquals([again.id, again.secret, again.epoch], [chosen.id, chosen.secret, 2]);
  assertEquals([again.offset, again.digest], [4, "sha256"]);
  await assertClosed(first, "FENCED");
  second.say({ "@": "FinishUpload", checksum: sha256("one\n"), size: 4 });
  await second.inbox.next("UploadAcknowledged");
  using third = native(resources);
  third.say({ ...start, ...chosen });
  assertEquals((await third.inbox.next("UploadAcknowledged")).size, 4);
  assertEquals(refused, []);
  assertEquals((await resources.list({ limit: 9 })).length, 1);
  await resources.close();
});

test("native: an upload that is begun again while it is being registered is one, and the later connection's", async () => {
  const begun = Promise.withResolvers<void>();
  const registering = Promise.withResolvers<void>();
  class SlowStorage extends MemoryStorage {
    override async create(...args: Parameters<MemoryStorage["create"]>) {
      begun.resolve();
      await registering.promise;
      return await super.create(...args);
    }
  }
  const resources = memoryResources({ storage: new SlowStorage(), resumeWindowMs: 60_000 });
  const chosen = { id: crypto.randomUUID(), secret: "0".repeat(32) };
  using first = native(resources);
  using second = native(resources);
  first.say({ ...start, ...chosen });
  // Its secret is hashed by another thread, so that the next one could be faster.
  await begun.promise;
  second.say({ ...start, ...chosen });
  // A connection of which nobody heard that it broke is answered, too; one that did is not.
  using third = native(resources);
  third.say({ ...start, ...chosen });
  third.leave();
  registering.resolve();
  assertEquals((await first.inbox.next("ReadyForUpload")).epoch, 1);
  assertEquals((await second.inbox.next("ReadyForUpload")).epoch, 2);
  await assertClosed(first, "FENCED");
  second.give(utf8("one\n"));
  await statusOf(resources, chosen.id, ({ currentSize }) => currentSize === 4);
  assertEquals((await resources.list({ limit: 9 })).length, 1);
  await resources.close();
});

test("native: an id that another secret began, or none, is CONFLICT; a secret that may be guessed is refused", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const id = crypto.randomUUID();
  const secret = "0".repeat(32);
  using owner = native(resources);
  owner.say({ ...start, id, secret });
  await owner.inbox.next("ReadyForUpload");
  const attempts: [Record<string, string>, ErrorCode][] = [
    [{ id }, "CONFLICT"],
    [{ id, secret: "1".repeat(32) }, "CONFLICT"],
    [{ id: crypto.randomUUID(), secret: "0".repeat(31) }, "BAD_REQUEST"],
    [{ id: crypto.randomUUID(), secret: "0".repeat(129) }, "BAD_REQUEST"],
    [{ id: crypto.randomUUID(), secret: `${secret}/` }, "BAD_REQUEST"],
    [{ secret }, "BAD_REQUEST"],
  ];
  for (const [chosen, code] of attempts) {
    using peer = native(resources);
    peer.say({ ...start, ...chosen });
    await assertClosed(peer, code);
  }
  assertEquals((await resources.get(id)).status.epoch, 1);
  assertEquals((await resources.list({ limit: 9 })).length, 1);
  await resources.close();
});

test("native: a Step upload has no secret, so nobody resumes it", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  using owner = step(resources);
  const id = await begin(owner);
  for (const secret of ["", "null", "undefined"]) {
    using peer = native(resources);
    peer.say(resume(id, secret));
    await assertClosed(peer, "NOT_OWNER");
  }
});

test("native: a FAILED upload cannot be resumed, and a COMPLETED one is acknowledged again", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const failed = await interrupted(resources, "one\n");
  using aborting = native(resources);
  aborting.say(resume(failed.id, failed.secret));
  await aborting.inbox.next("ReadyForUpload");
  aborting.say({ "@": "AbortUpload", reason: "enough" });
  await statusOf(resources, failed.id, isFailed);
  using late = native(resources);
  late.say(resume(failed.id, failed.secret));
  await assertClosed(late, "WRONG_STATE");

  const completed = await interrupted(resources, "one\n");
  using finishing = native(resources);
  finishing.say(resume(completed.id, completed.secret));
  await finishing.inbox.next("ReadyForUpload");
  finishing.say({ "@": "FinishUpload", checksum: sha256("one\n") });
  const acknowledged = await finishing.inbox.next("UploadAcknowledged");
  using again = native(resources);
  again.say(resume(completed.id, completed.secret));
  assertEquals(await again.inbox.next("UploadAcknowledged"), acknowledged);
  assertEquals(acknowledged.digest, "sha256");
});

test("native: the newest connection owns the upload; what the older one sends is never appended", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  using older = native(resources);
  older.say(start);
  const { id = "", secret = "" } = await older.inbox.next("ReadyForUpload");
  older.give(utf8("older\n"));
  using newer = native(resources);
  newer.say(resume(id, secret));
  older.give(utf8("too late?\n"));
  const { offset, epoch } = await newer.inbox.next("ReadyForUpload");
  await assertClosed(older, "FENCED");
  older.give(utf8("too late\n"));
  assertEquals(epoch, 2);
  const kept = offset === 6 ? "older\n" : "older\ntoo late?\n";
  newer.give(utf8("newer\n"));
  newer.say({ "@": "FinishUpload", checksum: md5(utf8(`${kept}newer\n`)) });
  await newer.inbox.next("UploadAcknowledged");
  assertBytes(await contentOf(resources, id), utf8(`${kept}newer\n`));
});

test("native: ResumeUpload is only the first message of a native connection", async () => {
  const resources = memoryResources({ resumeWindowMs: 60_000 });
  const { id, secret } = await interrupted(resources, "one\n");
  using running = native(resources);
  await begin(running);
  running.say(resume(id, secret));
  await assertClosed(running, "WRONG_STATE");
  using resumed = native(resources);
  resumed.say(resume(id, secret), start);
  await assertClosed(resumed, "WRONG_STATE");
  using old = step(resources);
  old.say(resume(id, secret));
  await assertClosed(old, "WRONG_STATE");
  await resources.close();
});

test("Step: an upload gets the three messages of the Java server and nothing else", async () => {
  const resources = memoryResources();
  const bytes = utf8("one\ntwo\r\nthree");
  using peer = step(resources);
  const id = await begin(peer);
  await peer.give(bytes.slice(0, 5), false);
  await statusOf(resources, id, ({ currentSize }) => currentSize === 5);
  await peer.give(bytes.slice(5), true);
  peer.say({ "@": "FinishUpload", checksum: md5(bytes) });
  await peer.inbox.next("UploadAcknowledged");
  assertEquals(peer.inbox.items, [
    {
      "@": "ReadyForUpload",
      reference: { uri: `ws://host/ws/streaming/download/${id}` },
    },
    { "@": "UploadAcknowledged", size: 14, numberOflines: 3, checksum: md5(bytes) },
  ]);
  peer.leave(1000, "Upload completed");
  assertEquals((await resources.get(id)).status.transferStatus, "COMPLETED");
});

test("Step: digests and sizes that a client should not send are not taken up", async () => {
  using peer = step();
  await begin(peer, { ...start, digests: ["xxh128"] });
  peer.give(utf8("one"));
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one")) });
  assertEquals((await peer.inbox.next("UploadAcknowledged")).checksum, md5(utf8("one")));
});

const emptyUploads: Record<string, (peer: Peer) => void> = {
  "no message": () => {},
  "one empty message": (peer) => peer.give(utf8("")),
  "an empty message in two fragments": (peer) => {
    peer.give(utf8(""), false);
    peer.give(utf8(""), true);
  },
};
for (const [form, act] of Object.entries(emptyUploads)) {
  test(`Step: an empty upload may be ${form}`, async () => {
    using peer = step();
    await begin(peer);
    act(peer);
    peer.say(finish);
    const { size, numberOflines } = await peer.inbox.next("UploadAcknowledged");
    assertEquals([size, numberOflines], [0, 0]);
  });
}

test("Step: fragments are readable while the message goes on", async () => {
  const resources = memoryResources();
  using peer = step(resources);
  const id = await begin(peer);
  const fragments = ["", "one\n", "", "two", "\nthree\n"].map(utf8);
  let size = 0;
  for (const fragment of fragments) {
    await peer.give(fragment, false);
    size += fragment.length;
    await statusOf(resources, id, ({ currentSize }) => currentSize === size);
  }
  assertBytes(await contentOf(resources, id), utf8("one\ntwo\nthree\n"));
  peer.give(utf8(""), true);
  peer.say({ "@": "FinishUpload", checksum: md5(utf8("one\ntwo\nthree\n")) });
  await peer.inbox.next("UploadAcknowledged");
});

test("Step: one fragment may be larger than any native message", async () => {
  const bytes = new Uint8Array(randomBytes(3 * MiB));
  const resources = memoryResources();
  using peer = step(resources);
  const id = await begin(peer);
  await peer.give(bytes.slice());
  peer.say({ "@": "FinishUpload", checksum: md5(bytes) });
  await peer.inbox.next("UploadAcknowledged");
  assertBytes(await contentOf(resources, id), bytes);
});

test("Step: a second binary message is WRONG_STATE, even an empty one", async () => {
  for (const second of [utf8("more"), utf8("")]) {
    const resources = memoryResources();
    using peer = step(resources);
    const id = await begin(peer);
    peer.give(utf8("all"), true);
    peer.give(second, true);
    await assertClosed(peer, "WRONG_STATE");
    const { currentSize } = await assertFailed(resources, id, "WRONG_STATE");
    assertEquals(currentSize, 3);
  }
});

test("Step: a transport is asked to wait while 4 MiB are not written, and no longer", async () => {
  const storage = new GatedStorage();
  using peer = step(memoryResources({ storage }));
  await begin(peer);
  storage.appending.shut();
  const fragment = () => peer.give(new Uint8Array(64 * KiB), false);
  for (let sent = 64 * KiB; sent < 4 * MiB; sent += 64 * KiB) assertEquals(fragment(), undefined);
  const room = fragment();
  assert(room instanceof Promise);
  assertEquals(await Promise.race([room, "waiting"]), "waiting");
  storage.appending.open();
  await within("room", room);
});

test("Step: a transport that waits goes on when the upload ends", async () => {
  for (const end of [(peer: Peer) => peer.leave(), (peer: Peer) => peer.say(start)]) {
    const storage = new GatedStorage();
    using peer = step(memoryResources({ storage }));
    await begin(peer);
    storage.appending.shut();
    const room = peer.give(new Uint8Array(4 * MiB), false);
    end(peer);
    await within("room", Promise.resolve(room));
    storage.appending.open();
  }
});

test("Step: an unknown message closes with 1003 and makes the upload FAILED", async () => {
  const resources = memoryResources();
  using peer = step(resources);
  const id = await begin(peer);
  peer.say({ "@": "Shout" });
  await assertClosed(peer, "UNKNOWN_MESSAGE");
  assertEquals(peer.inbox.closing?.code, 1003);
  await assertFailed(resources, id, "UNKNOWN_MESSAGE");
});

test("Step: an upload never loses its context: an unknown one is made where that is wanted", async () => {
  const resources = memoryResources({ maxContextBytes: 4 });
  using peer = uploader("", resources, "nobody-made-it", true);
  const id = await begin(peer);
  assertEquals((await resources.get(id)).contextId, "nobody-made-it");
  await peer.give(utf8("five!"));
  await assertClosed(peer, "QUOTA_EXCEEDED");
});

test("Step: an unknown context is CONTEXT_UNKNOWN otherwise, whether contexts are required or not", async () => {
  for (const requireContext of [false, true]) {
    const resources = memoryResources({ requireContext });
    using peer = step(resources, "nobody-made-it");
    peer.say(start);
    await assertClosed(peer, "CONTEXT_UNKNOWN");
    assertEquals(await resources.list({ limit: 1 }), []);
  }
});
