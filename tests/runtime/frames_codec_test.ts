/**
 * The frame codec against a table of bytes: the cases of the Autobahn test suite's list (sections 1 to 7,
 * by their numbers there), written down anew, and what RFC 6455 says besides.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LIMITS } from "../../src/protocol.ts";
import {
  type Frame,
  FrameCodec,
  type Role,
  type Violation,
} from "../../src/runtime/frames/codec.ts";
import { closing, OP, type RawFrame, rawFrame } from "../helpers/frames/frames.ts";

const mask = [0x37, 0xfa, 0x21, 0x3d];
const roles: Role[] = ["server", "client"];
const seed = 6455;

/** A name, the frames that arrive, and what has to come out. */
type Case = readonly [name: string, frames: RawFrame[], expected: string[]];

/** The bytes of frames as the peer of `role` sends them. */
function wire(role: Role, frames: RawFrame[]): Uint8Array {
  const key = role === "server" ? mask : undefined;
  return new Uint8Array(Buffer.concat(frames.map((one) => rawFrame({ mask: key, ...one }))));
}

/** Long contents as their digest, so that a failure can be read. */
function brief(content: string | Uint8Array): string {
  if (content.length <= 64) {
    return typeof content === "string" ? content : Buffer.from(content).toString("hex");
  }
  return `${content.length} ${createHash("md5").update(content).digest("hex")}`;
}

const text = (content: string) => `text ${brief(content)}`;
const data = (content: Uint8Array) => `data ${brief(content)}`;
const unfinished = (content: Uint8Array) => `data so far ${brief(content)}`;
const ping = (payload: Uint8Array | string) =>
  `ping ${brief(new Uint8Array(Buffer.from(payload)))}`;
const pong = (payload: Uint8Array | string) =>
  `pong ${brief(new Uint8Array(Buffer.from(payload)))}`;
const close = (code: number, reason = "") => `close ${code} ${reason}`;
const violation = (code: number) => `violation ${code}`;

/** Events as lines; the pieces of a binary message are put together, since where it is cut is chance. */
function describe(events: readonly (Frame | Violation)[]): string[] {
  const lines: string[] = [];
  let pieces: Uint8Array[] = [];
  for (const event of events) {
    if (event.type === "text") lines.push(text(event.text));
    else if (event.type === "ping") lines.push(ping(event.payload));
    else if (event.type === "pong") lines.push(pong(event.payload));
    else if (event.type === "close") lines.push(close(event.code, event.reason));
    else if (event.type === "violation") lines.push(violation(event.code));
    else {
      pieces.push(event.bytes);
      if (!event.final) continue;
      lines.push(data(Buffer.concat(pieces)));
      pieces = [];
    }
  }
  if (pieces.length > 0) lines.push(unfinished(Buffer.concat(pieces)));
  return lines;
}

/** What comes out for bytes that arrive in these pieces; they are unmasked in place. */
function decode(
  role: Role,
  pieces: readonly Uint8Array[],
  textLimitBytes: number = LIMITS.controlMessageBytes,
): (Frame | Violation)[] {
  const codec = new FrameCodec(role, textLimitBytes);
  const events: (Frame | Violation)[] = [];
  for (const piece of pieces) for (const event of codec.push(piece)) events.push(event);
  return events;
}

/** What comes out for a copy of the bytes that is cut at these positions. */
function decodeCut(role: Role, bytes: Uint8Array, positions: readonly number[], limit?: number) {
  return describe(decode(role, cut(bytes.slice(), positions), limit));
}

function cut(bytes: Uint8Array, positions: readonly number[]): Uint8Array[] {
  const places = [...new Set(positions)].sort((one, other) => one - other);
  return [0, ...places].map((place, index) => bytes.subarray(place, places[index]));
}

