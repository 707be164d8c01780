import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  checkContextId,
  checkMetadata,
  checkStart,
  closeReason,
  cutCloseReason,
  decodeMessage,
  encodeMessage,
  type ErrorCode,
  ERRORS,
  failureOf,
  httpBase,
  isResourceId,
  LIMITS,
  type Message,
  type MessageOf,
  parseReference,
  StreamError,
  toStreamError,
  wsBase,
} from "../../src/protocol.ts";

/** Every message with every property it may have. */
const examples: { [Name in Message["@"]]: MessageOf<Name> } = {
  StartUpload: {
    "@": "StartUpload",
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
    digests: ["sha256", "md5"],
  },
  ResumeUpload: { "@": "ResumeUpload", id: "id", secret: "hush" },
  FinishUpload: { "@": "FinishUpload", checksum: "00ff", size: 7 },
  AbortUpload: { "@": "AbortUpload", reason: "no need" },
  RequestChunk: { "@": "RequestChunk", startOffset: 0, endOffset: 2 ** 40 },
  RequestLines: {
    "@": "RequestLines",
    startingLineIndex: 3,
    linesCount: 10,
    startingByteOffset: 5,
  },
  LocateLines: { "@": "LocateLines", startingLineIndex: -3, linesCount: 10 },
  Follow: { "@": "Follow", from: 1, to: 9, epoch: 2, life: "mif3k1xw", window: 65536 },
  Consumed: { "@": "Consumed", offset: 12 },
  Ping: { "@": "Ping", id: 1 },
  Pong: { "@": "Pong", id: 1 },
  ReadyForUpload: {
    "@": "ReadyForUpload",
    reference: { uri: "ws://host/ws/streaming/download/id" },
    id: "id",
    epoch: 1,
    offset: 0,
    limit: 65536,
    secret: "hush",
    digest: "xxh128",
  },
  Credit: { "@": "Credit", limit: 65536, acknowledged: 0 },
  UploadAcknowledged: {
    "@": "UploadAcknowledged",
    size: 7,
    numberOflines: 2,
    checksum: "00ff",
    digest: "md5",
  },
  StatusChanged: {
    "@": "StatusChanged",
    resourceStatus: {
      transferStatus: "FAILED",
      currentSize: 7,
      numberOfLines: 2,
      durableSize: 7,
      epoch: 1,
      sequence: 3,
      life: "mif3k1xw",
      failure: "ABORTED: no need",
    },
  },
  Lines: {
    "@": "Lines",
    lines: ["first\n", "second\r\n"],
    startingLineIndex: 3,
    startingByteOffset: 5,
    next: { lineIndex: 5, byteOffset: 0 },
  },
  LinesLocated: {
    "@": "LinesLocated",
    startingLineIndex: 3,
    linesCount: 2,
    startOffset: 10,
    endOffset: 20,
  },
  FollowEnd: { "@": "FollowEnd", offset: 20 },
  Error: { "@": "Error", code: "NOT_FOUND", message: "there is no such resource" },
};

/** Values that a property of a kind must not have. */
const wrongValues = {
  text: [1, true, null, {}, []],
  flag: ["true", 0, null, {}, []],
  offset: ["1", -1, 1.5, 2 ** 53, true, null, {}, []],
  integer: ["1", 1.5, 2 ** 53, true, null, {}, []],
  texts: ["md5", [1], [null], {}, null],
  object: ["a", 1, true, null, [], {}],
  algorithm: ["crc32", "", 1, null, ["md5"]],
  transferStatus: ["DONE", "completed", 1, null],
};

interface Property {
  kind: keyof typeof wrongValues;
  optional?: boolean;
  nullable?: boolean;
}

const text: Property = { kind: "text" };
const flag: Property = { kind: "flag" };
const offset: Property = { kind: "offset" };
const integer: Property = { kind: "integer" };
const texts: Property = { kind: "texts" };
const object: Property = { kind: "object" };
const optional = (property: Property): Property => ({ ...property, optional: true });
const nullable = (property: Property): Property => ({ ...property, nullable: true });

