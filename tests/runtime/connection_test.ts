/** What every runtime's `Connection` has to stand, on the runtime that runs the tests. */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { framesRuntime, loadRuntime } from "../../mod.ts";
import type { Connection, Listener, Runtime, Session } from "../../src/runtime.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertBytes, eventually, within } from "../helpers/frames/connection.ts";
import { assertFails } from "../helpers/errors.ts";
import { lend, lending, Lent } from "../helpers/lent.ts";
import { OP, type RawFrame, RawPeer } from "../helpers/frames/frames.ts";
import { type RawAnswer, rawUpgrade } from "../helpers/server.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** A session that keeps what it hears. */
class Recorder implements Session {
  readonly texts: string[] = [];
  readonly received: Uint8Array[] = [];
  readonly closings: { code: number; reason: string }[] = [];

  #pieces: Uint8Array[] = [];

  constructor(readonly connection: Connection) {}

  text(message: string): void {
    this.texts.push(message);
  }

  /** Adapters may hand a message over in pieces. */
  data(bytes: Uint8Array, final: boolean): void {
    this.#pieces.push(bytes.slice());
    if (!final) return;
    const message = concat(this.#pieces);
    this.#pieces = [];
    this.message(message);
  }

  message(bytes: Uint8Array): void {
    this.received.push(bytes);
  }

  closed(code: number, reason: string): void {
    this.closings.push({ code, reason });
  }
}

/** A server whose sessions are the test's. */
interface Mounted<S extends Session> extends AsyncDisposable {
  listener: Listener;
  host: string;
  /** Sessions in the order they were opened. */
  sessions: S[];
}

/** Adapters that listen on the runtime that runs the tests. */
const adapters: Record<string, () => Runtime | Promise<Runtime>> = {
  "the runtime's own": () => loadRuntime({ trustedNetwork: true }),
  frames: framesRuntime,
};
/** The one under test. */
let adapter = "";

/** A test of every adapter, or of some; tests come one after the other. */
function contract(name: string, run: () => Promise<void>, names = Object.keys(adapters)): void {
  for (const each of names) {
    test(`${name}: ${each}`, async () => {
      adapter = each;
      await run();
    });
  }
}

async function mount<S extends Session>(
  open: (connection: Connection) => S,
  subprotocol = "",
): Promise<Mounted<S>> {
  const runtime = await adapters[adapter]();
  const sessions: S[] = [];
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) =>
      runtime.upgrade(request, env, {
        subprotocol,
        open: (connection) => {
          const session = open(connection);
          sessions.push(session);
          return session;
        },
      }),
  });
  const host = `127.0.0.1:${listener.port}`;
  return { listener, host, sessions, [Symbol.asyncDispose]: () => listener.close() };
}

const record = () => mount((connection) => new Recorder(connection));

/** What a WebSocket of the platform received. */
class Client implements Disposable {
  readonly messages: (string | Uint8Array)[] = [];
  readonly closing: Promise<{ code: number; reason: string }>;
  readonly opened: Promise<unknown>;
  readonly socket: WebSocket;

  constructor(host: string, subprotocols: string[] = []) {
    this.socket = new WebSocket(`ws://${host}/`, subprotocols);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) =>
      this.take(typeof data === "string" ? data : new Uint8Array(data));
    this.opened = new Promise((resolve) => this.socket.onopen = resolve);
    this.closing = new Promise((resolve) => {
      this.socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
  }

  static async open(host: string, subprotocols?: string[]): Promise<Client> {
    const client = new Client(host, subprotocols);
    await within("a connection", client.opened);
    return client;
  }

  take(message: string | Uint8Array): void {
    this.messages.push(message);
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

/** The session of a client that is connected. */
async function sessionOf({ sessions }: Mounted<Recorder>): Promise<Recorder> {
  await eventually("a session", () => sessions.length > 0);
  return sessions[0];
}

/** Reads the data messages that a server sent to a raw socket, each a whole frame or several. */
async function* framesOf({ socket, body }: RawAnswer): AsyncGenerator<Buffer> {
  let rest = Buffer.from(body, "latin1");
  let message = Buffer.alloc(0);
  socket.resume();
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const frame = firstFrame(rest);
      if (frame === null) break;
      rest = rest.subarray(frame.length);
      if (frame.isControl) continue;
      message = Buffer.concat([message, frame.payload]);
      if (!frame.isLast) continue;
      yield message;
      message = Buffer.alloc(0);
    }
  }
}

function firstFrame(bytes: Buffer) {
  if (bytes.length < 2) return null;
  const short = bytes[1] & 0x7f;
  const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < headBytes) return null;
  const payloadBytes = short === 127
    ? Number(bytes.readBigUInt64BE(2))
    : short === 126
    ? bytes.readUInt16BE(2)
    : short;
  const length = headBytes + payloadBytes;
  if (bytes.length < length) return null;
  return {
    length,
    payload: bytes.subarray(headBytes, length),
    isControl: (bytes[0] & 8) !== 0,
    isLast: (bytes[0] & 0x80) !== 0,
  };
}