/** Feeds every case whole, byte by byte, and cut at random, to both ends. */
function check(cases: readonly Case[], limit?: number): void {
  for (const role of roles) {
    for (const [name, frames, expected] of cases) {
      const bytes = wire(role, frames);
      assertEquals(decodeCut(role, bytes, [], limit), expected, `${name}, whole`);
      const everywhere = [...bytes.keys()].slice(1);
      assertEquals(decodeCut(role, bytes, everywhere, limit), expected, `${name}, byte by byte`);
      fc.assert(
        fc.property(fc.array(fc.nat(bytes.length), { maxLength: 12 }), (positions) => {
          assertEquals(decodeCut(role, bytes, positions, limit), expected, name);
        }),
        { seed, numRuns: bytes.length > 1000 ? 5 : 20 },
      );
    }
  }
}

const T = (payload: Uint8Array | string, more: Partial<RawFrame> = {}): RawFrame => ({
  opcode: OP.text,
  payload,
  ...more,
});
const B = (payload: Uint8Array | string, more: Partial<RawFrame> = {}) =>
  T(payload, { opcode: OP.binary, ...more });
const CONT = (payload: Uint8Array | string, more: Partial<RawFrame> = {}) =>
  T(payload, { opcode: OP.cont, ...more });
const PING = (payload: Uint8Array | string = "", more: Partial<RawFrame> = {}) =>
  T(payload, { opcode: OP.ping, ...more });
const PONG = (payload: Uint8Array | string = "", more: Partial<RawFrame> = {}) =>
  T(payload, { opcode: OP.pong, ...more });
const CLOSE = (payload: Uint8Array | string = "", more: Partial<RawFrame> = {}) =>
  T(payload, { opcode: OP.close, ...more });
const open = { fin: false };

const hex = (digits: string) => new Uint8Array(Buffer.from(digits.replaceAll(" ", ""), "hex"));
const lengths = [0, 125, 126, 127, 128, 65_535, 65_536];
const bytesOfLength = (length: number) => Uint8Array.from({ length }, (_, at) => at * 7 + length);

test("1 messages of every length", () => {
  check(lengths.flatMap((length, index): Case[] => [
    [`1.1.${index + 1}`, [T("*".repeat(length))], [text("*".repeat(length))]],
    [`1.2.${index + 1}`, [B(bytesOfLength(length))], [data(bytesOfLength(length))]],
  ]));
});

test("2 pings and pongs", () => {
  const binary = hex("00 ff fe fd fc fb 00 ff");
  const ten = Array.from({ length: 10 }, (_, index) => `payload-${index}`);
  check([
    ["2.1", [PING()], [ping("")]],
    ["2.2", [PING("Hello, world!")], [ping("Hello, world!")]],
    ["2.3", [PING(binary)], [ping(binary)]],
    ["2.4", [PING("x".repeat(125))], [ping("x".repeat(125))]],
    ["2.5", [PING("x".repeat(126))], [violation(1002)]],
    ["2.6 after a message", [T("hi"), PING("x".repeat(125))], [text("hi"), ping("x".repeat(125))]],
    ["2.7", [PONG()], [pong("")]],
    ["2.8", [PONG("unsolicited")], [pong("unsolicited")]],
    ["2.9", [PONG("unsolicited"), PING("ping")], [pong("unsolicited"), ping("ping")]],
    ["2.10", ten.map((payload) => PING(payload)), ten.map(ping)],
    ["a pong of 126 bytes", [PONG("x".repeat(126))], [violation(1002)]],
    ["a close frame of 126 bytes", [CLOSE(closing(1000, "x".repeat(124)))], [violation(1002)]],
    ["a ping of 65536 bytes", [PING("x".repeat(65_536))], [violation(1002)]],
  ]);
});