/** What PROTOCOL.md says about each property; paths lead into objects. */
const properties: Record<Message["@"], Record<string, Property>> = {
  StartUpload: {
    "metadata": object,
    "metadata.filename": text,
    "metadata.mimeType": text,
    "metadata.supportsLineAccess": optional(flag),
    "digests": optional(texts),
  },
  ResumeUpload: { id: text, secret: text },
  FinishUpload: { checksum: text, size: optional(offset) },
  AbortUpload: { reason: text },
  RequestChunk: { startOffset: offset, endOffset: offset },
  RequestLines: {
    startingLineIndex: offset,
    linesCount: offset,
    startingByteOffset: optional(offset),
  },
  LocateLines: { startingLineIndex: integer, linesCount: offset },
  Follow: {
    from: offset,
    to: optional(nullable(offset)),
    epoch: optional(nullable(offset)),
    life: optional(nullable(text)),
    window: offset,
  },
  Consumed: { offset },
  Ping: { id: offset },
  Pong: { id: offset },
  ReadyForUpload: {
    "reference": object,
    "reference.uri": text,
    "id": optional(text),
    "epoch": optional(offset),
    "offset": optional(offset),
    "limit": optional(offset),
    "secret": optional(text),
    "digest": { kind: "algorithm", optional: true },
  },
  Credit: { limit: offset, acknowledged: offset },
  UploadAcknowledged: {
    size: offset,
    numberOflines: optional(nullable(offset)),
    checksum: text,
    digest: optional(text),
  },
  StatusChanged: {
    "resourceStatus": object,
    "resourceStatus.transferStatus": { kind: "transferStatus" },
    "resourceStatus.currentSize": offset,
    "resourceStatus.numberOfLines": nullable(offset),
    "resourceStatus.durableSize": optional(offset),
    "resourceStatus.epoch": optional(offset),
    "resourceStatus.sequence": optional(offset),
    "resourceStatus.life": optional(text),
    "resourceStatus.failure": optional(nullable(text)),
  },
  Lines: {
    "lines": texts,
    "startingLineIndex": optional(offset),
    "startingByteOffset": optional(offset),
    "next": optional(nullable(object)),
    "next.lineIndex": offset,
    "next.byteOffset": offset,
  },
  LinesLocated: {
    startingLineIndex: offset,
    linesCount: offset,
    startOffset: offset,
    endOffset: offset,
  },
  FollowEnd: { offset },
  Error: { code: text, message: text },
};

/** The example with one property changed; `undefined` takes it away. */
function changed(name: Message["@"], path: string, value: unknown): string {
  const message = JSON.parse(JSON.stringify(examples[name]));
  const names = path.split(".");
  const last = names.pop()!;
  names.reduce((inner, key) => inner[key], message)[last] = value;
  return JSON.stringify(message);
}

function codeOf(action: () => unknown): ErrorCode {
  return assertThrows(action, StreamError).code;
}

function assertBadProperty(text: string, path: string): void {
  const error = assertThrows(() => decodeMessage(text), StreamError, undefined, text);
  assertEquals(error.code, "BAD_MESSAGE", text);
  assertStringIncludes(error.message, `"${path.split(".")[0]}"`);
}