const base = new Uint8Array(randomBytes(64 * KiB + 1000));
/** The message with a number: 64 KiB that differ from those of its neighbours. */
const numbered = (index: number) => base.subarray(index % 1000, index % 1000 + 64 * KiB);

// `Deno.serve` cannot.
const REFUSING = "Deno" in globalThis ? ["frames"] : undefined;

contract("a port that refuses takes no connection any more, and what is open goes on", async () => {
  const runtime = await adapters[adapter]();
  let body!: ReadableStreamDefaultController<Uint8Array>;
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) =>
      request.headers.get("upgrade") !== null
        ? runtime.upgrade(request, env, {
          subprotocol: "",
          open: (connection) => new Recorder(connection),
        })
        : new Response(
          new ReadableStream({
            start(controller) {
              body = controller;
              body.enqueue(utf8("a"));
            },
          }),
        ),
  });
  const url = `http://127.0.0.1:${listener.port}`;
  using client = await Client.open(url.slice(7));
  const answer = await fetch(url);
  listener.refuse();
  await assertRejects(() => fetch(url, { headers: { connection: "close" } }));
  body.enqueue(utf8("ll"));
  body.close();
  assertEquals(await answer.text(), "all");
  assertEquals(client.socket.readyState, WebSocket.OPEN);
  await within("its end", listener.close());
  await within("the end of its connections", client.closing);
}, REFUSING);

contract("64 MiB that are sent message by message all arrive, in order and unaltered", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  let count = 0, wrong = 0;
  client.take = (message) => {
    if (Buffer.compare(message as Uint8Array, numbered(count++)) !== 0) wrong++;
  };
  const { connection } = await sessionOf(mounted);
  for (let index = 0; index < 1024; index++) await connection.send(numbered(index));
  await eventually("all messages", () => count === 1024);
  assertEquals(wrong, 0);
});

contract(
  "what was sent arrives, whatever is done with its memory when the send is over",
  async () => {
    await using mounted = await record();
    const peer = await rawUpgrade(mounted.host, "/");
    peer.socket.pause();
    const { connection } = await sessionOf(mounted);
    const lengths = [64 * KiB, 10, 4095, 4096, 64 * KiB];
    const messages = Array.from({ length: 400 }, (_, index) => {
      return numbered(index).subarray(0, lengths[index % lengths.length]);
    });
    const sendAll = async () => {
      for (const [index, message] of messages.entries()) {
        const now = new Lent(message);
        const isSent = index % 8 !== 7 && connection.sendNow(now.bytes);
        now.takeBack();
        if (isSent) continue;
        if (index % 2 === 0) {
          const chunks = [message.subarray(0, 1000), message.subarray(1000)];
          await connection.sendChunks(message.length, lending(chunks));
        } else await lend(message, (bytes) => connection.send(bytes));
      }
    };
    const sending = sendAll();
    // By then the peer's end of the socket is full.
    await new Promise((resolve) => setTimeout(resolve, 100));
    let count = 0;
    for await (const message of framesOf(peer)) {
      assertBytes(message, messages[count]);
      if (++count === messages.length) break;
    }
    await within("the last send", sending);
  },
);

contract(
  "64 MiB that are received message by message all arrive, and stay as they were",
  async () => {
    await using mounted = await record();
    using client = await Client.open(mounted.host);
    const session = await sessionOf(mounted);
    for (let index = 0; index < 1024; index++) {
      client.socket.send(numbered(index));
      while (client.socket.bufferedAmount > MiB) {
        await new Promise((resolve) => setTimeout(resolve));
      }
    }
    await eventually("all messages", () => session.received.length === 1024);
    const wrong = session.received.filter((bytes, index) =>
      Buffer.compare(bytes, numbered(index)) !== 0
    );
    assertEquals(wrong.length, 0);
  },
);

