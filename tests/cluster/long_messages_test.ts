import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { LONG_BYTES, LongMessages } from "../../src/cluster/long_messages.ts";
import { concat } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";

/** What an engine sends: a line, and a payload for some. */
interface Frame {
  readonly bytes: Uint8Array;
  readonly isLong: boolean;
}

const encoder = new TextEncoder();

function frameOf(line: string, payloadBytes: number): Frame {
  const payload = Uint8Array.from({ length: payloadBytes }, (_, at) => at * 7);
  const parts = payloadBytes === 0 ? [] : [payload.subarray(2), encoder.encode("\r\n")];
  return {
    bytes: concat([encoder.encode(line), ...parts]),
    isLong: payloadBytes >= LONG_BYTES,
  };
}

/** A message; `bytes` are those behind its line, its line end included. */
function message(word: string, bytes: number): Frame {
  return frameOf(
    `${word} _INBOX.a.b 3 \t ${word.startsWith("H") ? "12 " : ""}${bytes - 2}\r\n`,
    bytes,
  );
}

const frame = fc.oneof(
  fc.constantFrom("PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'Stale Connection 70000'\r\n")
    .map((line) => frameOf(line, 0)),
  fc.string({ maxLength: 300 }).map((text) => frameOf(`INFO ${JSON.stringify(text)}\r\n`, 0)),
  fc.tuple(
    fc.constantFrom("MSG", "HMSG", "msg", "hmsg"),
    fc.oneof(
      fc.integer({ min: 2, max: 300 }),
      fc.integer({ min: LONG_BYTES - 3, max: LONG_BYTES + 3 }),
    ),
  ).map(([word, bytes]) => message(word, bytes)),
);

/** Takes bytes cut at some places; chunks are those of a socket, and given back as the transport does. */
function taken(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const messages = new LongMessages();
  const handedOut: Uint8Array[] = [];
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    const chunk = Buffer.from(bytes.subarray(from, end));
    const steps = messages.take(chunk);
    let step = steps.next();
    for (; !step.done; step = steps.next()) handedOut.push(step.value);
    if (!step.value) chunk.fill(0xee);
    from = end;
  }
  return handedOut;
}

test("bytes of the engine stay as they are, however they are cut, and long messages are whole and alone", () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (frames, cuts) => {
        const bytes = concat(frames.map(({ bytes }) => bytes));
        const handedOut = taken(bytes, cuts);
        assertBytes(concat(handedOut), bytes);
        const starts = new Map<number, Uint8Array>();
        let at = 0;
        for (const piece of handedOut) {
          starts.set(at, piece);
          at += piece.length;
        }
        at = 0;
        for (const { bytes, isLong } of frames) {
          const alone = isLong ? starts.get(at) : undefined;
          if (isLong) {
            assertEquals([alone?.length, alone?.buffer.byteLength], [bytes.length, bytes.length]);
          }
          at += bytes.length;
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("a message that is longer than any engine sends is left to the client", () => {
  const line = encoder.encode("MSG a 1 99999999999\r\nxx");
  assertBytes(concat(taken(line, [4, 21])), line);
});

test("a line without an end is an error, not memory without end", () => {
  const messages = new LongMessages();
  const take = (bytes: number) => [...messages.take(new Uint8Array(bytes).fill(65))];
  assertEquals(take(1024 * 1024), []);
  assertThrows(() => take(1), Error, "a line of more than");
});

test("memory of a chunk may be given back as soon as nothing of it was handed out", () => {
  const { bytes } = message("HMSG", 3 * LONG_BYTES);
  const messages = new LongMessages();
  const first = messages.take(bytes.slice(0, LONG_BYTES)).next();
  assertEquals(first, { done: true, value: false });
  const rest = messages.take(concat([bytes.subarray(LONG_BYTES), encoder.encode("PING\r\n")]));
  assertEquals((rest.next().value as Uint8Array).length, bytes.length);
  assertEquals((rest.next().value as Uint8Array).length, 6);
  assert(rest.next().value);
});
