import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  type ErrorCode,
  ERRORS,
  LIMITS,
  type MessageOf,
  type ResourceStatus,
  type StepStatus,
  StreamError,
  SUBPROTOCOL,
} from "../../src/protocol.ts";
import { followFrom, type Resources } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import { HEARTBEAT } from "../../src/session.ts";
import { DownloadSession } from "../../src/session/download.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, FakeConnection, Peer, type Said } from "../helpers/frames/connection.ts";
import { memoryResources, statusOf } from "../helpers/server.ts";
import { changed } from "../helpers/storage.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** A reader with a session of its own. */
function reader(subprotocol: string, resources: Resources, id: string): Peer {
  const connection = new FakeConnection(subprotocol);
  return new Peer(
    new DownloadSession(connection, { resources, id, heartbeat: HEARTBEAT }),
    connection,
  );
}

/** A resource that its test appends to. */
class Source {
  readonly #parts: Uint8Array[] = [];

  private constructor(readonly resources: Resources, readonly appender: Appender) {}

  static async open(
    { supportsLineAccess = true, resources = memoryResources() } = {},
  ): Promise<Source> {
    const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess };
    const { appender } = await resources.register({
      metadata,
      contextId: null,
      ownedBy: "CONNECTION",
      makeContext: true,
      digests: [],
    });
    return new Source(resources, appender);
  }

  /** One that holds these bytes and goes on. */
  static async holding(content: string | Uint8Array, supportsLineAccess = true): Promise<Source> {
    const source = await Source.open({ supportsLineAccess });
    await source.append(content);
    return source;
  }

  /** One that is COMPLETED with these bytes. */
  static async completed(content: string | Uint8Array, supportsLineAccess = true): Promise<Source> {
    const source = await Source.holding(content, supportsLineAccess);
    await source.complete();
    return source;
  }

  get id(): string {
    return this.appender.resource.id;
  }

  /** Appends, and waits until that is readable. */
  async append(content: string | Uint8Array): Promise<void> {
    const bytes = typeof content === "string" ? utf8(content) : content;
    this.#parts.push(bytes.slice());
    this.appender.append(bytes);
    const { received } = this.appender;
    await statusOf(this.resources, this.id, ({ currentSize }) => currentSize === received);
  }

  /** All bytes that were appended. */
  get content(): Uint8Array {
    return concat(this.#parts);
  }

  async complete(): Promise<void> {
    await this.appender.complete(createHash("md5").update(this.content).digest("hex"));
  }

  fail(): Promise<void> {
    return this.appender.fail(new StreamError("INTERRUPTED", "the connection broke"));
  }

  native(): Peer {
    return reader(SUBPROTOCOL, this.resources, this.id);
  }

  step(): Peer {
    return reader("", this.resources, this.id);
  }
}

async function assertClosed(peer: Peer, code: ErrorCode): Promise<string> {
  const closing = await peer.inbox.close();
  assertEquals(closing.code, ERRORS[code].close, closing.reason);
  assertStringIncludes(closing.reason, `${code}: `);
  const errors = peer.inbox.all("Error").map((error) => error.code);
  assertEquals(errors, peer.connection.subprotocol === "" ? [] : [code]);
  return closing.reason;
}

const chunk = (startOffset: number, endOffset: number): Said => ({
  "@": "RequestChunk",
  startOffset,
  endOffset,
});
const lines = (startingLineIndex: number, linesCount: number): Said => ({
  "@": "RequestLines",
  startingLineIndex,
  linesCount,
});
const locate = (startingLineIndex: number, linesCount: number): Said => ({
  "@": "LocateLines",
  startingLineIndex,
  linesCount,
});
const follow = (more: Partial<MessageOf<"Follow">> = {}): Said => ({
  "@": "Follow",
  from: 0,
  window: LIMITS.downloadWindowBytes,
  ...more,
});
const consumed = (offset: number): Said => ({ "@": "Consumed", offset });

const statuses = (peer: Peer): StepStatus[] =>
  peer.inbox.all("StatusChanged").map(({ resourceStatus }) => resourceStatus);

