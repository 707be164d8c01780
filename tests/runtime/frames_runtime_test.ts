/** The frame-level listener over TCP, against a client of our own and against the platform's WebSocket. */
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { createServer, MemoryCatalog, MemoryStorage } from "../../mod.ts";
import { StreamError } from "../../src/protocol.ts";
import type { Connection, Listener, Session } from "../../src/runtime.ts";
import { type FramesOptions, framesRuntime } from "../../src/runtime/frames.ts";
import {
  closing,
  OP,
  type RawFrame,
  rawFrame,
  RawPeer,
  upgradeRequest,
} from "../helpers/frames/frames.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const patienceMs = 30_000;
/** More than the kernel and the streams of both ends hold of one connection. */
const buffersBytes = 20 * MiB;

/** Waits for what nobody announces. */
async function eventually(what: string, happened: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!happened()) {
    assert(performance.now() < deadline, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A session that keeps what it hears, and takes its time when it is told to. */
class Recorder implements Session {
  readonly texts: string[] = [];
  /** Binary messages; the last may still be arriving. */
  readonly messages: { pieces: Uint8Array[]; final: boolean }[] = [];
  readonly closings: { code: number; reason: string }[] = [];
  takenBytes = 0;
  /** What is done about a piece of data. */
  take: (bytes: Uint8Array, final: boolean) => void | Promise<void> = (bytes, final) => {
    if (this.messages.at(-1)?.final ?? true) this.messages.push({ pieces: [], final: false });
    this.messages.at(-1)!.pieces.push(bytes.slice());
    this.messages.at(-1)!.final = final;
  };
  /** Calls that came while another was being answered, or after the end. */
  outOfTurn = 0;
  #busy = false;

  constructor(readonly connection: Connection) {}

  text(message: string): void {
    this.#enter();
    this.texts.push(message);
  }

  data(bytes: Uint8Array, final: boolean): void | Promise<void> {
    this.#enter();
    this.takenBytes += bytes.length;
    const taken = this.take(bytes, final);
    if (taken === undefined) return;
    this.#busy = true;
    return taken.finally(() => this.#busy = false);
  }

  closed(code: number, reason: string): void {
    this.closings.push({ code, reason });
  }

  /** The bytes of all binary messages. */
  get bytes(): Buffer {
    return Buffer.concat(this.messages.flatMap(({ pieces }) => pieces));
  }

  /** Waits for the end. */
  async end(): Promise<{ code: number; reason: string }> {
    await eventually("closed", () => this.closings.length > 0);
    return this.closings[0];
  }

  #enter(): void {
    if (this.#busy || this.closings.length > 0) this.outOfTurn++;
  }
}

interface MountOptions extends FramesOptions {
  subprotocol?: string;
  maxConnections?: number;
  /** Does something with a session before anything arrives. */
  prepare?(session: Recorder): void;
}

/** A listener whose sessions are the test's. */
interface Mounted extends AsyncDisposable {
  listener: Listener;
  port: number;
  sessions: Recorder[];
  /** Connects a raw client. */
  connect(headers?: Record<string, string>): Promise<{ peer: RawPeer; session: Recorder }>;
}

async function mount(options: MountOptions = {}): Promise<Mounted> {
  const { subprotocol = "", maxConnections, prepare, ...times } = options;
  const runtime = framesRuntime(times);
  const sessions: Recorder[] = [];
  const open = (connection: Connection) => {
    const session = new Recorder(connection);
    sessions.push(session);
    prepare?.(session);
    return session;
  };
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    maxConnections,
    fetch: (request, env) => runtime.upgrade(request, env, { subprotocol, open }),
  });
  const { port } = listener;
  const connect = async (headers?: Record<string, string>) => {
    const peer = await RawPeer.open(port, headers);
    return { peer, session: sessions.at(-1)! };
  };
  const dispose = async () => {
    await listener.close();
    for (const { closings, outOfTurn } of sessions) {
      assertEquals([closings.length, outOfTurn], [1, 0]);
    }
  };
  return { listener, port, sessions, connect, [Symbol.asyncDispose]: dispose };
}

type Fetch = (request: Request) => Response | Promise<Response>;

/** A listener for ordinary requests. */
async function serve(fetch: Fetch, options?: FramesOptions) {
  const runtime = framesRuntime(options);
  const listener = await runtime.listen({ hostname: "127.0.0.1", port: 0, fetch });
  const { port } = listener;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

/** A binary message cut as a Java container cuts what an upload writes. */
function fragments(bytes: Uint8Array, fragmentBytes: number): RawFrame[] {
  const frames: RawFrame[] = [];
  for (let at = 0; at < bytes.length; at += fragmentBytes) {
    const payload = bytes.subarray(at, at + fragmentBytes);
    frames.push({ opcode: at === 0 ? OP.binary : OP.cont, fin: false, payload });
  }
  return [...frames, { opcode: frames.length === 0 ? OP.binary : OP.cont }];
}

/** Any number of bytes, in pieces of a length. */
async function* pieces(count: number, length: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index++) {
    await Promise.resolve();
    yield new Uint8Array(length).fill(index);
  }
}

function endless(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
  controller.enqueue(new Uint8Array(1000));
  return new Promise((resolve) => setTimeout(resolve, 1));
}

async function expectClose(peer: RawPeer, code: number): Promise<string> {
  for (let frame = await peer.read(); frame !== null; frame = await peer.read()) {
    if (frame.opcode !== OP.close) continue;
    assertEquals(frame.payload.readUInt16BE(), code);
    return frame.payload.subarray(2).toString();
  }
  throw new Error("the connection ended without a close frame");
}

// The opening handshake

test("the handshake proves that the key was read, and names the subprotocol that was chosen", async () => {
  for (const subprotocol of ["", "stream.v1"]) {
    await using mounted = await mount({ subprotocol });
    using peer = new RawPeer(mounted.port);
    await peer.write(upgradeRequest({ "Sec-WebSocket-Protocol": "other, stream.v1" }));
    const { status, headers } = await peer.readHead();
    assertEquals(status, 101);
    assertEquals(headers.get("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assertEquals(headers.get("upgrade"), "websocket");
    assertEquals(headers.get("connection"), "Upgrade");
    assertEquals(headers.get("sec-websocket-protocol"), subprotocol || null);
    assertEquals(mounted.sessions[0].connection.subprotocol, subprotocol);
  }
});

test("a handshake that arrives byte by byte, and one with frames right behind it", async () => {
  await using mounted = await mount();
  using slow = new RawPeer(mounted.port);
  for (const byte of Buffer.from(upgradeRequest())) await slow.write(Uint8Array.of(byte));
  assertEquals((await slow.readHead()).status, 101);
  using eager = new RawPeer(mounted.port);
  eager.socket.cork();
  const request = eager.write(upgradeRequest());
  const frames = eager.send({ opcode: OP.text, payload: "early" }, {
    opcode: OP.binary,
    payload: "bird",
  });
  eager.socket.uncork();
  await Promise.all([request, frames]);
  assertEquals((await eager.readHead()).status, 101);
  const session = mounted.sessions[1];
  await eventually("both messages", () => session.messages.length === 1);
  assertEquals([session.texts, session.bytes.toString()], [["early"], "bird"]);
  await eager.send({ opcode: OP.text, payload: "later" });
  await eventually("the third", () => session.texts.length === 2);
});

test("a handshake that is none is refused over HTTP, and its connection closed", async () => {
  await using mounted = await mount();
  const rows: [Record<string, string>, number][] = [
    [{ "Sec-WebSocket-Version": "8" }, 426],
    [{ "Sec-WebSocket-Version": "" }, 426],
    [{ "Sec-WebSocket-Key": "" }, 400],
    [{ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ" }, 400],
    [{ "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==, x" }, 400],
    [{ "Host": "a b" }, 400],
  ];
  for (const [headers, expected] of rows) {
    using peer = new RawPeer(mounted.port);
    await peer.write(upgradeRequest(headers));
    const head = await peer.readHead();
    assertEquals(head.status, expected, JSON.stringify(headers));
    assertEquals(head.headers.get("connection"), "close");
    assertEquals(head.headers.get("sec-websocket-version"), expected === 426 ? "13" : null);
    const body = await peer.readAll();
    assertEquals(body.length, Number(head.headers.get("content-length")));
  }
  // These are requests like any other.
  for (
    const request of [upgradeRequest({ Upgrade: "h2c" }), upgradeRequest().replace("GET", "POST")]
  ) {
    using peer = new RawPeer(mounted.port);
    await peer.write(request);
    assertEquals((await peer.readHead()).status, 400);
  }
  assertEquals(mounted.sessions, []);
});

test("a route's own refusal reaches the peer in full, and its connection is closed", async () => {
  const long = "x".repeat(3 * MiB);
  const answers: Fetch[] = [
    () => Response.json({ code: "ORIGIN_REFUSED" }, { status: 403 }),
    () => new Response("nothing here", { status: 404, headers: { "x-more": "1" } }),
    async () =>
      await new Promise((resolve) => setTimeout(resolve, 10, new Response(null, { status: 503 }))),
    () => new Response(long),
    () => {
      throw new Error("a bug");
    },
  ];
  let answer: Fetch = answers[0];
  await using server = await serve((request) => answer(request));
  const heard: [number, string | null, number][] = [];
  for (answer of answers) {
    using peer = new RawPeer(server.port);
    await peer.write(upgradeRequest());
    const { status, headers } = await peer.readHead();
    heard.push([status, headers.get("x-more"), (await peer.readAll()).length]);
  }
  const sizes = heard.map(([, , size]) => size);
  assertEquals(heard.map(([status, more]) => [status, more]), [
    [403, null],
    [404, "1"],
    [503, null],
    [200, null],
    [500, null],
  ]);
  assertEquals(sizes.slice(0, 3), [25, 12, 0]);
  // In chunks, or not.
  assert(sizes[3] >= long.length);
});

test("a client that left before its handshake was answered leaves no session behind", async () => {
  const asked = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const sessions: Recorder[] = [];
  const open = (connection: Connection) => sessions[sessions.push(new Recorder(connection)) - 1];
  const runtime = framesRuntime();
  const listener = await runtime.listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request, env) => {
      asked.resolve();
      await left.promise;
      answered.resolve();
      return runtime.upgrade(request, env, { subprotocol: "", open });
    },
  });
  const peer = new RawPeer(listener.port);
  await peer.write(upgradeRequest());
  await asked.promise;
  peer.socket.resetAndDestroy();
  // Another connection shows that time has passed.
  const other = new RawPeer(listener.port);
  await other.write("nonsense\r\n\r\n");
  await other.readAll();
  left.resolve();
  await answered.promise;
  await eventually("no session", () => sessions.every(({ closings }) => closings.length === 1));
  await listener.close();
});

test("the body of an answer is given back when its client left before it began", async () => {
  const asked = Promise.withResolvers<AbortSignal>();
  const left = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  // Of what never tells anything no write would fail.
  const silent = new ReadableStream({ cancel: () => cancelled.resolve() });
  const listener = await framesRuntime().listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async ({ signal }) => {
      asked.resolve(signal);
      await left.promise;
      return new Response(silent);
    },
  });
  const peer = new RawPeer(listener.port);
  await peer.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const signal = await asked.promise;
  signal.addEventListener("abort", () => left.resolve());
  peer.socket.resetAndDestroy();
  await cancelled.promise;
  await listener.close();
});