contract(
  "messages of every length and kind arrive as they were sent, in both directions",
  async () => {
    await using mounted = await mount((connection) =>
      new class extends Recorder {
        override text(message: string): void {
          void this.connection.send(message);
        }
        override message(bytes: Uint8Array): void {
          void this.connection.send(bytes);
        }
      }(connection)
    );
    using client = await Client.open(mounted.host);
    const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000];
    // Where frames are seen a text is a control message, and no longer than one may be.
    const longest = adapter === "frames" ? 20_000 : Infinity;
    const sent = lengths.flatMap((length) => [
      "é€😀\0\n".repeat(length).slice(0, Math.min(longest, length - length % 2)),
      new Uint8Array(randomBytes(length)),
    ]);
    for (const message of sent) client.socket.send(message);
    await eventually("all echoes", () => client.messages.length === sent.length);
    sent.forEach((message, index) => {
      const echo = client.messages[index];
      if (typeof message === "string") assert(message === echo, `text ${message.length}`);
      else assertBytes(echo as Uint8Array, message);
    });
  },
);

contract("received bytes are a view of their own: exactly the message", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  client.socket.send(new Uint8Array(randomBytes(1000)).subarray(10, 20));
  const session = await sessionOf(mounted);
  await eventually("the message", () => session.received.length === 1);
  assertEquals(session.received[0].length, 10);
});

contract("what is sent while a session opens arrives", async () => {
  await using mounted = await mount((connection) => {
    void connection.send("hello");
    void connection.send(utf8("bytes"));
    return new Recorder(connection);
  });
  using client = await Client.open(mounted.host);
  await eventually("both messages", () => client.messages.length === 2);
  assertEquals(client.messages[0], "hello");
});

contract("the subprotocol is what both agreed on", async () => {
  await using native = await mount((connection) => new Recorder(connection), "stream.v1");
  using speaker = await Client.open(native.host, ["other", "stream.v1"]);
  assertEquals(speaker.socket.protocol, "stream.v1");
  assertEquals((await sessionOf(native)).connection.subprotocol, "stream.v1");
  await using base = await record();
  using silent = await Client.open(base.host);
  assertEquals(silent.socket.protocol, "");
  assertEquals((await sessionOf(base)).connection.subprotocol, "");
});

contract(
  "a send waits while the peer does not read, goes on when it does, and leaves its memory to the sender",
  async () => {
    await using mounted = await record();
    using peer = await rawUpgrade(mounted.host, "/");
    const { connection } = await sessionOf(mounted);
    const count = 1024;
    let sent = 0;
    // Memory is the sender's again when a send resolved, so that all messages may have the same.
    const memory = new Uint8Array(64 * KiB);
    const sendAll = async () => {
      for (; sent < count; sent++) {
        memory.set(numbered(sent));
        await connection.send(memory);
      }
    };
    const sending = sendAll();
    // Nothing tells that a send goes on waiting: the kernel takes as much as it likes, until it takes no more.
    for (let before = -1; before !== sent;) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    // The kernel holds some, and so does the socket: the rest must wait here.
    assertLess(sent * 64 * KiB, 32 * MiB);
    let received = 0;
    for await (const message of framesOf(peer)) {
      assertEquals(Buffer.compare(message, numbered(received)), 0, `message ${received}`);
      if (++received === count) break;
    }
    await within("the sends", sending);
  },
);