for (const subprotocol of [SUBPROTOCOL, ""]) {
  const kind = subprotocol === "" ? "Step" : "native";
  const open = ({ resources, id }: Source) => reader(subprotocol, resources, id);

  test(`${kind}: the newest status comes at once, and then every new one`, async () => {
    const source = await Source.open();
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    await source.append("one\n");
    await peer.inbox.next("StatusChanged");
    await source.append("tw");
    await peer.inbox.next("StatusChanged");
    await source.complete();
    await peer.inbox.next("StatusChanged");
    const seen = statuses(peer).map(({ transferStatus, currentSize, numberOfLines }) =>
      [transferStatus, currentSize, numberOfLines] as const
    );
    assertEquals(seen, [
      ["INITIATED", 0, 0],
      ["IN_PROGRESS", 4, 1],
      ["IN_PROGRESS", 6, 1],
      ["COMPLETED", 6, 2],
    ]);
  });

  test(`${kind}: a reader of a finished resource gets its last status and every range`, async () => {
    const source = await Source.completed("one\ntwo");
    using peer = open(source);
    const { resourceStatus } = await peer.inbox.next("StatusChanged");
    assertEquals(resourceStatus.transferStatus, "COMPLETED");
    assertEquals([resourceStatus.currentSize, resourceStatus.numberOfLines], [7, 2]);
    peer.say(chunk(0, 7));
    assertBytes(await peer.inbox.nextData(), utf8("one\ntwo"));
  });

  test(`${kind}: a FAILED resource keeps its bytes and counts its last line`, async () => {
    const source = await Source.holding("one\ntwo");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    await source.fail();
    const { resourceStatus } = await peer.inbox.next("StatusChanged");
    assertEquals(resourceStatus.transferStatus, "FAILED");
    assertEquals([resourceStatus.currentSize, resourceStatus.numberOfLines], [7, 2]);
    peer.say(chunk(0, 7));
    assertBytes(await peer.inbox.nextData(), utf8("one\ntwo"));
  });

  test(`${kind}: without line access there is no line count`, async () => {
    using peer = open(await Source.completed("one\n", false));
    assertEquals((await peer.inbox.next("StatusChanged")).resourceStatus.numberOfLines, null);
  });

  test(`${kind}: an id nobody has is NOT_FOUND, whatever it looks like`, async () => {
    const resources = memoryResources();
    for (const id of [crypto.randomUUID(), "", "42", "../x", "__proto__", "x".repeat(10_000)]) {
      using peer = reader(subprotocol, resources, id);
      await assertClosed(peer, "NOT_FOUND");
      assertEquals(statuses(peer), []);
    }
  });

  test(`${kind}: a chunk is exactly one binary message, whatever its range`, async () => {
    const bytes = new Uint8Array(randomBytes(2 * MiB));
    const source = await Source.holding(bytes.slice());
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    const ranges = [
      ...[[0, 2 * MiB], [0, 0], [2 * MiB, 2 * MiB], [2 * MiB - 1, 2 * MiB]],
      ...[[0, 1], [65_535, 65_537], [1000, 1_500_000]],
    ];
    for (const [start, end] of ranges) {
      peer.say(chunk(start, end));
      assertBytes(await peer.inbox.nextData(), bytes.subarray(start, end));
    }
    assertEquals(peer.inbox.data.length, ranges.length);
  });

  test(`${kind}: a chunk past the newest status or backwards is RANGE_NOT_AVAILABLE`, async () => {
    for (const [start, end] of [[0, 5], [5, 5], [3, 2], [0, 2 ** 50]]) {
      using peer = open(await Source.holding("1234"));
      await peer.inbox.next("StatusChanged");
      peer.say(chunk(start, end));
      await assertClosed(peer, "RANGE_NOT_AVAILABLE");
      assertEquals(peer.inbox.data, []);
    }
  });

  test(`${kind}: statuses wait while a chunk is sent, and only the newest comes after it`, async () => {
    const source = await Source.holding("one\n");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    peer.connection.room.shut();
    peer.say(chunk(0, 4));
    await peer.inbox.nextData();
    await source.append("two\n");
    await source.append("three\n");
    assertEquals(peer.inbox.order, ["StatusChanged", "bytes"]);
    peer.connection.room.open();
    const { resourceStatus } = await peer.inbox.next("StatusChanged");
    assertEquals(resourceStatus.currentSize, 14);
    await source.append("4");
    assertEquals((await peer.inbox.next("StatusChanged")).resourceStatus.currentSize, 15);
    assertEquals(peer.inbox.order.length, 4);
  });

  test(`${kind}: a range that a new status shows can be asked for once that status came`, async () => {
    const source = await Source.open();
    using peer = open(source);
    for (let size = 1; size <= 20; size++) {
      await source.append("x");
      await peer.inbox.until("the status", () => statuses(peer).at(-1)?.currentSize === size);
      peer.say(chunk(size - 1, size));
      await peer.inbox.nextData();
    }
    assertEquals(peer.inbox.bytes, utf8("x".repeat(20)));
  });

  /** Java clients may not know that one more is enough. */
  const most = kind === "native" ? 2 : 64;
  const beyond = Array.from({ length: most + 1 }, () => chunk(0, 4));

  test(`${kind}: requests wait their turn, and one beyond ${most} is WRONG_STATE`, async () => {
    const source = await Source.holding("one\ntwo\n");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    peer.connection.room.shut();
    peer.say(chunk(0, 4), lines(1, 1));
    peer.connection.room.open();
    assertEquals((await peer.inbox.next("Lines")).lines, ["two\n"]);
    assertEquals(peer.inbox.order.slice(1), ["bytes", "Lines"]);
    peer.connection.room.shut();
    peer.say(...beyond.slice(1));
    peer.connection.room.open();
    const answers = 2 + most;
    await peer.inbox.until("all answers", () => peer.inbox.order.length === 1 + answers);
    peer.connection.room.shut();
    peer.say(...beyond);
    peer.connection.room.open();
    await assertClosed(peer, "WRONG_STATE");
  });

  test(`${kind}: requests may be sent before the first status, and one beyond ${most} is WRONG_STATE`, async () => {
    const source = await Source.completed("one\ntwo\n");
    using peer = open(source);
    peer.say(chunk(0, 4), lines(1, 1));
    assertEquals((await peer.inbox.next("Lines")).lines, ["two\n"]);
    assertEquals(peer.inbox.order, ["StatusChanged", "bytes", "Lines"]);
    using hasty = open(source);
    hasty.say(lines(1, 1), ...beyond.slice(1));
    await assertClosed(hasty, "WRONG_STATE");
  });

  test(`${kind}: a request before the first status is answered after it`, async () => {
    using peer = open(await Source.completed("one\n"));
    peer.say(chunk(0, 4));
    await peer.inbox.nextData();
    assertEquals(peer.inbox.order, ["StatusChanged", "bytes"]);
  });

  test(`${kind}: lines have their line breaks, and the last may lack one at the end`, async () => {
    const source = await Source.holding("first\nsecond\r\n\nfourth é€😀\nlast");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    const ask = async (start: number, count: number) => {
      peer.say(lines(start, count));
      return (await peer.inbox.next("Lines")).lines;
    };
    assertEquals(await ask(0, 4), ["first\n", "second\r\n", "\n", "fourth é€😀\n"]);
    assertEquals(await ask(1, 1), ["second\r\n"]);
    assertEquals(await ask(2, 0), []);
    assertEquals(await ask(4, 0), []);
    await source.complete();
    await peer.inbox.until("the end", () => statuses(peer).at(-1)?.numberOfLines === 5);
    assertEquals(await ask(3, 2), ["fourth é€😀\n", "last"]);
    assertEquals(await ask(0, 5), ["first\n", "second\r\n", "\n", "fourth é€😀\n", "last"]);
    assertEquals(await ask(5, 0), []);
  });

  test(`${kind}: malformed UTF-8 becomes U+FFFD within its line, and a mark stays`, async () => {
    const bytes = Uint8Array.of(0xef, 0xbb, 0xbf, 97, 0xff, 10, 0xe2, 0x82, 10, 98);
    using peer = open(await Source.completed(bytes));
    await peer.inbox.next("StatusChanged");
    peer.say(lines(0, 3));
    assertEquals((await peer.inbox.next("Lines")).lines, ["\ufeffa\ufffd\n", "\ufffd\n", "b"]);
  });

  test(`${kind}: an empty resource has no lines`, async () => {
    using peer = open(await Source.completed(""));
    assertEquals((await peer.inbox.next("StatusChanged")).resourceStatus.numberOfLines, 0);
    peer.say(lines(0, 0));
    assertEquals((await peer.inbox.next("Lines")).lines, []);
  });

  test(`${kind}: lines of a resource without line access are NO_LINE_ACCESS`, async () => {
    using peer = open(await Source.completed("one\n", false));
    peer.say(lines(0, 0));
    await assertClosed(peer, "NO_LINE_ACCESS");
  });

  test(`${kind}: lines that begin past the count are LINES_NOT_AVAILABLE`, async () => {
    for (const [start, count] of [[3, 0], [3, 1], [2 ** 50, 1]]) {
      using peer = open(await Source.holding("one\ntwo\nthr"));
      peer.say(lines(start, count));
      await assertClosed(peer, "LINES_NOT_AVAILABLE");
    }
  });

  test(`${kind}: what belongs on other connections is WRONG_STATE`, async () => {
    const source = await Source.completed("one\n");
    const foreign: Said[] = [
      {
        "@": "StartUpload",
        metadata: { filename: "a", mimeType: "a/b", supportsLineAccess: true },
      },
      { "@": "FinishUpload", checksum: "" },
      { "@": "AbortUpload", reason: "" },
      { "@": "Credit", limit: 1, acknowledged: 0 },
      { "@": "Lines", lines: [] },
      { "@": "FollowEnd", offset: 0 },
    ];
    for (const message of foreign) {
      using peer = open(source);
      await peer.inbox.next("StatusChanged");
      peer.say(message);
      await assertClosed(peer, "WRONG_STATE");
    }
    using peer = open(source);
    peer.give(utf8("data"));
    await assertClosed(peer, "WRONG_STATE");
  });

  test(`${kind}: a malformed message is BAD_MESSAGE`, async () => {
    const source = await Source.completed("one\n");
    for (const text of ["", "{}", '{"@":"RequestChunk","startOffset":-1,"endOffset":0}']) {
      using peer = open(source);
      peer.session.text(text);
      await assertClosed(peer, "BAD_MESSAGE");
    }
  });

  test(`${kind}: a request with properties nobody knows is answered`, async () => {
    using peer = open(await Source.completed("one\n"));
    peer.say({ ...chunk(0, 4), colour: "red" });
    assertBytes(await peer.inbox.nextData(), utf8("one\n"));
  });

  test(`${kind}: a deleted resource closes its readers with DELETED`, async () => {
    const source = await Source.completed("one\n");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    await source.resources.delete(source.id);
    await assertClosed(peer, "DELETED");
    using late = open(source);
    await assertClosed(late, "NOT_FOUND");
  });

  test(`${kind}: who leaves is forgotten, even while an answer waits`, async () => {
    const source = await Source.holding("one\n");
    const { resource } = source.appender;
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    assertEquals(resource.watchers, 1);
    peer.connection.room.shut();
    peer.say(chunk(0, 4), chunk(0, 4));
    await peer.inbox.nextData();
    peer.leave();
    assertEquals(resource.watchers, 0);
    peer.connection.room.open();
    await source.append("two\n");
    assertEquals(peer.inbox.order, ["StatusChanged", "bytes"]);
  });

  test(`${kind}: who leaves before the resource was found leaves nothing behind`, async () => {
    const source = await Source.completed("one\n");
    using peer = open(source);
    peer.leave();
    using other = open(source);
    await other.inbox.next("StatusChanged");
    assertEquals(peer.inbox.items, []);
    other.leave();
    await source.resources.delete(source.id);
  });

  test(`${kind}: a disk that cannot be read is an error, not silence`, async () => {
    const source = await Source.completed("one\n");
    using peer = open(source);
    await peer.inbox.next("StatusChanged");
    await using opened = await source.resources.open(source.id);
    const { resource } = opened;
    resource.lend = () => Promise.reject(new StreamError("STORAGE_FAILED", "a bad sector"));
    peer.say(chunk(0, 4));
    await assertClosed(peer, "STORAGE_FAILED");
  });
}