test("3 reserved bits", () => {
  check([
    ["3.1", [T("hello", { rsv: 1 })], [violation(1002)]],
    ["3.2", [T("one"), T("two", { rsv: 2 }), PING()], [text("one"), violation(1002)]],
    ["3.3", [T("one"), T("two", { rsv: 3 }), PING()], [text("one"), violation(1002)]],
    ["3.4", [T("one"), T("two", { rsv: 4 }), PING()], [text("one"), violation(1002)]],
    ["3.5", [B("two", { rsv: 5 })], [violation(1002)]],
    ["3.6", [PING("x", { rsv: 6 })], [violation(1002)]],
    ["3.7", [CLOSE(closing(1000), { rsv: 7 })], [violation(1002)]],
    ["on a continuation", [B("a", open), CONT("b", { rsv: 4 })], [
      violation(1002),
      unfinished(hex("61")),
    ]],
  ]);
});

test("4 reserved opcodes", () => {
  check([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode): Case[] => [
    [`4 opcode ${opcode}`, [{ opcode }], [violation(1002)]],
    [`4 opcode ${opcode} with payload`, [{ opcode, payload: "x" }], [violation(1002)]],
    [`4 opcode ${opcode} after a message`, [T("hello"), { opcode, payload: "x" }, PING()], [
      text("hello"),
      violation(1002),
    ]],
  ]));
});

test("5 fragmentation", () => {
  const fragments = (...middle: RawFrame[]) => [T("frag", open), ...middle, CONT("ment")];
  check([
    ["5.1", [PING("a", open), CONT("b")], [violation(1002)]],
    ["5.2", [PONG("a", open), CONT("b")], [violation(1002)]],
    ["a close frame in two", [CLOSE(closing(1000), open), CONT("b")], [violation(1002)]],
    ["5.3", fragments(), [text("fragment")]],
    ["5.6", fragments(PING("between")), [ping("between"), text("fragment")]],
    ["5.9", [CONT("none"), T("hello")], [violation(1002)]],
    ["5.12", [CONT("none", open), T("hello")], [violation(1002)]],
    ["5.15", [...fragments(), CONT("none", open), T("hello")], [text("fragment"), violation(1002)]],
    ["5.18", [T("a", open), T("b")], [violation(1002)]],
    ["a binary message within a text", [T("a", open), B("b")], [violation(1002)]],
    ["a text within a binary message", [B("a", open), T("b")], [
      violation(1002),
      unfinished(hex("61")),
    ]],
    ["5.19", [
      ...[T("1", open), CONT("2", open), PING("first"), CONT("3", open), CONT("4", open)],
      ...[PING("second"), CONT("5")],
    ], [ping("first"), ping("second"), text("12345")]],
    ["binary fragments", [
      ...[B("12", open), PING("first"), CONT("", open), CONT("345", open), PONG(), CONT("")],
      ...[B("next")],
    ], [ping("first"), pong(""), data(hex("3132333435")), data(hex("6e657874"))]],
  ]);
});

/** Sections 6.2 to 6.23: sequences that are UTF-8. */
const validText = [
  ...["ce ba", "ce ba e1 bd b9", "ce ba e1 bd b9 cf 83", "ce ba e1 bd b9 cf 83 ce bc ce b5"],
  ...["00", "c2 80", "e0 a0 80", "f0 90 80 80", "7f", "df bf", "ef bf bf", "f4 8f bf bf"],
  ...["ed 9f bf", "ee 80 80", "ef bf bd", "ef bb bf 61", "f0 9f 98 80"],
  ...["ef bf be", "f0 9f bf be", "f3 bf bf bf", "f4 8f bf be"],
  ...["ef bf b9", "ef bf ba", "ef bf bb", "ef bf bc", "e2 80 a8", "e2 80 a9"],
];