for (const [name, message] of Object.entries(examples)) {
  test(`${name} is the same after encoding and decoding`, () => {
    assertEquals(decodeMessage(encodeMessage(message)), message);
  });

  test(`${name} with a missing or mistyped property is BAD_MESSAGE that names it`, () => {
    const shape = properties[name as Message["@"]];
    for (const [path, { kind, optional, nullable }] of Object.entries(shape)) {
      const without = changed(name as Message["@"], path, undefined);
      if (optional) decodeMessage(without);
      else assertBadProperty(without, path);
      const withNull = changed(name as Message["@"], path, null);
      if (nullable) decodeMessage(withNull);
      for (const value of wrongValues[kind]) {
        if (value === null && nullable) continue;
        assertBadProperty(changed(name as Message["@"], path, value), path);
      }
    }
  });

  test(`${name} with properties nobody knows is accepted`, () => {
    const extended = { more: { of: [1, null] }, ...message, ["constructor"]: 1 };
    const { "@": decoded } = decodeMessage(JSON.stringify(extended));
    assertEquals(decoded, message["@"]);
    decodeMessage(`{"__proto__":{"x":1},${encodeMessage(message).slice(1)}`);
  });
}

test("the property @ may come last", () => {
  assertEquals(decodeMessage('{"id":4,"@":"Ping"}')["@"], "Ping");
});

test("what is no JSON object with a name is BAD_MESSAGE", () => {
  const texts = [
    ...["", " ", "{", "}", "nul", "undefined", "{'@':'Ping'}", '{"@":"Ping","id":1}x', "\0"],
    ...["null", "1", '"Ping"', "true", "[]", '["@"]', "{}", '{"@":null}', '{"@":1}'],
    ...['{"@":["Ping"]}', '{"@":{"name":"Ping"}}', '[{"@":"Ping","id":1}]'],
  ];
  for (const text of texts) assertEquals(codeOf(() => decodeMessage(text)), "BAD_MESSAGE", text);
});

test("a name nobody knows is UNKNOWN_MESSAGE, and so is every name that objects inherit", () => {
  const names = [
    ...["Shout", "ping", "", " Ping", "@"],
    ...["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "prototype"],
  ];
  for (const name of names) {
    assertEquals(codeOf(() => decodeMessage(JSON.stringify({ "@": name }))), "UNKNOWN_MESSAGE");
  }
});

test("a required property is not found in a prototype that the message brings along", () => {
  const text = '{"@":"Ping","__proto__":{"id":1}}';
  assertEquals(codeOf(() => decodeMessage(text)), "BAD_MESSAGE");
});

test("JSON of 16 levels is accepted and of 17 is BAD_MESSAGE", () => {
  const nested = (levels: number) =>
    `{"@":"Ping","id":1,"deep":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;
  decodeMessage(nested(LIMITS.jsonDepth));
  assertEquals(codeOf(() => decodeMessage(nested(LIMITS.jsonDepth + 1))), "BAD_MESSAGE");
});

test("brackets behind strings that end with backslashes are levels", () => {
  const deep = "[".repeat(LIMITS.jsonDepth) + "]".repeat(LIMITS.jsonDepth);
  for (const text of ['"\\\\"', '"\\\\\\""', '""']) {
    const message = `{"@":"Ping","id":1,"text":${text},"deep":${deep}}`;
    assertEquals(codeOf(() => decodeMessage(message)), "BAD_MESSAGE");
  }
});

test("brackets within strings are no levels", () => {
  for (const piece of ['[{"\\"[[', "[\\", '[\\\\"', '"[']) {
    const reason = piece.repeat(20);
    assertEquals(decodeMessage(encodeMessage({ "@": "AbortUpload", reason })), {
      "@": "AbortUpload",
      reason,
    });
  }
});

test("a megabyte of opening brackets is BAD_MESSAGE and overflows nothing", () => {
  for (const bracket of ["[", '{"@":', '{"@":"Ping","id":[']) {
    const text = bracket.repeat(2 ** 20 / bracket.length);
    assertEquals(codeOf(() => decodeMessage(text)), "BAD_MESSAGE");
  }
});

test("an error message quotes only the beginning of what was sent", () => {
  const error = assertThrows(() => decodeMessage("x".repeat(1_000_000)), StreamError);
  assert(error.message.length < 200);
});

test("any text is decoded or refused with a code", () => {
  const names = fc.constantFrom(...Object.keys(examples));
  const messages = fc.tuple(names, fc.object({ maxDepth: 3 }))
    .map(([name, value]) => JSON.stringify({ ...value, "@": name }));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), messages), (text) => {
      try {
        decodeMessage(text);
      } catch (error) {
        assert(error instanceof StreamError, String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

test("a reference is read in all its forms", () => {
  const references: Record<string, string> = {
    [`ws://host:8090/ws/streaming/download/${id}`]: "http://host:8090",
    [`wss://host/ws/streaming/download/${id}`]: "https://host",
    [`http://127.0.0.1:8090/resources/${id}`]: "http://127.0.0.1:8090",
    [`https://host/resources/${id}`]: "https://host",
    [`http://[::1]:8090/resources/${id}`]: "http://[::1]:8090",
    [`http://host/ws/streaming/download/${id}`]: "http://host",
    [`ws://host/resources/${id}`]: "http://host",
    [`https://host/resources/${id}/`]: "https://host",
    [`wss://host/logs/ws/streaming/download/${id}`]: "https://host/logs",
    [`https://host/a/b/resources/${id}`]: "https://host/a/b",
    [`https://host/resources/resources/${id}`]: "https://host/resources",
    [`https://host/resources/${id}/content`]: "https://host",
    [`https://host/logs/view/${id}`]: "https://host/logs",
    [`https://host/view/${id}#L7-9`]: "https://host",
    [`http://host/resources/${id.toUpperCase()}`]: "http://host",
    [`ws://host/ws/streaming/download/${id.toUpperCase()}`]: "http://host",
  };
  for (const [text, server] of Object.entries(references)) {
    assertEquals(parseReference(text), { server, id }, text);
    assertEquals(parseReference(text, "http://other"), { server, id }, text);
  }
});