test("Step: lines past the count are LINES_NOT_AVAILABLE, also when some of them are there", async () => {
  for (const [start, count] of [[0, 3], [2, 1], [1, 2]]) {
    using peer = (await Source.holding("one\ntwo\nthr")).step();
    await peer.inbox.next("StatusChanged");
    peer.say(lines(start, count));
    await assertClosed(peer, "LINES_NOT_AVAILABLE");
  }
});

test("Step: lines of 16 MiB are one answer, and one byte more is MESSAGE_TOO_LARGE", async () => {
  const content = new Uint8Array(16 * MiB).fill(97);
  content[1000] = content[16 * MiB - 1] = 10;
  const source = await Source.holding(content);
  await source.append("\n");
  using peer = source.step();
  await peer.inbox.next("StatusChanged");
  peer.say(lines(0, 2));
  const answer = await peer.inbox.next("Lines");
  assertEquals(answer.lines.map((line) => line.length), [1001, 16 * MiB - 1001]);
  peer.say(lines(0, 3));
  await assertClosed(peer, "MESSAGE_TOO_LARGE");
});

test("Step: an unknown message closes with 1003", async () => {
  using peer = (await Source.completed("one\n")).step();
  peer.say({ "@": "Shout" });
  await assertClosed(peer, "UNKNOWN_MESSAGE");
  assertEquals(peer.inbox.closing?.code, 1003);
});