/** The same sections: sequences that are not. */
const invalidText = [
  // Cut short.
  ...["ce", "ce ba e1", "ce ba e1 bd", "ce ba e1 bd b9 cf", "ce ba e1 bd b9 cf 83 ce"],
  ...["c0", "e0 80", "f0 80 80", "f8 80 80 80", "fc 80 80 80 80", "df", "ef bf", "f7 bf bf"],
  ...["c0 e0 80 f0 80 80 f8 80 80 80 fc 80 80 80 80 df ef bf f7 bf bf fb bf bf bf fd bf bf bf bf"],
  // Five and six bytes, and beyond the last character.
  ...["f8 88 80 80 80", "fc 84 80 80 80 80", "f7 bf bf bf", "fb bf bf bf bf", "fd bf bf bf bf bf"],
  ...["f4 90 80 80", "ce ba e1 bd b9 cf 83 ce bc ce b5 f4 90 80 80 65 64 69 74 65 64"],
  // Continuation bytes alone.
  ...["80", "bf", "80 bf", "80 bf 80", "80 bf 80 bf", "80 bf 80 bf 80 bf 80"],
  // First bytes alone, and bytes that never occur.
  ...["c0 20 c1 20", "c2 20 df 20", "e0 20 ef 20", "f0 20 f7 20", "f8 20 fb 20", "fc 20 fd 20"],
  ...["fe", "ff", "fe fe ff ff"],
  // Longer than need be.
  ...["c0 af", "e0 80 af", "f0 80 80 af", "f8 80 80 80 af", "fc 80 80 80 80 af"],
  ...["c1 bf", "e0 9f bf", "f0 8f bf bf", "f8 87 bf bf bf", "fc 83 bf bf bf bf"],
  ...["c0 80", "e0 80 80", "f0 80 80 80", "f8 80 80 80 80", "fc 80 80 80 80 80"],
  // Halves of UTF-16 pairs, one or both.
  ...["ed a0 80", "ed ad bf", "ed ae 80", "ed af bf", "ed b0 80", "ed be 80", "ed bf bf"],
  ...["ed a0 80 ed b0 80", "ed ad bf ed bf bf", "ed ae 80 ed b0 80", "ed af bf ed bf bf"],
];

/** A text message in frames of one byte each. */
function bytewise(payload: Uint8Array): RawFrame[] {
  return [...payload].map((byte, at) =>
    T(Uint8Array.of(byte), {
      opcode: at === 0 ? OP.text : OP.cont,
      fin: at === payload.length - 1,
    })
  );
}

test("6 UTF-8", () => {
  check([
    ["6.1.1", [T("")], [text("")]],
    ["6.1.2", [T("", open), CONT("", open), CONT("")], [text("")]],
    ["6.1.3", [T("", open), CONT("middle", open), CONT("")], [text("middle")]],
    ...validText.flatMap((digits): Case[] => {
      const expected = [text(Buffer.from(hex(digits)).toString("utf8"))];
      return [
        [`6 ${digits}`, [T(hex(digits))], expected],
        [`6 ${digits} in fragments`, bytewise(hex(digits)), expected],
      ];
    }),
    ...invalidText.flatMap((digits): Case[] => [
      [`6 ${digits}`, [T(hex(digits)), T("next")], [violation(1007)]],
      [`6 ${digits} in fragments`, bytewise(hex(digits)), [violation(1007)]],
    ]),
    ["a ping within a character", [
      ...[T(hex("f0 9f"), open), PING("x"), CONT(hex("98 80"))],
    ], [ping("x"), text("😀")]],
    ["binary messages are not looked at", [B(hex("ff fe c0 80"))], [data(hex("fffec080"))]],
  ]);
});

/** RFC 3629, 4, as it stands there. */
const utf8 = new RegExp(
  "^(?:[\\x00-\\x7f]|[\\xc2-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xbf][\\x80-\\xbf]" +
    "|[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}|\\xed[\\x80-\\x9f][\\x80-\\xbf]" +
    "|\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}|[\\xf1-\\xf3][\\x80-\\xbf]{3}|\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2})*$",
);

