/** What both standard WebSocket adapters share, over a socket that the test fills and empties. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { SOCKET_BUFFER_BYTES, WholeMessageConnection } from "../../src/runtime/whole.ts";
import { within } from "../helpers/frames/connection.ts";

/** A socket whose peer takes what the test says. */
class Socket extends WholeMessageConnection {
  readonly subprotocol = "";
  protected override readonly noProgressMs = 20;
  readonly ended = Promise.withResolvers<void>();
  gone = false;
  protected bufferedBytes = 0;
  taken = 0;
  readonly messages: (string | Uint8Array)[] = [];

  /** The peer takes bytes every few milliseconds, so many at a time. */
  constructor(private readonly bytesAtOnce: number) {
    super();
  }

  protected put(message: string | Uint8Array): void {
    this.messages.push(message);
    this.bufferedBytes += message.length;
  }

  protected async room(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    const bytes = Math.min(this.bytesAtOnce, this.bufferedBytes);
    this.bufferedBytes -= bytes;
    this.taken += bytes;
  }

  close(): void {
    this.terminate();
  }

  terminate(): void {
    this.gone = true;
    this.ended.resolve();
  }
}

test("a peer that takes nothing while something waits is given up", async () => {
  const socket = new Socket(0);
  await socket.send(new Uint8Array(SOCKET_BUFFER_BYTES + 1));
  await within("the end of what waits", socket.send("more"));
  await within("the end", socket.ended.promise);
});

test("a peer that takes little is waited for as long as it takes anything", async () => {
  const socket = new Socket(100);
  await socket.send(new Uint8Array(SOCKET_BUFFER_BYTES));
  await socket.send(new Uint8Array(5000));
  await within("room", socket.send("more"));
  assert(socket.taken >= 5000, `${socket.taken} bytes were taken`);
  socket.close();
});

test("messages are sent at once only where there is room for them", async () => {
  const socket = new Socket(SOCKET_BUFFER_BYTES);
  assertEquals(socket.sendNow("one", new Uint8Array(SOCKET_BUFFER_BYTES)), true);
  assertEquals(socket.sendNow("two"), false);
  const waiting = socket.send("three");
  assertEquals(socket.sendNow("four"), false);
  await within("room", waiting);
  assertEquals(socket.sendNow("five"), true);
  assertEquals(socket.messages.filter((message) => typeof message === "string"), [
    ...["one", "three", "five"],
  ]);
  socket.close();
});

test("a connection on which nothing waits is never given up", async () => {
  const socket = new Socket(0);
  await socket.send("one");
  // One on which something waits, from later on, is given up by then.
  const waiting = new Socket(0);
  await waiting.send(new Uint8Array(SOCKET_BUFFER_BYTES + 1));
  await within("the end of what waits", waiting.send("more"));
  assertEquals([socket.gone, waiting.gone], [false, true]);
});