test("Step: the messages of native connections are WRONG_STATE", async () => {
  const source = await Source.completed("one\n");
  for (const message of [follow(), locate(0, 1), consumed(0)]) {
    using peer = source.step();
    await peer.inbox.next("StatusChanged");
    peer.say(message);
    await assertClosed(peer, "WRONG_STATE");
  }
});

test("native: a status says what is durable, which epoch and number it has, and why it failed", async () => {
  const source = await Source.holding("one\n");
  using peer = source.native();
  const { resourceStatus } = await peer.inbox.next("StatusChanged");
  const { life } = resourceStatus;
  assertMatch(life!, /^[0-9a-z]+$/);
  assertEquals(resourceStatus, {
    transferStatus: "IN_PROGRESS",
    currentSize: 4,
    numberOfLines: 1,
    durableSize: 0,
    epoch: 1,
    sequence: 1,
    life,
    failure: null,
  });
  await source.fail();
  const last = (await peer.inbox.next("StatusChanged")).resourceStatus as ResourceStatus;
  assertEquals([last.durableSize, last.epoch, last.sequence], [4, 1, 2]);
  assertEquals(last.failure, "INTERRUPTED: the connection broke");
});

test("native: an unknown message is answered with an error and the connection goes on", async () => {
  using peer = (await Source.completed("one\n")).native();
  for (const name of ["Shout", "__proto__"]) {
    peer.say({ "@": name });
    assertEquals((await peer.inbox.next("Error")).code, "UNKNOWN_MESSAGE");
  }
  peer.say(chunk(0, 4));
  await peer.inbox.nextData();
  assertEquals(peer.inbox.closing, null);
});

/** Asks for a window page by page; the pages. */
async function pages(peer: Peer, start: number, count: number): Promise<MessageOf<"Lines">[]> {
  const answers: MessageOf<"Lines">[] = [];
  let next: { lineIndex: number; byteOffset: number } | null = { lineIndex: start, byteOffset: 0 };
  while (next !== null) {
    const { lineIndex, byteOffset } = next;
    peer.say({ ...lines(lineIndex, start + count - lineIndex), startingByteOffset: byteOffset });
    const answer = await peer.inbox.next("Lines");
    assertEquals(answer.startingLineIndex, lineIndex);
    assertEquals(answer.startingByteOffset, byteOffset);
    answers.push(answer);
    next = answer.next!;
  }
  return answers;
}

test("native: a window that ends past the count ends with the count", async () => {
  using peer = (await Source.holding("one\ntwo\nthr")).native();
  const windows: [number, number, string[]][] = [
    [0, 100, ["one\n", "two\n"]],
    [1, 100, ["two\n"]],
    [2, 100, []],
    [0, 2 ** 52, ["one\n", "two\n"]],
  ];
  for (const [start, count, expected] of windows) {
    peer.say(lines(start, count));
    assertEquals(await peer.inbox.next("Lines"), {
      "@": "Lines",
      lines: expected,
      startingLineIndex: start,
      startingByteOffset: 0,
      next: null,
    });
  }
});

test("native: an answer has at most 10 000 lines, and says where the next begins", async () => {
  const count = 20_001;
  const all = Array.from({ length: count }, (_, index) => `${index}\n`);
  using peer = (await Source.holding(all.join(""))).native();
  const answers = await pages(peer, 0, count);
  assertEquals(answers.map((answer) => answer.lines.length), [10_000, 10_000, 1]);
  assertEquals(answers.flatMap((answer) => answer.lines), all);
  assertEquals((await pages(peer, 1, 10_000)).length, 1);
});

test("native: an answer has at most 256 KiB of text, cut between lines where they fit", async () => {
  const all = Array.from({ length: 700 }, (_, index) => "é".repeat(index % 1000) + "\n");
  using peer = (await Source.holding(all.join(""))).native();
  const answers = await pages(peer, 0, 700);
  for (const answer of answers) {
    assert(utf8(answer.lines.join("")).length <= LIMITS.linesAnswerBytes);
    assertEquals(answer.startingByteOffset, 0);
  }
  assertEquals(answers.flatMap((answer) => answer.lines), all);
  assert(answers.length < 4);
});