test("a text is refused exactly when the grammar of RFC 3629 does not give it", () => {
  const byte = fc.constantFrom(
    ...[0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1],
    ...[0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff],
  );
  const character = fc.oneof(fc.nat(0xd7ff), fc.integer({ min: 0xe000, max: 0x10ffff }))
    .map((code) => String.fromCodePoint(code));
  const bytes = fc.array(
    fc.oneof(byte.map((one) => Uint8Array.of(one)), character.map((one) => Buffer.from(one))),
    { minLength: 1, maxLength: 4 },
  ).map((parts) => Buffer.concat(parts));
  const seen = { text: 0, violation: 0 };
  fc.assert(
    fc.property(bytes, (payload) => {
      const expected = utf8.test(payload.toString("latin1")) ? "text" : "violation";
      const [event] = decode("server", [wire("server", bytewise(payload))]);
      assertEquals(event.type, expected);
      seen[expected]++;
    }),
    { seed, numRuns: 1000 },
  );
  assert(seen.text > 200 && seen.violation > 200, JSON.stringify(seen));
});

test("7 closing", () => {
  const reason = "r".repeat(123);
  const big = bytesOfLength(100_000);
  check([
    ["7.1.1", [T("hi"), CLOSE(closing(1000))], [text("hi"), close(1000)]],
    ["7.1.2", [CLOSE(closing(1000)), CLOSE(closing(1000))], [close(1000)]],
    ["7.1.3", [CLOSE(closing(1000)), PING("x")], [close(1000)]],
    ["7.1.4", [CLOSE(closing(1000)), T("late")], [close(1000)]],
    ["7.1.5", [T("a", open), CLOSE(closing(1000)), CONT("b")], [close(1000)]],
    ["7.1.6", [B(big), CLOSE(closing(1000)), PING("x")], [data(big), close(1000)]],
    ["within a binary message", [B("a", open), CLOSE(closing(1011, "no"))], [
      close(1011, "no"),
      unfinished(hex("61")),
    ]],
    ["7.3.1", [CLOSE()], [close(1005)]],
    ["7.3.2", [CLOSE("a")], [violation(1002)]],
    ["7.3.3", [CLOSE(closing(1000))], [close(1000)]],
    ["7.3.4", [CLOSE(closing(1000, "Hello World!"))], [close(1000, "Hello World!")]],
    ["7.3.5", [CLOSE(closing(1000, reason))], [close(1000, reason)]],
    ["7.3.6", [CLOSE(closing(1000, `${reason}r`))], [violation(1002)]],
    ["7.5.1", [CLOSE(closing(1000, hex("ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80")))], [
      violation(1007),
    ]],
    ["bytes that are no frame any more", [CLOSE(closing(1000)), { opcode: 7, rsv: 7 }], [
      close(1000),
    ]],
  ]);
});

test("7.7 to 7.13 close codes", () => {
  const allowed = (code: number) =>
    code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999;
  for (const code of [...Array(5100).keys(), 65_535]) {
    const [event] = decode("server", [wire("server", [CLOSE(closing(code, "why"))])]);
    assertEquals(
      [event.type, (event as Violation).code],
      allowed(code) ? ["close", code] : ["violation", 1002],
    );
  }
});

test("masks: what a client sends has one, what a server sends has none", () => {
  const masked = rawFrame({ opcode: OP.text, payload: "hi", mask });
  const bare = rawFrame({ opcode: OP.text, payload: "hi" });
  assertEquals(describe(decode("server", [masked])), [text("hi")]);
  assertEquals(describe(decode("server", [bare])), [violation(1002)]);
  assertEquals(describe(decode("client", [masked])), [violation(1002)]);
  assertEquals(describe(decode("client", [bare])), [text("hi")]);
});

/** The first bytes of a frame with a length of so many bytes; `tail` is the rest of its header. */
const header = (role: Role, opcode: number, short: number, tail: string) =>
  new Uint8Array([0x80 | opcode, short | (role === "server" ? 0x80 : 0), ...hex(tail)]);