test("a bare id is a reference where the server is known", () => {
  assertEquals(parseReference(id, "wss://host/logs/"), { server: "https://host/logs", id });
  assertEquals(parseReference(id.toUpperCase(), "http://host"), { server: "http://host", id });
  assertEquals(codeOf(() => parseReference(id)), "BAD_REQUEST");
  assertEquals(codeOf(() => parseReference(id, "host")), "BAD_REQUEST");
});

test("whatever a Step server gives is a reference", () => {
  const endpoints: [endpoint: string, id: string][] = [
    ["/ws/streaming/download/Build_42.log", "Build_42.log"],
    [`/ws/streaming/download/${id}?session=7&x=%20`, id],
    ["/logs/ws/streaming/download/42?session=7", "42"],
    ["/files/down/2026/a%20b", "a%20b"],
  ];
  for (const [endpoint, id] of endpoints) {
    for (const [ws, http] of [["ws://host:81", "http://host:81"], ["wss://host", "https://host"]]) {
      assertEquals(parseReference(ws + endpoint), { server: http, id, endpoint });
    }
  }
});

test("what is no reference is BAD_REQUEST", () => {
  const texts = [
    ...["", " ", "a.log", "../resources", `/resources/${id}`, `resources/${id}`, `x${id}`],
    ...[`ftp://host/resources/${id}`, `http:///resources/${id}`, `http://:80/resources/${id}`],
    ...[`http://host:99999/resources/${id}`, `http://ho st/resources/${id}`],
    ...[`http://host/resources/${id}/more`, `http://host/resources/${id}?x=1`],
    ...[`http://host/resources/${id}#x`, `http://host/resources/`, `http://host/resources/42`],
    ...[`http://host/other/${id}`, `ws://host/ws/streaming/upload/${id}`],
    ...[`http://host/resources/${id}/content/x`, `http://host?/resources/${id}`],
    ...[`http://host/resources/${id} `, ` http://host/resources/${id}`],
    ...[
      "ws://host",
      "ws://host/",
      "ws://host/a#b",
      "ws://ho st/a",
      "ws://host:99999/a",
      "wss:///a",
    ],
  ];
  for (const text of texts) assertEquals(codeOf(() => parseReference(text)), "BAD_REQUEST", text);
});

