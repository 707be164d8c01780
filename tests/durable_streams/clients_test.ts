/** Durable Streams: the client that people have, against the real program. */
import { test } from "node:test";
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { eitherRuntime, inTurn, kinds, own, quickest, Workspace } from "../helpers/cli.ts";
import { transferThroughStream } from "../helpers/durable_streams/transfer.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { withChance } from "../helpers/random.ts";

const either = eitherRuntime();

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`the client follows a push at ${kind} until its end`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    const { push, reference } = await workspace.push(quickest, ["--name", "build.log", "-"]);
    const id = reference.split("/").at(-1)!;
    const url = `${workspace.server}/streams/${id}`;
    for (const live of ["long-poll", "sse"] as const) {
      await push.write(`seen by ${live}\n`);
      const response = await stream({ url, offset: "-1", live });
      let text = "";
      for await (const chunk of response.textStream()) {
        text += chunk;
        if (text.includes(`by ${live}\n`)) break;
      }
      response.cancel();
    }
    const all = textOf(url);
    await push.write("last line\n");
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals(
      await within("the end", all),
      "seen by long-poll\nseen by sse\nlast line\n",
    );
  });

  test(`the client writes what follow shows, message by message, on ${kind}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    const url = `${workspace.server}/streams/chats/7`;
    const chat = await DurableStream.create({ url, contentType: "application/json" });
    const answer = await fetch(url, { method: "HEAD" });
    const follow = workspace.start(quickest, ["follow", answer.headers.get("stream-reference")!]);
    await chat.append(JSON.stringify({ first: 1 }));
    await follow.stdout.until((text) => text === '{"first":1}\n');
    // What is appended while a request is under way goes out as one.
    await Promise.all(
      Array.from({ length: 50 }, (_, number) => chat.append(JSON.stringify({ number }))),
    );
    await chat.close({ body: JSON.stringify("the end") });
    const { code, stdout } = await follow.exit();
    assertEquals(code, 0);
    const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.slice(1, -1).map(({ number }) => number), [...Array(50).keys()]);
    assertEquals(lines.at(-1), "the end");
    const response = await stream({ url, offset: "-1", live: true });
    assertEquals(await response.json(), lines);
  });
}

test("an empty stream is read to its end", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const url = `${workspace.server}/streams/empty`;
  const empty = await DurableStream.create({ url, contentType: "text/plain" });
  const live = textOf(url);
  await empty.close();
  assertEquals(await within("the end", live), "");
  await assertRejects(() => empty.append("too late"));
});

test("bytes go through a stream by the client, unchanged", () =>
  transferThroughStream(own, 9_000_000, 30_000));

test("a reader that lags behind has the last bytes, too, when the stream is closed", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const url = `${workspace.server}/streams/closed`;
  const first = "first ".repeat(300_000);
  const handle = await DurableStream.create({ url, contentType: "text/plain", body: first });
  const isClosed = Promise.withResolvers<void>();
  const isAnswered = Promise.withResolvers<void>();
  const response = await stream({
    url,
    offset: "-1",
    live: "long-poll",
    // The client asks for the next bytes while nobody has read these.
    fetch: async (input, init) => {
      if (!String(input).includes("live=")) return await fetch(input, init);
      await isClosed.promise;
      const answer = await fetch(input, init);
      isAnswered.resolve();
      return answer;
    },
  });
  const reader = response.textStream().getReader();
  await handle.close({ body: "and last" });
  isClosed.resolve();
  await isAnswered.promise;
  let text = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
  assertEquals(text.slice(first.length), "and last");
});

test("a producer that starts anew in a greater epoch appends, and shuts out its former run", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const url = `${workspace.server}/streams/runs`;
  const handle = await DurableStream.create({ url, contentType: "text/plain" });
  const errors: string[] = [];
  const onError = (error: Error) => errors.push(error.name);
  const run = (epoch: number) => new IdempotentProducer(handle, "worker-1", { epoch, onError });
  const append = async (producer: IdempotentProducer, text: string) => {
    producer.append(text);
    await producer.flush();
  };
  const now = Date.now();
  const [first, second] = [run(now), run(now + 1)];
  await append(first, "first,");
  await append(second, "second");
  assertEquals(errors, []);
  await append(first, "too late");
  assertEquals(errors, ["StaleEpochError"]);
  await handle.close();
  assertEquals(await textOf(url), "first,second");
});

either(
  "producers count once past a server that is killed again and again",
  () =>
    withChance(async (chance) => {
      await using workspace = await Workspace.open();
      let server = await workspace.serve(own);
      const port = new URL(workspace.server).port;
      const url = `${workspace.server}/streams/ledger`;
      const ledger = await DurableStream.create({ url, contentType: "application/json" });
      const producers = Array.from(
        { length: 4 },
        (_, number) =>
          new IdempotentProducer(ledger, `writer ${number}`, {
            maxBatchBytes: 2000,
            lingerMs: 1,
            fetch: patientFetch,
          }),
      );
      let isOver = false;
      let flushed = 0;
      const writing = producers.map(async (producer, writer) => {
        let count = 0;
        while (!isOver) {
          for (let batch = 0; batch < 20; batch++) {
            producer.append(JSON.stringify({ writer, count: count++, text: "x".repeat(50) }));
          }
          await producer.flush();
          flushed += 20;
        }
        return count;
      });
      for (let kills = 0; kills < 5; kills++) {
        // A server that is slow to start would otherwise be killed before it has done anything.
        const before = flushed;
        await eventually("appends to this server", () => flushed >= before + 20);
        await new Promise((resolve) => setTimeout(resolve, chance.whole(20, 200)));
        await server.kill("SIGKILL");
        server = await workspace.serve(own, ["--port", port]);
      }
      isOver = true;
      const counts = await within("the last appends", Promise.all(writing));
      await ledger.close();
      const messages = await (await stream({ url, offset: "-1", live: true })).json<
        { writer: number; count: number }
      >();
      for (const [writer, count] of counts.entries()) {
        const own = messages.filter((message) => message.writer === writer);
        assertEquals(own.map((message) => message.count), [...Array(count).keys()]);
      }
      assert(messages.length > 100, `${messages.length} messages`);
    }),
);

/** All text of a stream until it is closed; the client's `text()` ends where it is up to date. */
async function textOf(url: string): Promise<string> {
  const response = await stream({ url, offset: "-1", live: true });
  let text = "";
  for await (const chunk of response.textStream()) text += chunk;
  return text;
}

/** Goes on until a server answers: the producer itself gives up at a broken connection. */
async function patientFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  for (;;) {
    try {
      const answer = await fetch(input, init);
      if (answer.status !== 503) return answer;
      await answer.body?.cancel();
    } catch {
      // The server is dead, or not there yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