test("lengths are as short as can be, and less than 2^63", () => {
  const rows: [short: number, tail: string, expected: string[]][] = [
    [126, "00 7d", [violation(1002)]],
    [126, "00 00", [violation(1002)]],
    [127, "00 00 00 00 00 00 00 7d", [violation(1002)]],
    [127, "00 00 00 00 00 00 ff ff", [violation(1002)]],
    [127, "80 00 00 00 00 00 00 00", [violation(1002)]],
    [127, "ff ff ff ff ff ff ff ff", [violation(1002)]],
    [127, "7f ff ff ff ff ff ff ff", [violation(1009)]],
    [127, "00 20 00 00 00 00 00 00", [violation(1009)]],
    [127, "00 1f ff ff ff ff ff ff", [unfinished(hex("61"))]],
    [127, "00 00 00 01 00 00 00 00", [unfinished(hex("61"))]],
    [126, "00 7e", [unfinished(hex("61"))]],
  ];
  for (const role of roles) {
    for (const [short, tail, expected] of rows) {
      const key = role === "server" ? "00 00 00 00" : "";
      const bytes = header(role, OP.binary, short, `${tail} ${key} 61`);
      assertEquals(describe(decode(role, [bytes])), expected, tail);
    }
  }
});

test("a text above the limit is refused as soon as a header says so", () => {
  const limit = 1000;
  const half = "x".repeat(limit / 2);
  check([
    ["at the limit", [T(half, open), CONT(half)], [text(half + half)]],
    ["above it", [T(half, open), CONT(`${half}x`)], [violation(1009)]],
    ["above it at once", [T(`${half}${half}x`)], [violation(1009)]],
    ["the next one counts from nothing", [T(half), T(half), T(half)], Array(3).fill(text(half))],
    ["by many fragments", [T("", open), ...Array(3).fill(CONT(half, open))], [violation(1009)]],
  ], limit);
  const endless = header("server", OP.text, 127, "00 00 01 00 00 00 00 00 00 00 00 00");
  assertEquals(describe(decode("server", [endless])), [violation(1009)]);
});

test("a frame that is cut short says nothing, wherever it is cut", () => {
  const frames: RawFrame[] = [
    T("hello"),
    PING("hello"),
    CLOSE(closing(1000, "bye")),
    T("€".repeat(50)),
  ];
  for (const role of roles) {
    for (const frame of frames) {
      const bytes = wire(role, [frame]);
      for (let length = 0; length < bytes.length; length++) {
        assertEquals(decode(role, [bytes.slice(0, length)]), [], `${frame.payload} ${length}`);
      }
    }
    const bytes = wire(role, [B(bytesOfLength(300))]);
    for (let length = 0; length < bytes.length; length++) {
      const head = role === "server" ? 8 : 4;
      const expected = length <= head
        ? []
        : [unfinished(bytesOfLength(300).subarray(0, length - head))];
      assertEquals(describe(decode(role, [bytes.slice(0, length)])), expected);
    }
  }
});

test("binary payload comes out with every piece that comes in, in the buffer it came in", () => {
  const codec = new FrameCodec("server", LIMITS.controlMessageBytes);
  const bytes = wire("server", [B(bytesOfLength(1000), open)]);
  const sizes = [8, 1, 100, 899].map((size, index, all) => {
    const start = all.slice(0, index).reduce((sum, one) => sum + one, 0);
    const piece = bytes.slice(start, start + size);
    return [...codec.push(piece)].map((event) => {
      assert(event.type === "data" && !event.final);
      assert(event.bytes.buffer === piece.buffer);
      return event.bytes.length;
    });
  });
  assertEquals(sizes, [[], [1], [100], [899]]);
});

test("payload is unmasked right wherever it stands in memory", () => {
  const content = bytesOfLength(61);
  for (let offset = 0; offset < 9; offset++) {
    for (let length = 0; length <= content.length; length++) {
      const bytes = wire("server", [B(content.subarray(0, length))]);
      const memory = new Uint8Array(offset + bytes.length);
      memory.set(bytes, offset);
      const codec = new FrameCodec("server", LIMITS.controlMessageBytes);
      const events = [...codec.push(memory.subarray(offset))];
      assertEquals(describe(events), [data(content.subarray(0, length))]);
    }
  }
});