test("requests that are too large, too slow or nonsense end their connection", async () => {
  await using server = await serve(() => new Response("ok"), { headersWithinMs: 100 });
  const requests = [
    upgradeRequest({ "X-Long": "x".repeat(100 * KiB) }),
    "\\0\\1\\2 nonsense\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "",
  ];
  for (const request of requests) {
    using peer = new RawPeer(server.port);
    await peer.write(request);
    const answer = (await peer.readAll()).toString("latin1");
    assert(/^$|^HTTP\/1\.1 4\d\d /.test(answer), answer);
  }
});

test("connections beyond the limit are told so, and others accepted when there is room again", async () => {
  // Bun's `node:http` tells of a connection with its first request.
  await using mounted = await mount({ maxConnections: 2 });
  const first = await mounted.connect();
  const second = await mounted.connect();
  using third = new RawPeer(mounted.port);
  await third.write(upgradeRequest());
  const head = await third.readHead();
  assertEquals([head.status, head.headers.get("retry-after")], [503, "2"]);
  await third.readAll();
  first.peer.socket.destroy();
  await first.session.end();
  assertEquals((await mounted.connect()).session.closings, []);
  second.peer.socket.destroy();
});

// Messages

test("messages of every length and kind, echoed to the platform's WebSocket", async () => {
  await using mounted = await mount({
    prepare: (session) => {
      session.text = (message) => void session.connection.send(message);
      let received: Uint8Array[] = [];
      session.take = (bytes, final) => {
        received.push(bytes.slice());
        if (!final) return;
        const message = Buffer.concat(received);
        received = [];
        return session.connection.send(message);
      };
    },
  });
  const socket = new WebSocket(`ws://127.0.0.1:${mounted.port}/`);
  socket.binaryType = "arraybuffer";
  const echoes: (string | Buffer)[] = [];
  socket.onmessage = ({ data }) => echoes.push(typeof data === "string" ? data : Buffer.from(data));
  await new Promise((resolve) => socket.onopen = resolve);
  const lengths = [0, 1, 125, 126, 127, 4095, 4096, 65_535, 65_536, 65_537, 3_000_000];
  const sent = lengths.flatMap((length): (string | Buffer)[] => {
    const message = randomBytes(length);
    return length <= 65_536 ? ["\0aé€😀".repeat(length).slice(0, length / 4), message] : [message];
  });
  for (const message of sent) socket.send(message as string);
  await eventually("all echoes", () => echoes.length === sent.length);
  const digest = (message: string | Buffer) => createHash("md5").update(message).digest("hex");
  assertEquals(echoes.map(digest), sent.map(digest));
  const ended = new Promise<CloseEvent>((resolve) => socket.onclose = resolve);
  socket.close(1000, "Upload completed");
  const { code, reason, wasClean } = await ended;
  assertEquals([code, reason, wasClean], [1000, "Upload completed", true]);
  assertEquals(await mounted.sessions[0].end(), { code: 1000, reason: "Upload completed" });
});

