/** The bytes of an upload between its source and a server that acknowledges, breaks off and comes back. */
import { test } from "node:test";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { SendWindow } from "../../src/client/upload/send_window.ts";
import { LIMITS, StreamError } from "../../src/protocol.ts";
import { concat } from "../helpers/bytes.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { Lent } from "../helpers/lent.ts";

/** Bytes that tell where they stand. */
const pattern = (size: number) => Uint8Array.from({ length: size }, (_, at) => at * 31 % 251);

/** Everything that may be sent now. */
function drain(window: SendWindow, mostBytes?: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = window.next(mostBytes);
    if (piece === null) return pieces;
    pieces.push(piece);
  }
}

/** More than any case delivers. */
const source = pattern(6_500_000);

const step = fc.oneof(
  fc.record({ do: fc.constant("accept" as const), bytes: fc.nat(200_000) }),
  fc.record({ do: fc.constant("grant" as const), part: fc.nat(100), credit: fc.nat(300_000) }),
  fc.record({ do: fc.constant("break" as const), part: fc.nat(100), credit: fc.nat(300_000) }),
);

test("whatever is acknowledged, granted and broken off, the server gets the source's bytes in order", () => {
  fc.assert(
    fc.property(fc.nat(50_000), fc.array(step, { maxLength: 30 }), (known, steps) => {
      const window = new SendWindow(known, known);
      let received = known, acknowledged = known, limit = known;
      let unacknowledged: { from: number; piece: Uint8Array }[] = [];
      const take = () => {
        const mostBytes = steps.length % 2 === 0 ? undefined : LIMITS.agreedMessageBytes;
        for (const piece of drain(window, mostBytes)) {
          assertLessOrEqual(piece.length, mostBytes ?? LIMITS.dataMessageBytes);
          unacknowledged.push({ from: received, piece });
          received += piece.length;
        }
        // Who sends may look at them until they are acknowledged.
        for (const { from, piece } of unacknowledged) {
          assertBytes(piece, source.subarray(from, from + piece.length));
        }
        assertLessOrEqual(received, Math.max(limit, known));
      };
      for (const what of steps) {
        if (what.do === "accept") {
          const from = window.accepted;
          const lent = new Lent(source.subarray(from, from + what.bytes));
          window.accept(lent.bytes);
          lent.takeBack();
        } else {
          acknowledged += Math.floor((received - acknowledged) * what.part / 100);
          if (what.do === "break") received = acknowledged;
          const isOpen = ({ from }: { from: number }) => from >= acknowledged && from < received;
          unacknowledged = unacknowledged.filter(isOpen);
          limit = received + what.credit;
          if (what.do === "break") window.continueAt(acknowledged, limit);
          else window.grant(limit, acknowledged);
        }
        take();
      }
      window.grant(limit = source.length, acknowledged);
      take();
      assertEquals(window.isDrained, true);
      assertEquals(received, Math.max(known, window.accepted));
    }),
    { numRuns: 100 },
  );
});

test("small pieces are joined to messages, and what was accepted may be changed", () => {
  const window = new SendWindow(0, 1_000_000);
  for (let at = 0; at < 2000; at += 10) window.accept(pattern(2000).subarray(at, at + 10));
  assertEquals(window.unsentBytes, 2000);
  const long = pattern(200_000);
  window.accept(long);
  long.fill(0);
  assertBytes(
    concat(drain(window, LIMITS.agreedMessageBytes)),
    concat([pattern(2000), pattern(200_000)]),
  );
  assertEquals(window.unsentBytes, 0);
});

test("windows that share memory keep their bytes apart", () => {
  const windows = [1, 2, 3].map(() => new SendWindow(0, 10_000_000));
  const contents = windows.map((_, index) => pattern(3_000_000).fill(index, 1_000_000));
  const received = windows.map((): Uint8Array[] => []);
  for (let at = 0; at < 3_000_000; at += 100_000) {
    for (const [index, window] of windows.entries()) {
      window.accept(contents[index].subarray(at, at + 100_000));
      received[index].push(...drain(window).map((piece) => piece.slice()));
      window.grant(10_000_000, at - index * 130_000);
    }
  }
  for (const [index, pieces] of received.entries()) assertBytes(concat(pieces), contents[index]);
});

test("a server that has less than it acknowledged lost bytes", () => {
  const window = new SendWindow(0, 100);
  window.accept(pattern(80));
  assertBytes(concat(drain(window)), pattern(80));
  window.grant(100, 50);
  window.continueAt(50, 100);
  assertBytes(concat(drain(window)), pattern(80).subarray(50));
  let code = "";
  try {
    window.continueAt(49, 100);
  } catch (error) {
    assert(error instanceof StreamError);
    code = error.code;
  }
  assertEquals(code, "OFFSET_LOST");
});

test("a source that is shorter than what the server has is not the same one", () => {
  const window = new SendWindow(100, 100);
  window.accept(pattern(99));
  let code = "";
  try {
    window.checkWhole();
  } catch (error) {
    code = (error as StreamError).code;
  }
  assertEquals(code, "CONFLICT");
  window.accept(pattern(1));
  window.checkWhole();
});