/** A frame that the codec may be asked to send, messages in fragments included. */
const message: fc.Arbitrary<Frame[]> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 300 }).map((text): Frame[] => [{ type: "text", text }]),
  fc.array(fc.uint8Array({ maxLength: 9000 }), { minLength: 1, maxLength: 4 }).map((pieces) =>
    pieces.map((bytes, at): Frame => ({ type: "data", bytes, final: at === pieces.length - 1 }))
  ),
  fc.uint8Array({ maxLength: 125 }).map((payload): Frame[] => [{ type: "ping", payload }]),
  fc.uint8Array({ maxLength: 125 }).map((payload): Frame[] => [{ type: "pong", payload }]),
);

test("what one end encodes the other decodes, cut anywhere", () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.nat(60_000), { maxLength: 20 }),
      fc.constantFrom(...roles),
      (messages, positions, role) => {
        const frames: Frame[] = [...messages.flat(), { type: "close", code: 1000, reason: "é" }];
        const sender = new FrameCodec(role === "server" ? "client" : "server", 0);
        const bytes = new Uint8Array(Buffer.concat(frames.flatMap((one) => sender.encode(one))));
        const inside = positions.filter((position) => position < bytes.length);
        assertEquals(describe(decode(role, cut(bytes, inside))), describe(frames));
      },
    ),
    { seed, numRuns: 300 },
  );
});

test("frames are written as RFC 6455 writes them, and what they are made of stays as it was", () => {
  for (const length of [...lengths, 3000, 5000, 70_000]) {
    const content = bytesOfLength(length);
    const server = new FrameCodec("server", 0);
    const parts = server.encode({ type: "data", bytes: content, final: true });
    assertEquals(
      brief(Buffer.concat(parts)),
      brief(rawFrame({ opcode: OP.binary, payload: content })),
    );
    const client = new FrameCodec("client", 0);
    const masked = Buffer.concat(client.encode({ type: "data", bytes: content, final: true }));
    const key = [...masked.subarray(masked.length - length - 4, masked.length - length)];
    const expected = rawFrame({ opcode: OP.binary, payload: content, mask: key });
    assertEquals(brief(masked), brief(expected));
    assertEquals(brief(content), brief(bytesOfLength(length)));
  }
});

test("messages that are written at once are the frames of each, in order, in memory of their own", () => {
  const messages = ["", "é".repeat(200), ...lengths.map(bytesOfLength), "x"];
  for (const role of roles) {
    const bytes = new FrameCodec(role === "server" ? "client" : "server", 0).encodeAll(messages);
    const expected = messages.map((one): Frame =>
      typeof one === "string"
        ? { type: "text", text: one }
        : { type: "data", bytes: one, final: true }
    );
    const memory = messages.map((one) => typeof one === "string" ? null : one.buffer);
    assert(!memory.includes(bytes.buffer as ArrayBuffer));
    assertEquals(describe(decode(role, [bytes])), describe(expected));
  }
});

test("masks are not repeated", () => {
  const client = new FrameCodec("client", 0);
  const keys = Array.from(
    { length: 100 },
    () =>
      Buffer.from(client.encode({ type: "ping", payload: new Uint8Array(0) })[0]).toString("hex"),
  );
  assertEquals(new Set(keys).size, 100);
});

test("a close frame has the code and what fits of the reason; 1005 has neither", () => {
  const codec = new FrameCodec("server", 0);
  const encoded = (code: number, reason: string) =>
    new Uint8Array(Buffer.concat(codec.encode({ type: "close", code, reason })));
  assertEquals(encoded(1005, ""), rawFrame({ opcode: OP.close }));
  assertEquals(encoded(1000, ""), rawFrame({ opcode: OP.close, payload: closing(1000) }));
  assertEquals(
    encoded(1011, "€".repeat(50)),
    rawFrame({ opcode: OP.close, payload: closing(1011, "€".repeat(41)) }),
  );
});