test("the fragments of Jetty and Tomcat are handed over while their message goes on", async () => {
  await using mounted = await mount();
  for (const fragmentBytes of [64, 4096, 8192]) {
    const { peer, session } = await mounted.connect();
    const bytes = randomBytes(200 * KiB);
    const frames = fragments(bytes, fragmentBytes);
    const half = frames.length / 2 | 0;
    await peer.send(...frames.slice(0, half));
    await eventually("the first half", () => session.takenBytes === half * fragmentBytes);
    assertEquals(session.messages.map(({ final }) => final), [false]);
    await peer.send({ opcode: OP.ping, payload: "between" }, ...frames.slice(half));
    const pong = await peer.read();
    assertEquals([pong?.opcode, pong?.payload.toString()], [OP.pong, "between"]);
    await eventually("the end", () => session.messages[0].final);
    assert(session.bytes.equals(bytes));
    peer[Symbol.dispose]();
  }
});

test("fragments that come at once are handed over as one piece, those around a ping apart", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const cont = (payload: string, fin = false) => ({ opcode: OP.cont, fin, payload });
  await peer.send(
    { opcode: OP.binary, fin: false, payload: "a" },
    ...[cont("bc"), cont("")],
    { opcode: OP.ping, payload: "p" },
    ...[cont("d"), cont("ef", true)],
    { opcode: OP.binary, payload: "g" },
  );
  await eventually("both messages", () => session.messages[1]?.final === true);
  const handedOver = session.messages.map(({ pieces }) =>
    pieces.map((piece) => Buffer.from(piece).toString())
  );
  assertEquals(handedOver, [["abc", "def"], ["g"]]);
});