test("native: a line that does not fit comes in pieces, cut between characters", async () => {
  for (const char of ["a", "é", "€", "😀"]) {
    const long = char.repeat(Math.ceil(600 * KiB / utf8(char).length)) + "\n";
    using peer = (await Source.holding(`short\n${long}tail\n`)).native();
    const answers = await pages(peer, 0, 3);
    for (const answer of answers) {
      const text = answer.lines.join("");
      assert(utf8(text).length <= LIMITS.linesAnswerBytes);
      assert(!text.includes("\ufffd"));
    }
    assertEquals(answers.flatMap((answer) => answer.lines).join(""), `short\n${long}tail\n`);
    assertEquals(answers.map(({ next }) => next?.lineIndex), [1, 1, 1, undefined]);
  }
});

test("native: a line of bytes that are no UTF-8 comes in pieces, too", async () => {
  const content = new Uint8Array(300 * KiB).fill(0x80);
  using peer = (await Source.completed(content)).native();
  const answers = await pages(peer, 0, 1);
  assertEquals(answers.flatMap(({ lines }) => lines).join(""), "\ufffd".repeat(300 * KiB));
});

test("native: a piece that would begin past the end of its line is LINES_NOT_AVAILABLE", async () => {
  for (const startingByteOffset of [5, 9, 100]) {
    using peer = (await Source.completed("one\ntwo\nthree\n")).native();
    peer.say({ ...lines(0, 3), startingByteOffset });
    await assertClosed(peer, "LINES_NOT_AVAILABLE");
  }
});

test("native: lines are located as far as they are there, from either end", async () => {
  using peer = (await Source.completed("one\ntwo\nthree\nlast")).native();
  const windows: [start: number, count: number, located: [number, number, number, number]][] = [
    [0, 4, [0, 4, 0, 18]],
    [1, 2, [1, 2, 4, 14]],
    [1, 0, [1, 0, 4, 4]],
    [3, 5, [3, 1, 14, 18]],
    [4, 1, [4, 0, 18, 18]],
    [9, 1, [4, 0, 18, 18]],
    [-1, 1, [3, 1, 14, 18]],
    [-3, 2, [1, 2, 4, 14]],
    [-9, 2, [0, 2, 0, 8]],
    [-9, 99, [0, 4, 0, 18]],
    [-(2 ** 52), 2 ** 52, [0, 4, 0, 18]],
  ];
  for (const [start, count, located] of windows) {
    peer.say(locate(start, count));
    const [startingLineIndex, linesCount, startOffset, endOffset] = located;
    assertEquals(await peer.inbox.next("LinesLocated"), {
      "@": "LinesLocated",
      startingLineIndex,
      linesCount,
      startOffset,
      endOffset,
    });
  }
});

test("native: only complete lines are located while the transfer runs", async () => {
  const source = await Source.holding("one\ntw");
  using peer = source.native();
  peer.say(locate(-1, 1));
  assertEquals((await peer.inbox.next("LinesLocated")).endOffset, 4);
  await source.append("o\n");
  peer.say(locate(-1, 1));
  const { startOffset, endOffset } = await peer.inbox.next("LinesLocated");
  assertEquals([startOffset, endOffset], [4, 8]);
});

test("native: lines are not located without line access", async () => {
  using peer = (await Source.completed("one\n", false)).native();
  peer.say(locate(0, 1));
  await assertClosed(peer, "NO_LINE_ACCESS");
});

test("native: a follower gets what is there, what comes, and the end", async () => {
  const source = await Source.holding("one\n");
  using peer = source.native();
  peer.say(follow());
  assertBytes(await peer.inbox.nextData(), utf8("one\n"));
  await source.append("two\n");
  assertBytes(await peer.inbox.nextData(), utf8("two\n"));
  await source.append("thr");
  assertBytes(await peer.inbox.nextData(), utf8("thr"));
  await source.complete();
  assertEquals((await peer.inbox.next("FollowEnd")).offset, 11);
  assertEquals(peer.inbox.order, [
    ...["StatusChanged", "bytes", "StatusChanged", "bytes", "StatusChanged", "bytes"],
    ...["StatusChanged", "FollowEnd"],
  ]);
  assertEquals(statuses(peer).at(-1)?.transferStatus, "COMPLETED");
});

test("native: following ends after all bytes of a FAILED resource", async () => {
  const source = await Source.holding("one\n");
  using peer = source.native();
  peer.say(follow());
  await peer.inbox.nextData();
  source.appender.append(utf8("two"));
  await source.fail();
  assertEquals((await peer.inbox.next("FollowEnd")).offset, 7);
  assertBytes(peer.inbox.bytes, utf8("one\ntwo"));
  assertEquals(statuses(peer).at(-1)?.transferStatus, "FAILED");
});

test("native: a range is followed from its first byte up to, and without, its last", async () => {
  const content = "0123456789";
  const finished = await Source.completed(content);
  const ranges: [from: number, to: number | null, text: string][] = [
    [0, null, content],
    [3, null, "3456789"],
    [0, 4, "0123"],
    [3, 4, "3"],
    [4, 4, ""],
    [10, null, ""],
    [10, 10, ""],
    [8, 99, "89"],
    [0, 0, ""],
  ];
  for (const [from, to, text] of ranges) {
    using peer = finished.native();
    peer.say(follow({ from, to }));
    assertEquals((await peer.inbox.next("FollowEnd")).offset, from + text.length);
    assertBytes(peer.inbox.bytes, utf8(text));
  }
});

test("native: following a range of a running transfer ends at the end of the range", async () => {
  const source = await Source.holding("0123");
  using peer = source.native();
  peer.say(follow({ from: 2, to: 6 }));
  assertBytes(await peer.inbox.nextData(), utf8("23"));
  await source.append("456789");
  assertEquals((await peer.inbox.next("FollowEnd")).offset, 6);
  assertBytes(peer.inbox.bytes, utf8("2345"));
});

