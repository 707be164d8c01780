/** Bytes that are watched while they are uploaded, and streams that are joined. */
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assertEquals, assertRejects } from "@std/assert";
import { merge } from "../../src/source/merge.ts";
import { spool } from "../../src/source/spool.ts";
import { Tee } from "../../src/source/tee.ts";
import { utf8 } from "../helpers/bytes.ts";
import { lending } from "../helpers/lent.ts";
import { withChance } from "../helpers/random.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A stream that is fed by the test. */
class Feed {
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  cancelled = false;
  readonly stream = new ReadableStream<Uint8Array>({
    start: (controller) => void (this.#controller = controller),
    cancel: () => void (this.cancelled = true),
  });

  write(chunk: string): void {
    this.#controller.enqueue(utf8(chunk));
  }

  end(): void {
    this.#controller.close();
  }

  fail(error: Error): void {
    this.#controller.error(error);
  }
}

function watched(feed: Feed, fails: (seen: string) => void = () => {}) {
  let seen = "";
  const tee = new Tee(feed.stream, (chunk) => {
    fails(seen + text(chunk));
    seen += text(chunk);
    return Promise.resolve();
  }, (failure) => (failure as Error).message === "gone");
  return { tee, seen: () => seen };
}

async function all(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

test("a watcher has seen every chunk that is read", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed);
  const reader = tee.stream.getReader();
  feed.write("one");
  feed.write("two");
  assertEquals([text((await reader.read()).value!), seen()], ["one", "one"]);
  assertEquals([text((await reader.read()).value!), seen()], ["two", "onetwo"]);
  feed.end();
  assertEquals((await reader.read()).done, true);
  await tee.done;
});

test("a watcher is served to the end when nobody wants the stream any more", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed);
  const reader = tee.stream.getReader();
  feed.write("one");
  await reader.read();
  await reader.cancel();
  feed.write("two");
  feed.end();
  await tee.done;
  assertEquals([seen(), feed.cancelled], ["onetwo", false]);
});

test("a stream that is given up while a chunk is waited for loses nothing for the watcher", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed);
  const reader = tee.stream.getReader();
  const read = reader.read();
  await reader.cancel();
  feed.write("one");
  feed.write("two");
  feed.end();
  await Promise.all([read, tee.done]);
  assertEquals(seen(), "onetwo");
});

test("a watcher that leaves ends the source after what it was shown", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed, (all) => {
    if (all === "onetwo") throw new Error("gone");
  });
  feed.write("one");
  feed.write("two");
  assertEquals(await all(tee.stream), "onetwo");
  await tee.done;
  assertEquals([seen(), feed.cancelled, (tee.failure as Error).message], ["one", true, "gone"]);
});

test("a watcher that fails otherwise is left out, and the stream has everything", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed, (all) => {
    if (all === "onetwo") throw new Error("full");
  });
  for (const chunk of ["one", "two", "three"]) feed.write(chunk);
  feed.end();
  assertEquals(await all(tee.stream), "onetwothree");
  assertEquals([seen(), (tee.failure as Error).message], ["one", "full"]);
});

test("a source that somebody holds open is stopped after all that is there", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed);
  const read = all(tee.stream);
  feed.write("one");
  feed.write("two");
  await tee.stop();
  assertEquals([await read, seen()], ["onetwo", "onetwo"]);
});

test("what came while nobody could look is read before a source is stopped", async () => {
  const feed = new Feed();
  const { tee, seen } = watched(feed);
  const read = all(tee.stream);
  const busy = Promise.withResolvers<void>();
  setTimeout(() => {
    // The loop was held up for long: the end is heard of before the bytes that came first.
    const untilMs = performance.now() + 150;
    while (performance.now() < untilMs);
    setTimeout(() => feed.write("last"));
    busy.resolve(tee.stop());
  });
  await busy.promise;
  assertEquals([await read, seen()], ["last", "last"]);
});

test("a source waits from the moment when nobody asks for more", async () => {
  const feed = new Feed();
  const { tee } = watched(feed);
  const reader = tee.stream.getReader();
  feed.write("one");
  assertEquals(tee.heldMs, 0);
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(tee.heldMs > 10, true);
  const next = reader.read();
  assertEquals(tee.heldMs, 0);
  feed.end();
  await next;
});

test("streams are joined in the order in which their chunks come", async () => {
  const [first, second] = [new Feed(), new Feed()];
  const reader = merge([first.stream, second.stream]).getReader();
  const next = async () => text((await reader.read()).value!);
  second.write("a");
  assertEquals(await next(), "a");
  first.write("b");
  assertEquals(await next(), "b");
  first.end();
  second.write("c");
  assertEquals(await next(), "c");
  second.end();
  assertEquals((await reader.read()).done, true);
});

test("no stream that always has something starves another", async () => {
  const [loud, quiet] = [new Feed(), new Feed()];
  for (let i = 0; i < 10; i++) loud.write("l");
  quiet.write("q");
  loud.end();
  quiet.end();
  const joined = await all(merge([loud.stream, quiet.stream]));
  assertEquals([joined.length, joined.indexOf("q") < 2], [11, true]);
});

test("joined streams fail with one of them, and are given up together", async () => {
  const [first, second] = [new Feed(), new Feed()];
  const reader = merge([first.stream, second.stream]).getReader();
  const read = reader.read();
  first.fail(new Error("broken"));
  await assertRejects(() => read, Error, "broken");
  assertEquals(second.cancelled, true);
});

test("chunks whose memory is used again are watched, joined and spooled as they were", () =>
  withChance(async (chance) => {
    const contents = ["a", "b", "c"].map((letter) => letter.repeat(chance.whole(0, 200_000)));
    let seen = "";
    const watch = async (chunk: Uint8Array) => {
      if (chance.happens(0.2)) await turn();
      seen += text(chunk);
    };
    const streams = contents.map((content) => {
      const chunks = chance.pieces(utf8(content), 10_000);
      return new Tee(lending(chunks), watch, () => true).stream;
    });
    let read = "";
    for await (const chunk of spool(merge(streams), 100_000)) {
      if (chance.happens(0.2)) await turn();
      read += text(chunk);
    }
    for (const [what, got] of Object.entries({ seen, read })) {
      const sorted = ["a", "b", "c"].map((letter) => got.replace(RegExp(`[^${letter}]`, "g"), ""));
      assertEquals(got.length, contents.join("").length, what);
      assertEquals(sorted.map(({ length }) => length), contents.map(({ length }) => length), what);
    }
  }));