test("an empty upload in any of its forms", async () => {
  await using mounted = await mount();
  const forms: RawFrame[][] = [
    [{ opcode: OP.binary, fin: false }, { opcode: OP.cont }],
    [{ opcode: OP.binary }],
    [],
  ];
  for (const frames of forms) {
    const { peer, session } = await mounted.connect();
    await peer.send(...frames, { opcode: OP.text, payload: "finish" });
    await eventually("the text", () => session.texts.length === 1);
    assertEquals(session.takenBytes, 0);
    assertEquals(session.messages.map(({ final }) => final), frames.length === 0 ? [] : [true]);
    peer[Symbol.dispose]();
  }
});

test("bytes that were handed over stay as they were, however many come after them", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const bytes = randomBytes(16 * MiB);
  for (const frame of fragments(bytes, 60_001)) await peer.send(frame);
  await eventually("all", () => session.messages[0].final);
  assert(session.bytes.equals(bytes));
  assert(session.messages[0].pieces.every((piece) => piece.constructor === Uint8Array));
});

// Backpressure

test("a session that is busy stops its peer: of 64 MiB in fragments only a bounded part is under way", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const totalBytes = 64 * MiB;
  let mostUnderWay = 0;
  // A sender that nobody stops is done long before the first 500 pieces are.
  session.take = () => {
    mostUnderWay = Math.max(mostUnderWay, peer.sentBytes - session.takenBytes);
    return session.takenBytes < 4 * MiB
      ? new Promise((resolve) => setTimeout(resolve, 1))
      : undefined;
  };
  const frames = fragments(new Uint8Array(totalBytes), 8192);
  while (frames.length > 0) await peer.send(...frames.splice(0, 8));
  await eventually("all", () => session.takenBytes === totalBytes);
  assertLess(mostUnderWay, buffersBytes);
});

test("what came together with the piece a session is busy with waits, too", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const gate = Promise.withResolvers<void>();
  session.take = () => gate.promise;
  await peer.send(
    { opcode: OP.binary, payload: "one" },
    { opcode: OP.text, payload: "two" },
    { opcode: OP.binary, payload: "three" },
  );
  await eventually("the first", () => session.takenBytes === 3);
  await peer.send({ opcode: OP.text, payload: "four" });
  // Another connection shows that time has passed.
  const other = await mounted.connect();
  await other.peer.send({ opcode: OP.text, payload: "meanwhile" });
  await eventually("the other", () => other.session.texts.length === 1);
  other.peer[Symbol.dispose]();
  assertEquals([session.takenBytes, session.texts], [3, []]);
  gate.resolve();
  await eventually("the rest", () => session.texts.length === 2);
  assertEquals([session.takenBytes, session.texts], [8, ["two", "four"]]);
});

test("one message of 64 MiB goes out in fragments, and no faster than it is read", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const byteCount = 64 * MiB + 5;
  let madeBytes = 0, readBytes = 0, mostUnderWay = 0;
  async function* source(): AsyncGenerator<Uint8Array> {
    for (; madeBytes < byteCount; await Promise.resolve()) {
      mostUnderWay = Math.max(mostUnderWay, madeBytes - readBytes);
      const bytes = new Uint8Array(Math.min(256 * KiB, byteCount - madeBytes)).fill(
        madeBytes >> 18,
      );
      madeBytes += bytes.length;
      yield bytes;
    }
  }
  const sent = session.connection.sendChunks(byteCount, source());
  const after = session.connection.send("after it");
  for (let index = 0, final = false; !final; index++) {
    const frame = await peer.read();
    assert(frame !== null && frame.rsv === 0 && !frame.masked);
    assertEquals(frame.opcode, index === 0 ? OP.binary : OP.cont);
    assert(frame.payload.length <= 64 * KiB);
    assert(frame.payload.equals(Buffer.alloc(frame.payload.length, readBytes >> 18)));
    readBytes += frame.payload.length;
    final = frame.fin;
    // A reader that takes its time at first.
    if (index < 100) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assertEquals(readBytes, byteCount);
  assertLess(mostUnderWay, buffersBytes);
  await Promise.all([sent, after]);
  assertEquals((await peer.read())?.payload.toString(), "after it");
});