test("native: a range that begins beyond the current size is waited for", async () => {
  const source = await Source.holding("0123");
  using peer = source.native();
  peer.say(follow({ from: 6 }));
  await peer.inbox.next("StatusChanged");
  await source.append("45");
  await peer.inbox.next("StatusChanged");
  assertEquals(peer.inbox.data, []);
  await source.append("678");
  assertBytes(await peer.inbox.nextData(), utf8("678"));
  await source.complete();
  assertEquals((await peer.inbox.next("FollowEnd")).offset, 9);
});

test("native: a transfer that ends before the range that is waited for is an error", async () => {
  const source = await Source.holding("0123");
  using peer = source.native();
  peer.say(follow({ from: 6 }));
  await peer.inbox.next("StatusChanged");
  await source.complete();
  await assertClosed(peer, "RANGE_NOT_AVAILABLE");
});

test("native: a range beyond the end of a finished resource is RANGE_NOT_AVAILABLE", async () => {
  using peer = (await Source.completed("0123")).native();
  peer.say(follow({ from: 5 }));
  await assertClosed(peer, "RANGE_NOT_AVAILABLE");
});

test("native: bytes that were seen and are gone are OFFSET_LOST", async () => {
  for (const source of [await Source.completed("0123"), await Source.holding("0123")]) {
    using lost = source.native();
    lost.say(follow({ from: 5, epoch: 0 }));
    await assertClosed(lost, "OFFSET_LOST");
    using kept = source.native();
    kept.say(follow({ from: 3, epoch: 1 }));
    assertBytes(await kept.inbox.nextData(), utf8("3"));
  }
});

test("what comes in the place of bytes that were sent, and are gone, is no part of what is followed", async () => {
  const source = await Source.holding("0123456789");
  const { resource } = source.appender;
  using peer = source.native();
  peer.say(follow());
  await peer.inbox.until("all", () => peer.inbox.byteCount === 10);
  const stop = new AbortController();
  const byHttp = followFrom(resource, 0, stop.signal);
  assertBytes((await byHttp.next()).value!, utf8("0123456789"));
  const inProcess = source.resources.read(source.id).getReader();
  assertBytes((await inProcess.read()).value!, utf8("0123456789"));
  const rest = [byHttp.next(), inProcess.read()];
  using late = source.native();
  late.say(follow({ from: 12 }));
  await late.inbox.next("StatusChanged");
  // Another owner found four bytes only, and has others behind them before anybody looks.
  const other = { ...resource.status, epoch: 2, sequence: 0 };
  resource.publish({ ...other, currentSize: 4 });
  resource.publish({ ...other, sequence: 1, currentSize: 10 });
  await assertClosed(peer, "OFFSET_LOST");
  for (const reading of rest) await assertFails("OFFSET_LOST", () => reading);
  assertEquals(late.inbox.closing, null);
});

test("native: a range that runs backwards or a window that is too small is BAD_REQUEST", async () => {
  const source = await Source.completed("0123");
  for (
    const wrong of [{ from: 3, to: 2 }, { window: LIMITS.minDownloadWindowBytes - 1 }, {
      window: 0,
    }]
  ) {
    using peer = source.native();
    peer.say(follow(wrong));
    await assertClosed(peer, "BAD_REQUEST");
  }
});

test("native: data messages to a follower have at most 64 KiB", async () => {
  const content = new Uint8Array(randomBytes(1_000_000));
  using peer = (await Source.completed(content.slice())).native();
  peer.say(follow());
  await peer.inbox.next("FollowEnd");
  assert(peer.inbox.data.every((bytes) => bytes.length <= LIMITS.dataMessageBytes));
  assertBytes(peer.inbox.bytes, content);
});

test("native: a follower has data messages of the length that it wishes, 8 KiB to 256 KiB", async () => {
  const content = new Uint8Array(randomBytes(6 * MiB));
  const source = await Source.completed(content.slice());
  for (const [wished, most] of [[1, 8], [100 * KiB, 100], [2 ** 30, 256]]) {
    using peer = source.native();
    peer.say(follow({ messageBytes: wished, window: 512 * KiB }));
    for (let seen = 0; seen < content.length;) {
      await peer.inbox.until("more", () => peer.inbox.byteCount > seen);
      seen = peer.inbox.byteCount;
      peer.say(consumed(seen));
    }
    await peer.inbox.next("FollowEnd");
    assertEquals(Math.max(...peer.inbox.data.map(({ length }) => length)), most * KiB);
    assertBytes(peer.inbox.bytes, content);
  }
});

test("native: messages to a follower are short until one of them is reported as consumed soon", async () => {
  const source = await Source.completed(new Uint8Array(MiB));
  using peer = source.native();
  const lengths = () => peer.inbox.data.map(({ length }) => length / KiB);
  peer.say(follow({ messageBytes: 256 * KiB, window: 64 * KiB }));
  await peer.inbox.until("a window", () => peer.inbox.byteCount === 64 * KiB);
  assertEquals(lengths(), [8, 8, 8, 8, 8, 8, 8, 8]);
  const { now } = performance;
  try {
    performance.now = () => now.call(performance) + 1000;
    peer.say(consumed(32 * KiB));
    await peer.inbox.until("a window", () => peer.inbox.byteCount === 96 * KiB);
    assertEquals(lengths().slice(8), [8, 8, 8, 8]);
  } finally {
    performance.now = now;
  }
  peer.say(consumed(96 * KiB));
  await peer.inbox.until("a window", () => peer.inbox.byteCount === 160 * KiB);
  assertEquals(lengths().slice(12), [16, 16, 16, 16]);
});

