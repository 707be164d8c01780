import { test } from "node:test";
import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { LIMITS } from "../../src/protocol.ts";
import { Credit, CreditPool } from "../../src/resources/writing/credit.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const { minUploadWindowBytes: minBytes, uploadWindowBytes: maxBytes } = LIMITS;

/** An upload as its server sees it: what it may send, has sent, and has seen written. */
class Sender {
  readonly credit: Credit;
  readonly start: number;
  sent: number;
  written: number;

  constructor(pool: CreditPool, start: number, nowMs: number) {
    this.credit = new Credit(pool, start, nowMs);
    this.start = this.sent = this.written = start;
  }

  /** Sends and has written shares of what is possible; whether the limit grew. */
  step(sentShare: number, writtenShare: number, nowMs: number): boolean {
    this.sent += Math.round((this.credit.limit - this.sent) * sentShare);
    this.written += Math.round((this.sent - this.written) * writtenShare);
    return this.credit.advance(this.written, nowMs);
  }

  /** Bytes that may be on their way or in memory. */
  get outstanding(): number {
    return this.credit.limit - this.written;
  }

  get aboveMinimum(): number {
    return Math.max(0, this.outstanding - minBytes);
  }
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);

/** What happens to one of several uploads. */
interface Event {
  upload: number;
  event: "open" | "advance" | "release";
  sentShare: number;
  writtenShare: number;
  elapsedMs: number;
  /** Where the upload starts, if this opens it. */
  byteOffset: number;
}

/** All and nothing are as likely as anything between. */
const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));
const arbitraryEvents: fc.Arbitrary<Event[]> = fc.array(
  fc.record({
    upload: fc.nat(7),
    event: fc.constantFrom("open", "advance", "advance", "advance", "advance", "release"),
    sentShare: share,
    writtenShare: share,
    elapsedMs: fc.oneof(fc.nat(50), fc.nat(3000)),
    byteOffset: fc.nat(2 ** 31),
  }),
  { maxLength: 120, size: "max" },
);
const arbitraryPoolBytes = fc.oneof(fc.constantFrom(0, 1, 100 * KiB), fc.nat(20 * MiB));

/** Plays events, and lets every state between two of them be looked at. */
function play(
  poolBytes: number,
  events: Event[],
  look: (senders: Sender[], pool: CreditPool) => void,
): void {
  const pool = new CreditPool(poolBytes);
  const senders = new Map<number, Sender>();
  let nowMs = 1000;
  for (const { upload, event, sentShare, writtenShare, elapsedMs, byteOffset } of events) {
    nowMs += elapsedMs;
    const sender = senders.get(upload);
    if (sender === undefined) senders.set(upload, new Sender(pool, byteOffset, nowMs));
    else if (event === "advance") {
      const limit = sender.credit.limit;
      const grew = sender.step(sentShare, writtenShare, nowMs);
      assertGreaterOrEqual(sender.credit.limit, limit, "the limit fell");
      assertEquals(grew, sender.credit.limit > limit, "growth must be announced, nothing else");
    } else if (event === "release") {
      sender.credit.release();
      senders.delete(upload);
    }
    look([...senders.values()], pool);
  }
  for (const { credit } of senders.values()) credit.release();
  assertEquals(pool.freeBytes, poolBytes, "something was not given back");
}

test("whatever uploads do, what they hold above the minimum is never more than the pool", () => {
  fc.assert(fc.property(arbitraryPoolBytes, arbitraryEvents, (poolBytes, events) => {
    play(poolBytes, events, (senders, pool) => {
      assertGreaterOrEqual(pool.freeBytes, 0);
      assertLessOrEqual(pool.freeBytes, poolBytes);
      assertLessOrEqual(sum(senders.map((each) => each.aboveMinimum)), poolBytes - pool.freeBytes);
    });
  }));
});

test("whatever uploads do, none holds more than the largest window", () => {
  fc.assert(fc.property(arbitraryPoolBytes, arbitraryEvents, (poolBytes, events) => {
    play(poolBytes, events, (senders) => {
      for (const { outstanding, credit } of senders) {
        assertLessOrEqual(outstanding, maxBytes);
        assertGreaterOrEqual(credit.windowBytes, minBytes);
        assertLessOrEqual(credit.windowBytes, maxBytes);
      }
    });
  }));
});