test("a message of one piece or none is one frame", async () => {
  await using mounted = await mount();
  const { peer, session: { connection } } = await mounted.connect();
  using _peer = peer;
  await connection.sendChunks(0, pieces(0, 0));
  await connection.sendChunks(0, pieces(3, 0));
  await connection.sendChunks(5, pieces(1, 5));
  await connection.sendChunks(6, pieces(2, 3));
  const read: [number, boolean, number][] = [];
  while (read.length < 5) {
    const frame = await peer.read();
    assert(frame !== null);
    read.push([frame.opcode, frame.fin, frame.payload.length]);
  }
  assertEquals(read, [
    [OP.binary, true, 0],
    [OP.binary, true, 0],
    [OP.binary, true, 5],
    [OP.binary, false, 3],
    [OP.cont, true, 3],
  ]);
});

test("pings are answered while a message goes out; a peer that does not read piles up no answers", async () => {
  await using mounted = await mount();
  const { peer, session: { connection } } = await mounted.connect();
  using _peer = peer;
  const more = Promise.withResolvers<void>();
  async function* source(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(10);
    await more.promise;
    yield new Uint8Array(10);
  }
  const sent = connection.sendChunks(20, source());
  assertEquals((await peer.read())?.fin, false);
  await peer.send({ opcode: OP.ping, payload: "one" }, { opcode: OP.ping, payload: "two" });
  assertEquals((await peer.read())?.payload.toString(), "one");
  assertEquals((await peer.read())?.payload.toString(), "two");
  more.resolve();
  await sent;
  assertEquals((await peer.read())?.opcode, OP.cont);

  const ping: RawFrame = { opcode: OP.ping, payload: "x".repeat(125), mask: [0, 0, 0, 0] };
  await peer.write(Buffer.concat(Array(8000).fill(rawFrame(ping))));
  await peer.send({ opcode: OP.ping, payload: "the newest" });
  let pongs = 1;
  while ((await peer.read())?.payload.toString() !== "the newest") pongs++;
  assertLess(pongs, 200);
});

test("a message whose source fails is broken off: nothing but the end comes after it", async () => {
  const sources: [number, AsyncIterable<Uint8Array>, string][] = [
    [100, pieces(3, 30), "INTERNAL"],
    [100, pieces(4, 30), "INTERNAL"],
    [
      100,
      (async function* () {
        yield* pieces(1, 30);
        throw new StreamError("STORAGE_FAILED", "the disk is gone");
      })(),
      "STORAGE_FAILED",
    ],
  ];
  await using mounted = await mount();
  for (const [byteCount, source, code] of sources) {
    const { peer, session: { connection } } = await mounted.connect();
    const error = await assertRejects(() => connection.sendChunks(byteCount, source), StreamError);
    assertEquals(error.code, code);
    void connection.send("not within a message");
    connection.close(1011, code);
    for (let frame = await peer.read(); frame?.opcode !== OP.close; frame = await peer.read()) {
      assert(frame !== null && !frame.fin, code);
    }
    peer[Symbol.dispose]();
  }
});