test("a byte past the end is waited for, unless it was seen or nothing more will come", () => {
  const running = { transferStatus: "IN_PROGRESS", currentSize: 10, numberOfLines: null } as const;
  for (const transferStatus of ["INITIATED", "IN_PROGRESS", "COMPLETED", "FAILED"] as const) {
    const status = { ...running, transferStatus };
    checkStart(status, 10, 3);
    checkStart(status, 10, null);
    assertEquals(codeOf(() => checkStart(status, 11, 0)), "OFFSET_LOST");
  }
  assertEquals(codeOf(() => checkStart({ ...running, epoch: 4 }, 11, 3)), "OFFSET_LOST");
  // Within an epoch it only grows.
  assertEquals(codeOf(() => checkStart({ ...running, epoch: 3 }, 11, 3)), "NOT_READY");
  checkStart(running, 11, null);
  for (const transferStatus of ["COMPLETED", "FAILED"] as const) {
    const status = { ...running, transferStatus };
    assertEquals(codeOf(() => checkStart(status, 11, null)), "RANGE_NOT_AVAILABLE");
  }
});

test("a server address is brought into its HTTP form and back", () => {
  const addresses: Record<string, string> = {
    "http://host": "http://host",
    "https://host:1/": "https://host:1",
    "ws://host///": "http://host",
    "wss://host/a/b/": "https://host/a/b",
  };
  for (const [text, base] of Object.entries(addresses)) assertEquals(httpBase(text), base);
  assertEquals(wsBase("http://host/a"), "ws://host/a");
  assertEquals(wsBase("https://host"), "wss://host");
});

test("what is no server address is BAD_REQUEST", () => {
  const texts = [
    ...["", "host", "host:8090", "//host", "http:", "http://", "http:///", "file:///etc"],
    ...["http://host?x", "http://host#x", "http://host/a?x", "http://a b", "javascript:1"],
  ];
  for (const text of texts) assertEquals(codeOf(() => httpBase(text)), "BAD_REQUEST", text);
});

test("an address with a name or a password, which nobody would be sent, is BAD_REQUEST that shows neither", () => {
  for (const address of ["http://ann@host", "wss://ann:secret@host/logs", "https://:secret@host"]) {
    const error = assertThrows(() => httpBase(address), StreamError, "servers take tokens");
    assertEquals([error.code, /ann|secret/.test(error.message)], ["BAD_REQUEST", false]);
  }
});

test("an id is a lower-case UUID or looks much like one", () => {
  for (let round = 0; round < 10; round++) assert(isResourceId(crypto.randomUUID()));
  const others = [
    ...["", "42", id.toUpperCase(), `${id}\n`, ` ${id}`, "../../etc/passwd"],
    ...[`{${id}}`, id.replace(/^./, "g"), `${id}\0`, `-${id}`, id + id, id.slice(0, 7)],
  ];
  for (const text of others) assert(!isResourceId(text), text);
});

const utf8Bytes = (text: string) => new TextEncoder().encode(text).length;

test("a close reason is cut to the longest prefix of 123 bytes that ends with a character", () => {
  const unit = fc.oneof(fc.constantFrom("a", "é", "€", "😀"), fc.string({ minLength: 1 }));
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 150 }), (reason) => {
      const cut = cutCloseReason(reason);
      assert(reason.startsWith(cut));
      assert(utf8Bytes(cut) <= LIMITS.closeReasonBytes);
      assert(!/[\ud800-\udbff]$/.test(cut));
      const [next = ""] = reason.slice(cut.length);
      if (next !== "") assert(utf8Bytes(cut + next) > LIMITS.closeReasonBytes);
    }),
    { numRuns: 2000 },
  );
});