contract("sends that nobody waits for keep their order", async () => {
  await using mounted = await record();
  using peer = await rawUpgrade(mounted.host, "/");
  const { connection } = await sessionOf(mounted);
  const count = 300;
  for (let index = 0; index < count; index++) {
    // Large ones fill the socket; small ones then look for a gap.
    const bytes = Buffer.alloc(index < 40 ? MiB : 1000);
    bytes.writeUInt32BE(index);
    void connection.send(bytes);
    // A load: the socket finds time to send between some of them.
    if (index % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const order: number[] = [];
  for await (const message of framesOf(peer)) {
    order.push(message.readUInt32BE());
    // Whoever finds room now must not overtake those that wait.
    if (order.length < 40) {
      const late = Buffer.alloc(1000);
      late.writeUInt32BE(count + order.length - 1);
      void connection.send(late);
    }
    if (order.length === count + 39) break;
  }
  const overtaken = order.findIndex((index, at) => index !== at);
  assertEquals(overtaken, -1, `${order[overtaken]} came in place of ${overtaken}`);
});

contract(
  "messages that are sent at once come in order, and do nothing when the peer is gone",
  async () => {
    await using mounted = await record();
    using peer = await rawUpgrade(mounted.host, "/");
    const session = await sessionOf(mounted);
    const large = Buffer.alloc(64 * 1024, 7);
    assertEquals(session.connection.sendNow("one", large, "two"), true);
    assertEquals(session.connection.sendNow("three"), true);
    const received: number[] = [];
    for await (const message of framesOf(peer)) {
      received.push(message.length);
      if (received.length === 4) break;
    }
    assertEquals(received, [3, 64 * 1024, 3, 5]);
    peer.socket.destroy();
    await eventually("the close", () => session.closings.length > 0);
    session.connection.sendNow("too", "late");
  },
);

contract(
  "a send that waits is released when the peer goes, and later ones do nothing",
  async () => {
    await using mounted = await record();
    const peer = await rawUpgrade(mounted.host, "/");
    const session = await sessionOf(mounted);
    const sends = Array.from({ length: 64 }, () => session.connection.send(new Uint8Array(MiB)));
    peer.socket.destroy();
    await within("the sends", Promise.all(sends));
    await eventually("the close", () => session.closings.length > 0);
    await within("a later send", session.connection.send("too late"));
    session.connection.close(1000, "too late");
    assertEquals(session.closings.length, 1);
  },
);

contract("code and reason of a close reach the peer, after all that was sent before", async () => {
  const reason = "€".repeat(41);
  await using mounted = await record();
  for (const code of [1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013]) {
    using client = await Client.open(mounted.host);
    await eventually("a session", () => mounted.sessions.length > 0);
    const session = mounted.sessions.pop()!;
    void session.connection.send("last words");
    session.connection.close(code, reason);
    assertEquals(await within("the close", client.closing), { code, reason });
    assertEquals(client.messages, ["last words"]);
    await eventually("closed", () => session.closings.length > 0);
    assertEquals(session.closings.length, 1);
  }
});

contract("code and reason of the peer's close reach the session, once", async () => {
  await using mounted = await record();
  for (const [code, reason] of [[1000, "Upload completed"], [3001, "é€😀"], [4999, ""]] as const) {
    using client = await Client.open(mounted.host);
    await eventually("a session", () => mounted.sessions.length > 0);
    const session = mounted.sessions.pop()!;
    client.socket.close(code, reason);
    await within("the close", client.closing);
    await eventually("closed", () => session.closings.length > 0);
    assertEquals(session.closings, [{ code, reason }]);
  }
});

contract("a session hears of its end once, however often and by whom it is closed", async () => {
  const ends: ((session: Recorder, client: Client) => void)[] = [
    ({ connection }) => {
      connection.close(1000, "one");
      connection.close(1001, "two");
    },
    ({ connection }, { socket }) => {
      connection.close(1000, "one");
      socket.close();
    },
    ({ connection }, { socket }) => {
      socket.close(1000);
      connection.terminate();
    },
    ({ connection }) => {
      connection.terminate();
      connection.terminate();
      connection.close(1000, "late");
    },
  ];
  await using mounted = await record();
  for (const end of ends) {
    using client = await Client.open(mounted.host);
    await eventually("a session", () => mounted.sessions.length > 0);
    const session = mounted.sessions.pop()!;
    end(session, client);
    await within("the close", client.closing);
    await eventually("closed", () => session.closings.length > 0);
    // Whatever else the runtime has to say about the end comes before another connection opens.
    using _other = await Client.open(mounted.host);
    await eventually("a session", () => mounted.sessions.length > 0);
    mounted.sessions.pop();
    assertEquals(session.closings.length, 1);
  }
});

contract("a peer that vanishes without a close ends the session, once", async () => {
  await using mounted = await record();
  const peer = await rawUpgrade(mounted.host, "/");
  const session = await sessionOf(mounted);
  peer.socket.destroy();
  await eventually("closed", () => session.closings.length > 0);
  using _other = await Client.open(mounted.host);
  assertEquals(session.closings.length, 1);
});

contract("terminate ends the session although the peer neither reads nor answers", async () => {
  await using mounted = await record();
  using peer = await rawUpgrade(mounted.host, "/");
  const session = await sessionOf(mounted);
  assertEquals(peer.status, 101);
  session.connection.terminate();
  await eventually("closed", () => session.closings.length > 0);
  await within("a later send", session.connection.send("too late"));
  assertEquals(session.closings.length, 1);
});

contract("nothing is heard of a connection after its end", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  const session = await sessionOf(mounted);
  session.connection.terminate();
  await eventually("closed", () => session.closings.length > 0);
  client.socket.send("too late");
  await within("the close", client.closing);
  assertEquals(session.texts, []);
});

async function* pieces(...lengths: number[]): AsyncGenerator<Uint8Array> {
  for (const length of lengths) {
    await Promise.resolve();
    yield new Uint8Array(length).fill(length % 251);
  }
}

contract("chunks are put together into exactly one message, of up to 16 MiB", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  const { connection } = await sessionOf(mounted);
  await connection.sendChunks(0, pieces());
  await connection.sendChunks(6, pieces(1, 2, 3));
  await connection.sendChunks(16 * MiB, pieces(...Array(16).fill(MiB)));
  await eventually("all messages", () => client.messages.length === 3);
  const [empty, small, large] = client.messages as Uint8Array[];
  assertEquals([empty.length, large.length], [0, 16 * MiB]);
  assertBytes(small, Uint8Array.of(1, 2, 2, 3, 3, 3));
});