test("sends that nobody waits for keep their order; a peer that leaves too many unread is dropped", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  const { connection } = session;
  const order: number[] = [];
  for (let index = 0; index < 100; index++) {
    void connection.send(new Uint8Array(index % 3 === 0 ? 100 * KiB : 10).fill(index));
    if (index % 10 === 0) void connection.sendChunks(20, pieces(2, 10));
  }
  while (order.length < 100) {
    const frame = await peer.read();
    if (frame?.fin && frame.opcode === OP.binary) order.push(frame.payload[0]);
  }
  assertEquals(order, [...order.keys()]);
  let sends = 0;
  const released: Promise<void>[] = [];
  for (; session.closings.length === 0 && sends < 1000; sends++) {
    released.push(connection.send(new Uint8Array(MiB)));
    await Promise.resolve();
    if (sends % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  assertEquals(await session.end(), { code: 1006, reason: "" });
  assertLess(sends * MiB, buffersBytes + 20 * MiB);
  await Promise.all(released);
  peer[Symbol.dispose]();
});

test("a send that waits is released when the connection goes, and later ones do nothing", async () => {
  await using mounted = await mount();
  for (const how of ["peer", "terminate", "close"]) {
    const { peer, session } = await mounted.connect();
    const { connection } = session;
    let made = 0;
    const sends = [
      connection.sendChunks(
        1000 * MiB,
        (async function* () {
          for (; made < 1000; made++) yield new Uint8Array(MiB);
        })(),
      ),
      connection.send("waits"),
    ];
    await eventually("some to leave", () => made > 2);
    if (how === "peer") peer.socket.destroy();
    else if (how === "terminate") connection.terminate();
    else {
      connection.close(1000, "enough");
      assertEquals(await expectClose(peer, 1000), "enough");
      peer.socket.destroy();
    }
    await Promise.all(sends);
    await session.end();
    await connection.send("too late");
    await connection.sendChunks(3, pieces(1, 3));
    connection.close(1000, "too late");
    connection.terminate();
    assertLess(made, 1000);
  }
});

// The end

test("a close of ours: code and reason after all that was sent, then both ends are done", async () => {
  await using mounted = await mount();
  const { peer, session } = await mounted.connect();
  void session.connection.send("last words");
  session.connection.close(1008, "€".repeat(50));
  session.connection.close(1000, "again");
  assertEquals((await peer.read())?.payload.toString(), "last words");
  assertEquals(await expectClose(peer, 1008), "€".repeat(41));
  await peer.send(
    { opcode: OP.text, payload: "crossed" },
    { opcode: OP.binary, payload: "crossed" },
    { opcode: OP.ping, payload: "crossed" },
    { opcode: OP.close, payload: closing(1000, "fine") },
  );
  assertEquals((await peer.readAll()).length, 0);
  assertEquals(await session.end(), { code: 1000, reason: "fine" });
  assertEquals([session.texts, session.takenBytes], [[], 0]);
});

test("a close of the peer is answered with its code; what follows is nothing", async () => {
  await using mounted = await mount();
  const rows: [Uint8Array, number, string][] = [
    [closing(1000, "Upload completed"), 1000, "Upload completed"],
    [closing(1011, "é€😀"), 1011, "é€😀"],
    [closing(4999), 4999, ""],
    [new Uint8Array(0), 1005, ""],
  ];
  for (const [payload, code, reason] of rows) {
    const { peer, session } = await mounted.connect();
    await peer.send({ opcode: OP.close, payload }, { opcode: OP.text, payload: "late" });
    const answer = await peer.read();
    assertEquals(answer?.opcode, OP.close);
    assertEquals(answer?.payload.subarray(0, 2), Buffer.from(payload.subarray(0, 2)));
    assertEquals(await peer.read(), null);
    assertEquals(await session.end(), { code, reason });
    assertEquals(session.texts, []);
  }
});

test("a peer that does not answer a close, or never hangs up, is dropped after a time", async () => {
  await using mounted = await mount({ closeWithinMs: 50 });
  const silent = await mounted.connect();
  silent.session.connection.close(1000, "");
  assertEquals(await silent.session.end(), { code: 1006, reason: "" });
  await expectClose(silent.peer, 1000);
  assertEquals(await silent.peer.read(), null);

  // It does not read at all, so that not even the close frame leaves.
  const stuck = await mounted.connect();
  void stuck.session.connection.sendChunks(100 * MiB, pieces(100, MiB));
  stuck.session.connection.close(1000, "");
  assertEquals((await stuck.session.end()).code, 1006);
  stuck.peer[Symbol.dispose]();

  for (const version of ["13", "8"]) {
    using lingering = new RawPeer(mounted.port);
    lingering.socket.allowHalfOpen = true;
    await lingering.write(upgradeRequest({ "Sec-WebSocket-Version": version }));
    const { status } = await lingering.readHead();
    if (status === 101) await lingering.send({ opcode: OP.close, payload: closing(1000) });
    await lingering.readAll();
    // A dropped connection shows when somebody writes to it.
    const dropped = new Promise((resolve) => lingering.socket.once("close", resolve));
    const knocking = setInterval(() => lingering.socket.write("knock"), 10);
    await dropped;
    clearInterval(knocking);
  }
});

test("a connection that ends without a close frame is 1006, once", async () => {
  await using mounted = await mount();
  const ends: ((peer: RawPeer) => void)[] = [
    ({ socket }) => socket.end(),
    ({ socket }) => socket.destroy(),
    ({ socket }) => socket.resetAndDestroy(),
  ];
  for (const end of ends) {
    const { peer, session } = await mounted.connect();
    await peer.send({ opcode: OP.binary, fin: false, payload: "some" });
    await eventually("some", () => session.takenBytes === 4);
    end(peer);
    assertEquals(await session.end(), { code: 1006, reason: "" });
  }
});

test("a peer that breaks the rules is told which and hung up on", async () => {
  await using mounted = await mount({ closeWithinMs: 50 });
  const rows: [RawFrame | Uint8Array, number][] = [
    [{ opcode: OP.text, payload: "x", rsv: 4 }, 1002],
    [{ opcode: OP.cont, payload: "x" }, 1002],
    [{ opcode: 3 }, 1002],
    [Uint8Array.of(0x81, 0x01, 0x41), 1002],
    [{ opcode: OP.text, payload: Uint8Array.of(0xc0, 0x80) }, 1007],
    [{ opcode: OP.text, payload: "x".repeat(64 * KiB + 1) }, 1009],
    [{ opcode: OP.close, payload: closing(1005) }, 1002],
  ];
  for (const [wrong, code] of rows) {
    const { peer, session } = await mounted.connect();
    await (wrong instanceof Uint8Array ? peer.write(wrong) : peer.send(wrong));
    await peer.send({ opcode: OP.text, payload: "more" });
    const reason = await expectClose(peer, code);
    assert(reason !== "");
    assertEquals(await session.end(), { code, reason });
    assertEquals(session.texts, []);
    assertEquals(await peer.read(), null);
  }
});

test("a session that throws costs its own connection only", async () => {
  await using mounted = await mount({ closeWithinMs: 50 });
  const { peer, session } = await mounted.connect();
  session.take = () => {
    throw new Error("a bug");
  };
  await peer.send({ opcode: OP.binary, payload: "x" });
  await expectClose(peer, 1011);
  assertEquals((await session.end()).code, 1011);
  const other = await mounted.connect();
  other.session.take = () => Promise.reject(new StreamError("STORAGE_FAILED", "the disk is full"));
  await other.peer.send({ opcode: OP.binary, payload: "x" });
  assertEquals(await expectClose(other.peer, 1011), "STORAGE_FAILED: the disk is full");
});

test("a listener that closes ends what is open and refuses what comes", async () => {
  const mounted = await mount();
  const { peer, session } = await mounted.connect();
  await mounted.listener.close();
  assertEquals(await session.end(), { code: 1006, reason: "" });
  await peer.readAll();
  await assertRejects(() => fetch(`http://127.0.0.1:${mounted.port}/`));

  const server = await serve(() => new Response(new ReadableStream({ pull: endless })));
  const reader = new RawPeer(server.port);
  await reader.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await reader.readHead();
  const idle = new RawPeer(server.port);
  await Promise.all([server[Symbol.asyncDispose](), reader.readAll(), idle.readAll()]);
});

test("a port that is taken rejects", async () => {
  await using mounted = await mount();
  const options = { hostname: "127.0.0.1", port: mounted.port, fetch: () => new Response() };
  await assertRejects(() => framesRuntime().listen(options));
});

test("options that are undefined are the default ones", async () => {
  await using server = await serve(() => new Response("here"), {
    tls: undefined,
    idleMs: undefined,
    headersWithinMs: undefined,
  });
  const answer = await fetch(server.url, { headers: { connection: "close" } });
  assertEquals(await answer.text(), "here");
});

// Silence

const quick = { pingEveryMs: 50, deadAfterMs: 500 };

test("a Step peer is pinged, lives while it answers, and is given up when it does not", async () => {
  await using mounted = await mount(quick);
  const lively = await mounted.connect();
  const silent = await mounted.connect();
  for (let pings = 0; pings < 10; pings++) {
    const frame = await lively.peer.read();
    assertEquals([frame?.opcode, frame?.payload.toString()], [OP.ping, "*"]);
    await lively.peer.send({ opcode: OP.pong, payload: "*" });
  }
  assertEquals(await silent.session.end(), { code: 1006, reason: "" });
  assertEquals(lively.session.closings, []);
  lively.peer[Symbol.dispose]();
});

test("a native peer has its own heartbeat: it is neither pinged nor given up", async () => {
  await using step = await mount(quick);
  await using native = await mount({ ...quick, subprotocol: "stream.v1" });
  const patient = await native.connect({ "Sec-WebSocket-Protocol": "stream.v1" });
  using _peer = patient.peer;
  const silent = await step.connect();
  await silent.session.end();
  void patient.session.connection.send("first");
  assertEquals((await patient.peer.read())?.payload.toString(), "first");
  assertEquals(patient.session.closings, []);
});

test("a peer that cannot be heard because its session is busy is not given up", async () => {
  await using mounted = await mount(quick);
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const gate = Promise.withResolvers<void>();
  session.take = () => gate.promise;
  await peer.send({ opcode: OP.binary, payload: "x" });
  await eventually("the data", () => session.takenBytes === 1);
  const silent = await mounted.connect();
  await silent.session.end();
  assertEquals(session.closings, []);
  gate.resolve();
  await session.end();
});

test("a peer that reads slowly is not given up while it reads", async () => {
  await using mounted = await mount(quick);
  const { peer, session } = await mounted.connect();
  using _peer = peer;
  const sent = session.connection.sendChunks(4096 * MiB, pieces(4096, MiB));
  const enoughMs = performance.now() + 3 * quick.deadAfterMs;
  while (performance.now() < enoughMs) {
    assert(await peer.read() !== null);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  peer.socket.destroy();
  await sent;
});

// Ordinary requests

test("requests and responses go through as they are", async () => {
  await using server = await serve(async (request) => {
    const { pathname, search } = new URL(request.url);
    if (pathname === "/nothing") return new Response(null, { status: 204 });
    const headers = new Headers([["x-a", "1"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
    const body = `${request.method} ${search} ${request.headers.get("x-b")} ${await request
      .text()}`;
    return new Response(body, { headers });
  });
  const response = await fetch(`${server.url}/p?q=1`, {
    method: "POST",
    headers: { "x-b": "é" },
    body: "hello",
  });
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("x-a"), "1");
  assertEquals(response.headers.getSetCookie(), ["a=1", "b=2"]);
  assertEquals(await response.text(), "POST ?q=1 é hello");
  const nothing = await fetch(`${server.url}/nothing`, { method: "DELETE" });
  assertEquals([nothing.status, await nothing.text()], [204, ""]);
  assertEquals(nothing.headers.get("content-length"), null);
  const head = await fetch(server.url, { method: "HEAD" });
  assertEquals([head.status, head.headers.get("x-a"), await head.text()], [200, "1", ""]);
});

test("bodies stream in both directions, no faster than they are taken", async () => {
  let takenBytes = 0;
  await using server = await serve((request) => {
    const slow = new TransformStream<Uint8Array, Uint8Array>({
      async transform(chunk, controller) {
        takenBytes += chunk.length;
        if (takenBytes < 8 * MiB) await new Promise((resolve) => setTimeout(resolve, 1));
        controller.enqueue(chunk);
      },
    });
    return new Response(request.body!.pipeThrough(slow));
  });
  using peer = new RawPeer(server.port);
  const byteCount = 32 * MiB;
  await peer.write(
    `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${byteCount}\r\nConnection: close\r\n\r\n`,
  );
  const headBytes = peer.sentBytes;
  let mostUnderWay = 0;
  const sending = (async () => {
    while (peer.sentBytes < headBytes + byteCount) {
      await peer.write(new Uint8Array(64 * KiB));
      mostUnderWay = Math.max(mostUnderWay, peer.sentBytes - takenBytes);
    }
  })();
  assertEquals((await peer.readHead()).status, 200);
  assertLess(byteCount, (await peer.readAll()).length);
  await sending;
  assertLess(mostUnderWay, buffersBytes);
});

const pipelined = (count: number, path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(count);

test("answers to requests that came at once are made as fast as they are taken", async () => {
  let made = 0;
  await using server = await serve((request) => {
    if (request.url.endsWith("/other")) return new Response("");
    const bytes = new Uint8Array(MiB).fill(++made);
    return new Response(bytes, { headers: { "content-length": `${MiB}` } });
  });
  using peer = new RawPeer(server.port);
  const count = 60;
  await peer.write(pipelined(count - 1, "/"));
  await peer.write(pipelined(1, "/").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
  await peer.readHead();
  // As many turns as all of them would have taken.
  for (let index = 0; index < 2 * count; index++) await (await fetch(`${server.url}/other`)).text();
  assertLess(made * MiB, buffersBytes);
  const rest = await peer.readAll();
  assertEquals([made, rest.lastIndexOf(count)], [count, rest.length - 1]);
  assertLess(count * MiB, rest.length);
});

test("a peer that has too many requests wait for their answers is dropped", async () => {
  const first = Promise.withResolvers<Response>();
  await using server = await serve((request) =>
    request.url.endsWith("/first") ? first.promise : new Response("next")
  );
  using patient = new RawPeer(server.port);
  await patient.write(pipelined(1, "/first") + pipelined(100, "/next"));
  using greedy = new RawPeer(server.port);
  await greedy.write(pipelined(1, "/first") + pipelined(101, "/next"));
  assertEquals(await greedy.readAll(), Buffer.alloc(0));
  first.resolve(new Response("first"));
  for (let answers = 0; answers < 101; answers++) {
    assertEquals((await patient.readHead()).status, 200);
  }
});

test("a client that leaves aborts its request and cancels the response", async () => {
  const aborted = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  await using server = await serve((request) => {
    request.signal.addEventListener("abort", () => aborted.resolve());
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(new Uint8Array(10)),
        cancel: () => cancelled.resolve(),
      }),
    );
  });
  using peer = new RawPeer(server.port);
  await peer.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await peer.readHead();
  peer.socket.destroy();
  await Promise.all([aborted.promise, cancelled.promise]);
});

test("a response that fails half way breaks the connection: nobody takes it for complete", async () => {
  for (const status of [200, 500]) {
    await using server = await serve(() => {
      const body = new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(1000));
          controller.error(new Error("a bug"));
        },
      });
      return new Response(body, { status });
    });
    await assertRejects(async () => await (await fetch(server.url)).arrayBuffer());
  }
});