test("a close reason of exactly 123 bytes stays, one byte more loses a character", () => {
  for (const char of ["a", "é", "€", "😀"]) {
    const fitting = "a".repeat(123 - utf8Bytes(char)) + char;
    assertEquals(cutCloseReason(fitting), fitting);
    assertEquals(cutCloseReason("a" + fitting), "a" + fitting.slice(0, -char.length));
  }
});

test("close reasons are the code and the sentence, but for those that Step clients know", () => {
  const reason = (code: ErrorCode, message: string) => closeReason(new StreamError(code, message));
  assertEquals(reason("NOT_FOUND", "no such thing"), "NOT_FOUND: no such thing");
  assertEquals(reason("QUOTA_EXCEEDED", "no room"), "QuotaExceededException: no room");
  assertEquals(
    reason("CONTEXT_REQUIRED", "whatever"),
    "Missing parameter streamingUploadContextId",
  );
  assertEquals(reason("SHUTDOWN", "whatever"), "Server shutdown");
  assert(utf8Bytes(reason("QUOTA_EXCEEDED", "€".repeat(100))) <= LIMITS.closeReasonBytes);
});

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

test("metadata passes with exactly the known properties", () => {
  const extended = { ...metadata, owner: "me" };
  assertEquals(checkMetadata(extended), metadata);
});

test("a filename has 1 to 1024 bytes of UTF-8 and no NUL; it may look like a path", () => {
  for (const filename of ["a", "é".repeat(512), "😀", "../../etc/passwd", "a b\n", "C:\\x", "."]) {
    assertEquals(checkMetadata({ ...metadata, filename }).filename, filename);
  }
  for (const filename of ["", "é".repeat(512) + "a", "a\0", "\0", "a\ud800", "\udc00\ud800"]) {
    assertEquals(codeOf(() => checkMetadata({ ...metadata, filename })), "BAD_METADATA");
  }
});

test("a MIME type is type/subtype without parameters, of at most 255 characters", () => {
  const good = [
    ...["text/plain", "application/vnd.ms-excel", "a/b", "A0!#$&^_.+-/Z9!#$&^_.+-"],
    "a/" + "b".repeat(253),
  ];
  for (const mimeType of good) {
    assertEquals(checkMetadata({ ...metadata, mimeType }).mimeType, mimeType);
  }
  const bad = [
    ...["", "text", "/", "text/", "/plain", "text/plain/x", "text/plain; charset=utf-8", "té/x"],
    ...["text/plain ", " text/plain", "text/plain\n", "text/pl ain", "a/" + "b".repeat(254)],
  ];
  for (const mimeType of bad) {
    assertEquals(codeOf(() => checkMetadata({ ...metadata, mimeType })), "BAD_METADATA", mimeType);
  }
});

test("a context id has 1 to 256 bytes of UTF-8 without control characters", () => {
  for (const contextId of ["1", "run 17/é€😀", "é".repeat(128), "..", "a&b=c"]) {
    assertEquals(checkContextId(contextId), contextId);
  }
  for (const contextId of ["", "é".repeat(128) + "a", "a\n", "\0", "a\x7f", "\x85", "\t"]) {
    assertEquals(codeOf(() => checkContextId(contextId)), "BAD_METADATA");
  }
});

test("anything thrown becomes an error with a code, keeping the code it has", () => {
  const own = new StreamError("FENCED", "too late");
  assertEquals(toStreamError(own, "ABORTED"), own);
  const boom = new TypeError("boom");
  assertEquals(toStreamError(boom).code, "INTERNAL");
  assertEquals(toStreamError(boom).message, "boom");
  assertEquals(toStreamError(boom).cause, boom);
  const foreign = Object.assign(new Error("no room"), { name: "StreamError", code: "FORBIDDEN" });
  assertEquals(toStreamError(foreign).code, "FORBIDDEN");
  assertEquals(toStreamError(Object.assign(foreign, { code: "toString" })).code, "INTERNAL");
  assertEquals(toStreamError("text", "SOURCE_FAILED").code, "SOURCE_FAILED");
  assertEquals(toStreamError("text").message, "text");
});