contract("a message above 16 MiB is MESSAGE_TOO_LARGE before anything is read", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  const { connection } = await sessionOf(mounted);
  let read = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces(MiB)) {
      read++;
      yield piece;
    }
  }
  await assertFails("MESSAGE_TOO_LARGE", () => connection.sendChunks(16 * MiB + 1, counted()));
  assertEquals(read, 0);
  await connection.send("still there");
  await eventually("the message", () => client.messages.length > 0);
  assertEquals(client.messages, ["still there"]);
}, ["the runtime's own"]);

contract("long messages that nobody takes share 64 MiB, and others wait", async () => {
  await using mounted = await record();
  const peers = [];
  const begun: number[] = [];
  async function* counted(index: number): AsyncGenerator<Uint8Array> {
    begun.push(index);
    for await (const piece of pieces(...Array(16).fill(MiB))) yield piece;
  }
  for (let index = 0; index < 10; index++) {
    peers.push(await rawUpgrade(mounted.host, "/"));
    await eventually("a session", () => mounted.sessions.length > index);
    void mounted.sessions[index].connection.sendChunks(16 * MiB, counted(index));
  }
  await eventually("the first", () => begun.length >= 4);
  // Whoever was allowed more has begun by the time of another connection's answer.
  using other = await Client.open(mounted.host);
  await eventually("its session", () => mounted.sessions.length === 11);
  void mounted.sessions[10].connection.send("hello");
  await eventually("an answer", () => other.messages.length === 1);
  assertEquals(begun.length, 4);
  peers[0].socket.destroy();
  await eventually("the next", () => begun.length === 5);
  for (const { socket } of peers) socket.destroy();
  await eventually("all", () => begun.length >= 5);
}, ["the runtime's own"]);

contract("long texts that nobody takes share 64 MiB, and others wait", async () => {
  await using mounted = await record();
  const peers = [];
  let begun = 0;
  const long = () => {
    begun++;
    return Promise.resolve("x".repeat(16 * MiB));
  };
  for (let index = 0; index < 4; index++) {
    peers.push(await rawUpgrade(mounted.host, "/"));
    await eventually("a session", () => mounted.sessions.length > index);
    void mounted.sessions[index].connection.sendLong(32 * MiB, long);
  }
  using other = await Client.open(mounted.host);
  await eventually("its session", () => mounted.sessions.length === 5);
  void mounted.sessions[4].connection.send("hello");
  await eventually("an answer", () => other.messages.length === 1);
  assertEquals(begun, 2);
  for (const { socket } of peers) socket.destroy();
  await eventually("all", () => begun >= 3);
}, "Bun" in globalThis ? Object.keys(adapters) : ["frames"]);