// All together

test("a Step upload in Jetty's fragments is followed live, and comes back as one message", async () => {
  const server = createServer({
    runtime: framesRuntime(),
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
    checkpointIntervalMs: 5,
  });
  const { port } = await server.listen({ port: 0 });
  using pusher = await RawPeer.open(port, {}, "/ws/streaming/upload");
  const say = (peer: RawPeer, message: unknown) =>
    peer.send({ opcode: OP.text, payload: JSON.stringify(message) });
  const hear = async (peer: RawPeer) => JSON.parse(String((await peer.read())?.payload));
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  await say(pusher, { "@": "StartUpload", metadata });
  const { reference } = await hear(pusher);
  using follower = await RawPeer.open(port, {}, new URL(reference.uri).pathname);
  assertEquals((await hear(follower)).resourceStatus.transferStatus, "INITIATED");

  const bytes = randomBytes(300_000);
  const frames = fragments(bytes, 4096);
  await pusher.send(...frames.slice(0, 20));
  let status = await hear(follower);
  assertEquals(status.resourceStatus.transferStatus, "IN_PROGRESS");
  await pusher.send(...frames.slice(20));
  const checksum = createHash("md5").update(bytes).digest("hex");
  await say(pusher, { "@": "FinishUpload", checksum });
  assertEquals((await hear(pusher)).size, bytes.length);
  await pusher.send({ opcode: OP.close, payload: closing(1000, "Upload completed") });

  while (status.resourceStatus.transferStatus !== "COMPLETED") status = await hear(follower);
  await say(follower, { "@": "RequestChunk", startOffset: 0, endOffset: bytes.length });
  const received: Buffer[] = [];
  for (let final = false; !final;) {
    const frame = await follower.read();
    assert(frame !== null);
    received.push(frame.payload);
    final = frame.fin;
  }
  assert(Buffer.concat(received).equals(bytes));
  follower[Symbol.dispose]();
  await server.close();
});