/** The rows of the tables in one section of PROTOCOL.md, without the head. */
function tableRows(section: number): string[][] {
  const document = readFileSync("PROTOCOL.md", "utf8");
  const body = document.split(/^## /m).find((part) => part.startsWith(`${section} `))!;
  return body.split("\n").filter((line) => line.startsWith("|")).slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

test("PROTOCOL.md and ERRORS have the same codes, HTTP statuses and close codes", () => {
  const documented = tableRows(5).map(([code, http, close]) =>
    [code.replaceAll("`", ""), { http: Number(http), close: Number(close) }] as const
  );
  assertEquals(documented.length, Object.keys(ERRORS).length);
  assertEquals(Object.fromEntries(documented), ERRORS);
});

test("the close reasons that PROTOCOL.md calls exact are sent", () => {
  const exact = tableRows(5).flatMap(([code, , , meaning]) => {
    const reason = /reason exactly `([^`]+)`/.exec(meaning)?.[1];
    return reason === undefined ? [] : [[code.replaceAll("`", "") as ErrorCode, reason] as const];
  });
  assertEquals(exact.length, 2);
  for (const [code, reason] of exact) {
    assertEquals(closeReason(new StreamError(code, "x")), reason);
  }
});

test("the limits of PROTOCOL.md are those of LIMITS", () => {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const size = (bytes: number) => {
    const power = Math.floor(Math.log2(bytes) / 10);
    return `${bytes / 1024 ** power} ${units[power]}`;
  };
  const grouped = (count: number) => String(count).replace(/(?=(\d{3})+$)/g, " ").trim();
  const {
    dataMessageBytes,
    agreedMessageBytes,
    shortMessageBytes,
    controlMessageBytes,
    jsonDepth,
    wholeChunkBytes,
    minUploadWindowBytes,
    uploadWindowBytes,
    minDownloadWindowBytes,
    downloadWindowBytes,
    linesAnswerCount,
    linesAnswerBytes,
    filenameBytes,
    mimeTypeBytes,
    contextIdBytes,
    resourceBytes,
    failureBytes,
    closeReasonBytes,
    ...others
  } = LIMITS;
  assertEquals(others, {}, "a limit that PROTOCOL.md does not have");
  assertEquals(
    Object.fromEntries(tableRows(7).map(([limit, value]) => [limit, value.replace(/ \(.*/, "")])),
    {
      "data message (native)": size(dataMessageBytes),
      "data message that is agreed on": size(agreedMessageBytes),
      "data message that a follower wants": `${size(shortMessageBytes)} to ${
        size(agreedMessageBytes)
      }`,
      "control message from a client": `${size(controlMessageBytes)}, ${jsonDepth} levels of JSON`,
      "chunk on the main port; Step lines": size(wholeChunkBytes),
      "upload window": `${size(minUploadWindowBytes)} to ${size(uploadWindowBytes)}`,
      "download window": `${size(minDownloadWindowBytes)} to ${size(downloadWindowBytes)}`,
      "one `Lines` answer (native)": `${grouped(linesAnswerCount)} lines, ${
        size(linesAnswerBytes)
      } of text`,
      "filename / MIME type / context id":
        `${filenameBytes} / ${mimeTypeBytes} / ${contextIdBytes} bytes`,
      "resource": size(resourceBytes),
      "failure of a status": `${failureBytes} bytes`,
      "close reason": `${closeReasonBytes} bytes`,
    },
  );
});

test("a failure is kept as it was told by every catalog: it has no NUL and no half of a character", () => {
  assertEquals(failureOf(new StreamError("ABORTED", "a\0b\ud800")), "ABORTED: a\ufffdb\ufffd");
  assertEquals(failureOf(new StreamError("ABORTED", "😀")), "ABORTED: 😀");
});