contract(
  "what waits in all sockets together has a bound, and goes on when peers read",
  async () => {
    await using mounted = await record();
    const peers = [];
    let sent = 0;
    const wanted = 60 * 7;
    for (let index = 0; index < 60; index++) {
      peers.push(await rawUpgrade(mounted.host, "/"));
      await eventually("a session", () => mounted.sessions.length > index);
      const { connection } = mounted.sessions[index];
      void (async () => {
        for (let count = 0; count < 7; count++) {
          await connection.send(new Uint8Array(MiB));
          await connection.send(new Uint8Array(1));
          sent++;
        }
      })();
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
    // The kernel takes some MiB of each; 420 MiB would fit into the sockets' own buffers.
    assertLess(sent, wanted);
    for (const { socket } of peers) socket.resume();
    await eventually("all", () => sent === wanted);
    for (const { socket } of peers) socket.destroy();
  },
  "Bun" in globalThis ? ["the runtime's own"] : [],
);

contract("of many pings the newest are answered", async () => {
  await using mounted = await record();
  using peer = await RawPeer.open(mounted.listener.port);
  const pings = Array<RawFrame>(1000).fill({ opcode: OP.ping, payload: "x" });
  await peer.send(...pings, { opcode: OP.ping, payload: "the newest" });
  let pongs = 1;
  while ((await within("a pong", peer.read()))!.payload.toString() !== "the newest") pongs++;
  assertLess(pongs, pings.length);
}, ["frames"]);

contract("a peer that sends hardly anything but pings is gone", async () => {
  await using mounted = await record();
  using peer = await RawPeer.open(mounted.listener.port);
  await peer.send(...Array<RawFrame>(1000).fill({ opcode: OP.ping, payload: "x" }));
  await eventually("the end", () => mounted.sessions[0]?.closings.length === 1);
}, "Bun" in globalThis ? ["the runtime's own"] : []);

contract("no peer's frames keep the others waiting", async () => {
  const heard: number[] = [];
  let turns = 0;
  await using mounted = await mount(() => ({
    text() {
      const untilMs = performance.now() + 1;
      while (performance.now() < untilMs);
      heard.push(turns);
    },
    data() {},
    closed() {},
  }));
  using peer = await RawPeer.open(mounted.listener.port);
  const frames = Array<RawFrame>(500).fill({ opcode: OP.text, payload: "x" });
  const counting = setInterval(() => turns++, 1);
  await peer.send(...frames);
  await eventually("all", () => heard.length === frames.length);
  clearInterval(counting);
  assert(new Set(heard).size >= 10, `others had ${new Set(heard).size} turns`);
}, ["frames"]);

contract("a message of 16 MiB is received whole", async () => {
  await using mounted = await record();
  using client = await Client.open(mounted.host);
  const session = await sessionOf(mounted);
  const sent = new Uint8Array(randomBytes(16 * MiB));
  client.socket.send(sent);
  await eventually("the message", () => session.received.length > 0);
  assertBytes(session.received[0], sent);
});

contract("a listener that closes ends what is open and refuses what comes", async () => {
  const mounted = await record();
  using client = await Client.open(mounted.host);
  const session = await sessionOf(mounted);
  await within("the end", mounted.listener.close());
  await within("the close", client.closing);
  await eventually("closed", () => session.closings.length > 0);
  const late = new Client(mounted.host);
  await within("the refusal", late.closing);
});

contract("a port that is taken rejects", async () => {
  await using mounted = await record();
  const runtime = await adapters[adapter]();
  const options = { hostname: "127.0.0.1", port: mounted.listener.port };
  const listening = runtime.listen({ ...options, fetch: () => new Response() });
  assert(await within("the refusal", listening.then(() => null, (error) => error)) !== null);
});

contract("the address a request comes from is known", async () => {
  const runtime = await adapters[adapter]();
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, env) => new Response(runtime.remoteAddress(request, env)),
  });
  const response = await fetch(`http://127.0.0.1:${listener.port}/`);
  assertEquals(await response.text(), "127.0.0.1");
  await listener.close();
  assertEquals(runtime.remoteAddress(new Request("http://127.0.0.1/"), undefined), null);
});