/** Number of bytes when no more come: a session sends a status only when it has sent what it had begun. */
async function settled(source: Source, peer: Peer): Promise<number> {
  // The first may come before bytes that were to be sent next; the second comes after them.
  for (let count = 0; count < 2; count++) {
    await source.append("x");
    const { received } = source.appender;
    await peer.inbox.until("the status", () => statuses(peer).at(-1)?.currentSize === received);
  }
  return peer.inbox.byteCount;
}

test("native: never more than the window is unreported, and never more than 4 MiB", async () => {
  const content = new Uint8Array(randomBytes(9 * MiB));
  const source = await Source.holding(content.slice());
  const windows: [number, number][] = [
    [64 * KiB, 64 * KiB],
    [100_000, 100_000],
    [4 * MiB, 4 * MiB],
    [8 * MiB, 4 * MiB],
    [2 ** 52, 4 * MiB],
  ];
  for (const [window, most] of windows) {
    using peer = source.native();
    peer.say(follow({ window }));
    await peer.inbox.until("a full window", () => peer.inbox.byteCount >= most);
    let reported = 0;
    for (const step of [1, 40_000, Math.floor(most / 2), most - 50_000]) {
      assertEquals(await settled(source, peer), reported + most);
      reported = Math.min(reported + step, peer.inbox.byteCount);
      peer.say(consumed(reported));
      const full = reported + most;
      await peer.inbox.until("more", () => peer.inbox.byteCount >= Math.min(full, content.length));
    }
    assertBytes(peer.inbox.bytes, source.content.subarray(0, peer.inbox.byteCount));
  }
});

test("native: a follower that reports what it consumed gets everything", async () => {
  const content = new Uint8Array(randomBytes(3 * MiB));
  using peer = (await Source.completed(content.slice())).native();
  peer.say(follow({ window: 64 * KiB }));
  while (peer.inbox.byteCount < content.length) {
    await peer.inbox.nextData();
    peer.say(consumed(peer.inbox.byteCount));
  }
  assertEquals((await peer.inbox.next("FollowEnd")).offset, content.length);
  assertBytes(peer.inbox.bytes, content);
});

test("native: consumed bytes that were not sent, or fall, are BAD_REQUEST", async () => {
  const source = await Source.holding("0123456789");
  for (const offsets of [[11], [5, 4], [2], [10, 11], [2 ** 50]]) {
    using peer = source.native();
    peer.say(follow({ from: 3 }));
    await peer.inbox.nextData();
    peer.say(...offsets.map(consumed));
    await assertClosed(peer, "BAD_REQUEST");
  }
});

test("native: bytes may be reported while the transport has no room for the next ones", async () => {
  const source = await Source.completed(new Uint8Array(randomBytes(256 * KiB)));
  using peer = source.native();
  await peer.inbox.next("StatusChanged");
  peer.connection.room.shut();
  peer.say(follow());
  const { length } = await peer.inbox.nextData();
  peer.say(consumed(length));
  peer.connection.room.open();
  assertEquals((await peer.inbox.next("FollowEnd")).offset, 256 * KiB);
});

test("native: a report may cross the end of what it is about", async () => {
  using peer = (await Source.completed("0123")).native();
  peer.say(follow());
  await peer.inbox.next("FollowEnd");
  peer.say(consumed(4), chunk(0, 4));
  await peer.inbox.until("the chunk", () => peer.inbox.data.length === 2);
});

test("native: a slow follower gets the newest status only, before the bytes it shows", async () => {
  const source = await Source.holding(new Uint8Array(128 * KiB));
  using peer = source.native();
  peer.say(follow({ window: 64 * KiB }));
  await peer.inbox.until("a window", () => peer.inbox.byteCount === 64 * KiB);
  peer.connection.room.shut();
  peer.say(consumed(64 * KiB));
  await peer.inbox.until("more", () => peer.inbox.byteCount > 64 * KiB);
  for (let round = 0; round < 5; round++) await source.append("x");
  peer.connection.room.open();
  await peer.inbox.until("a status", () => statuses(peer).length === 2);
  assertEquals(statuses(peer).map(({ currentSize }) => currentSize), [128 * KiB, 128 * KiB + 5]);
});

test("native: a follower whose window is full still gets every status", async () => {
  const source = await Source.holding(new Uint8Array(64 * KiB));
  using peer = source.native();
  peer.say(follow({ window: 64 * KiB }));
  await peer.inbox.nextData();
  for (let size = 64 * KiB + 1; size < 64 * KiB + 4; size++) {
    await source.append("x");
    await peer.inbox.until("the status", () => statuses(peer).at(-1)?.currentSize === size);
  }
  assertEquals(peer.inbox.byteCount, 64 * KiB);
});