test("whatever the others do, an upload may send the minimum when all it sent was written", () => {
  fc.assert(fc.property(arbitraryPoolBytes, arbitraryEvents, (poolBytes, events) => {
    play(poolBytes, events, (senders) => {
      for (const { sent, written, outstanding } of senders) {
        if (sent === written) assertGreaterOrEqual(outstanding, minBytes);
      }
    });
  }));
});

test("a new upload gets 256 KiB if the pool has them, and never less than the minimum", () => {
  const first = new Credit(new CreditPool(MiB), 1000, 0);
  assertEquals(first.limit, 1000 + 256 * KiB);
  const pool = new CreditPool(200 * KiB);
  const limits = [1, 2, 3].map(() => new Credit(pool, 0, 0).limit);
  assertEquals(limits, [256 * KiB, 72 * KiB, 64 * KiB]);
});

/** A sender alone that has everything written at once, and then waits; its window after each round. */
function windows(elapsedMs: number[], poolBytes = 64 * MiB): number[] {
  let nowMs = 0;
  const sender = new Sender(new CreditPool(poolBytes), 0, nowMs);
  return elapsedMs.map((ms) => {
    sender.step(1, 1, nowMs += ms);
    return sender.outstanding;
  });
}

test("the window of a fast upload doubles until it is the largest", () => {
  assertEquals(
    windows([1, 1, 1, 1, 1, 1]),
    [512 * KiB, 1 * MiB, 2 * MiB, 4 * MiB, 8 * MiB, 8 * MiB],
  );
});

test("the window of a slow upload halves until it is the smallest", () => {
  assertEquals(windows([2000, 2000, 2000]), [128 * KiB, 64 * KiB, 64 * KiB]);
});

test("the window of an upload that waits for slow storage grows to 1 MiB, and is not halved below", () => {
  const credit = new Credit(new CreditPool(64 * MiB), 0, 0);
  const seen = [1, 2, 3, 4].map((round) => {
    credit.advance(credit.limit, round * 2000, true);
    return credit.windowBytes;
  });
  assertEquals(seen, [512 * KiB, 1 * MiB, 1 * MiB, 1 * MiB]);
  for (let ms = 1; ms <= 3; ms++) credit.advance(credit.limit, 8000 + ms, true);
  credit.advance(credit.limit, 12_000, true);
  assertEquals(credit.windowBytes, 4 * MiB);
});

test("the window of an upload that is neither stays", () => {
  assertEquals(windows([500, 500, 500]), [256 * KiB, 256 * KiB, 256 * KiB]);
});

test("a slow upload gives back what fast ones then get", () => {
  const pool = new CreditPool(448 * KiB);
  const slow = new Sender(pool, 0, 0);
  const fast = new Sender(pool, 0, 0);
  fast.step(1, 1, 1);
  assertEquals(fast.outstanding, 320 * KiB, "what the slow one left");
  slow.step(1, 1, 2000);
  slow.step(1, 1, 4000);
  assertEquals(slow.outstanding, 64 * KiB);
  fast.step(1, 1, 4001);
  fast.step(1, 1, 4002);
  assertEquals(fast.outstanding, 512 * KiB);
});

test("a window is what was granted, also where the pool has less than the upload could use", () => {
  const sender = new Sender(new CreditPool(100 * KiB), 0, 0);
  for (let ms = 0; ms < 10; ms++) {
    assertEquals(sender.credit.windowBytes, 164 * KiB);
    sender.step(1, 1, ms);
  }
});

test("releasing twice gives back once", () => {
  const pool = new CreditPool(MiB);
  const credit = new Credit(pool, 0, 0);
  assertEquals(pool.freeBytes, MiB - 192 * KiB);
  credit.release();
  credit.release();
  assertEquals(pool.freeBytes, MiB);
});

test("credit is announced when half the window is used, not for every byte", () => {
  const credit = new Credit(new CreditPool(MiB), 0, 0);
  assertEquals(credit.advance(1, 500), false);
  assertEquals(credit.advance(128 * KiB - 1, 500), false);
  assertEquals(credit.advance(128 * KiB, 500), true);
  assertEquals(credit.limit, 384 * KiB);
});