test("native: no byte is sent before the status that makes it readable", async () => {
  const source = await Source.open();
  using peer = source.native();
  peer.say(follow());
  await peer.inbox.next("StatusChanged");
  let size = 0;
  for (let round = 0; round < 200; round++) {
    source.appender.append(new Uint8Array(round * 37));
    size += round * 37;
    peer.say(consumed(peer.inbox.byteCount));
    // A load: what was appended meanwhile is one checkpoint.
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await peer.inbox.until("all bytes", () => peer.inbox.byteCount === size);
  let readable = 0, sent = 0;
  for (const item of peer.inbox.items) {
    if (item instanceof Uint8Array) assert((sent += item.length) <= readable);
    else if (item["@"] === "StatusChanged") readable = item.resourceStatus.currentSize;
  }
});

test("native: followers that wait get a checkpoint one after the other, status and bytes", async () => {
  const source = await Source.holding("one\n");
  const { resource } = source.appender;
  using peer = source.native();
  peer.say(follow());
  await peer.inbox.nextData();
  await turn(); // By then the session waits.
  const before = peer.inbox.order.length;
  let seen: string[] = [];
  // Who watches later hears of it later.
  const unwatch = resource.watch(() => seen = peer.inbox.order.slice(before));
  await source.append("two\n");
  unwatch();
  assertEquals(seen, ["StatusChanged", "bytes"]);
  assertBytes(peer.inbox.items.at(-1) as Uint8Array, utf8("two\n"));
  await source.append("three\n");
  assertEquals(peer.inbox.byteCount, 14);
});

test("native: a checkpoint beyond the window waits for what is consumed", async () => {
  const window = LIMITS.minDownloadWindowBytes;
  const source = await Source.holding(new Uint8Array(10));
  using peer = source.native();
  peer.say(follow({ window }));
  await peer.inbox.nextData();
  await turn(); // By then the session waits.
  await source.append(new Uint8Array(window));
  await peer.inbox.until("the window", () => peer.inbox.byteCount === window);
  await source.append(new Uint8Array(10));
  assertEquals(peer.inbox.byteCount, window);
  peer.say(consumed(window));
  await peer.inbox.until("the rest", () => peer.inbox.byteCount === window + 20);
});

test("native: one more request may wait for the end of a Follow", async () => {
  const source = await Source.holding("one\n");
  using peer = source.native();
  await peer.inbox.next("StatusChanged");
  peer.say(follow(), chunk(0, 3));
  await peer.inbox.nextData();
  await source.append("two\n");
  assertBytes(await peer.inbox.nextData(), utf8("two\n"));
  await source.complete();
  assertBytes(await peer.inbox.nextData(), utf8("one"));
  assertEquals(peer.inbox.order.slice(-2), ["FollowEnd", "bytes"]);
  using hasty = source.native();
  await hasty.inbox.next("StatusChanged");
  hasty.connection.room.shut();
  hasty.say(follow(), follow(), follow());
  hasty.connection.room.open();
  await assertClosed(hasty, "WRONG_STATE");
});

test("native: several ranges may be followed one after the other", async () => {
  using peer = (await Source.completed("0123456789")).native();
  for (const [from, to] of [[0, 3], [7, 9], [3, 7]]) {
    peer.say(follow({ from, to }));
    assertEquals((await peer.inbox.next("FollowEnd")).offset, to);
  }
  assertBytes(peer.inbox.bytes, utf8("012783456"));
});

test("native: a deleted resource closes a follower that is behind", async () => {
  const source = await Source.completed(new Uint8Array(MiB));
  using peer = source.native();
  peer.say(follow({ window: 64 * KiB }));
  await peer.inbox.nextData();
  await source.resources.delete(source.id);
  await assertClosed(peer, "DELETED");
});

test("native: a follower that leaves is forgotten while it waits", async () => {
  const source = await Source.holding("one\n");
  using peer = source.native();
  peer.say(follow());
  await peer.inbox.nextData();
  peer.leave();
  assertEquals(source.appender.resource.watchers, 0);
  await source.append("two\n");
  assertBytes(peer.inbox.bytes, utf8("one\n"));
});

test("bytes that are on their way to one reader stay as they are while others are read for", async () => {
  const contents = [1, 2, 3].map(() => new Uint8Array(randomBytes(200 * KiB)));
  const sources = await Promise.all(contents.map((content) => Source.completed(content)));
  const readers = sources.flatMap((source) => [source.native(), source.step()]);
  for (const peer of readers) {
    await peer.inbox.next("StatusChanged");
    peer.connection.room.shut();
    if (peer.connection.subprotocol === SUBPROTOCOL) peer.say(follow());
    else peer.say(chunk(0, 60 * KiB), chunk(60 * KiB, 200 * KiB));
  }
  for (let at = 0; at < 200; at++) {
    const peer = readers[at * 5 % readers.length];
    peer.connection.room.open();
    await turn();
    peer.connection.room.shut();
  }
  for (const [index, peer] of readers.entries()) {
    peer.connection.room.open();
    const { inbox } = peer;
    await inbox.until("all bytes", () => inbox.byteCount === 200 * KiB);
    assertBytes(inbox.bytes, contents[Math.floor(index / 2)]);
  }
  await turn();
  for (const peer of readers) await peer.inbox.until("the end", () => true);
});

test("native: the bytes of a checkpoint are read from storage for none of the followers at the tail", async () => {
  let reads = 0;
  const storage = changed(new MemoryStorage(), {
    reader: (log) => ({
      read: (...where) => {
        reads++;
        return log.read(...where);
      },
    }),
  });
  const source = await Source.open({ resources: memoryResources({ storage }) });
  const { resource } = source.appender;
  const followers = Array.from({ length: 10 }, () => source.native());
  for (const peer of followers) peer.say(follow());
  for (const peer of followers) await peer.inbox.next("StatusChanged");
  await source.append(new Uint8Array(randomBytes(64 * KiB)));
  for (const { inbox } of followers) {
    await inbox.until("a checkpoint", () => inbox.byteCount === 64 * KiB);
    assertBytes(inbox.bytes, source.content);
  }
  assertEquals(reads, 0);
  assertEquals(resource.watchers, 10);
  for (const peer of followers) peer.leave();
});
