/**
 * Everything a stranger can do to a server at once, in a process of its own: `attack.ts JOB`. Says `ready` when all
 * of it goes on, and in JSON what it did when a line comes in.
 */
import { connect, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { LIMITS, SUBPROTOCOL } from "../../../src/protocol.ts";
import { OP, rawFrame, upgradeRequest } from "../../../tests/helpers/frames/frames.ts";

/** Target of an attack, and its size. */
export interface AttackJob {
  port: number;
  /** A finished text of many lines. */
  text: string;
  /** A resource that is being written. */
  live: string;
  /** Bytes of the text. */
  textBytes: number;
  /** Connections that say nothing, half a request, or one and then nothing. */
  idle: number;
  /** Connections that ask for much, and take nothing. */
  stalled: number;
  /** Kinds of those. */
  readers: readonly Reader[];
  /** Connections of each kind of flood. */
  flood: number;
  /** Kinds of floods. */
  floods: readonly Flood[];
}

/** Kinds of readers that take nothing. */
export type Reader =
  | "content"
  | "live"
  | "lines"
  | "matches"
  | "events"
  | "Follow"
  | "RequestChunk"
  | "RequestLines";

/** Kinds of floods. */
export type Flood = "pings" | "ranges" | "searches" | "lists";

/** What an attack did. */
export interface Attacked {
  /** Connections that were tried, and that the server ended, or refused. */
  opened: number;
  ended: number;
  /** Answers of the floods, by kind and status. */
  answers: Record<string, number>;
}

/** Another address than that of the uploads beside it. */
const FROM = "127.0.0.2";
const OPENED_AT_ONCE = 100;
const OPEN_AGAIN_MS = 2000;
const RANGE_BYTES = 64 * 1024;
const PINGS = 64;
/** Where the status ends in the first line of an answer. */
const STATUS_END = 12;
const MASK = [0x37, 0xfa, 0x21, 0x3d];

const job: AttackJob = JSON.parse(process.argv[2]);
const attacked: Attacked = { opened: 0, ended: 0, answers: {} };

/** Opens a connection that says one thing, and opens it again when the server ends it. */
function hold(says: string, then: (socket: Socket) => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const open = () => {
    attacked.opened++;
    const socket = connect({ port: job.port, host: "127.0.0.1", localAddress: FROM });
    socket.on("error", () => {});
    socket.once("connect", () => {
      if (says !== "") socket.write(says);
      then(socket);
      resolve();
    });
    socket.once("close", () => {
      attacked.ended++;
      resolve();
      setTimeout(open, OPEN_AGAIN_MS);
    });
  };
  open();
  return promise;
}

const get = (path: string, headers = "") =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n`;

/** Connections that wait, each in its way. */
const IDLE = ["", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", get("/healthz")];

async function holdIdle(): Promise<void> {
  for (let count = 0; count < job.idle;) {
    const batch = Math.min(OPENED_AT_ONCE, job.idle - count);
    await Promise.all(
      Array.from(
        { length: batch },
        () => hold(IDLE[count++ % IDLE.length], (socket) => socket.resume()),
      ),
    );
  }
}

/** What is asked for, and not taken. */
function stalledReaders(): Record<Reader, (socket: Socket) => void> {
  const http = (path: string) => (socket: Socket) => void socket.pause().write(get(path));
  const webSocket = (id: string, subprotocol: string, asks: object) => (socket: Socket) => {
    const headers: Record<string, string> = {};
    if (subprotocol !== "") headers["Sec-WebSocket-Protocol"] = subprotocol;
    socket.pause().write(upgradeRequest(headers, `/ws/streaming/download/${id}`));
    socket.write(rawFrame({ opcode: OP.text, payload: JSON.stringify(asks), mask: MASK }));
  };
  const { text, live } = job;
  const endOffset = Math.min(job.textBytes, LIMITS.wholeChunkBytes);
  return {
    content: http(`/resources/${text}/content`),
    live: http(`/resources/${live}/content`),
    lines: http(`/resources/${text}/lines?count=10000`),
    matches: http(`/resources/${text}/search?q=e&limit=10000`),
    events: http("/events"),
    Follow: webSocket(text, SUBPROTOCOL, {
      "@": "Follow",
      ...{ from: 0, window: LIMITS.downloadWindowBytes },
    }),
    RequestChunk: webSocket(text, "", { "@": "RequestChunk", startOffset: 0, endOffset }),
    RequestLines: webSocket(text, "", {
      "@": "RequestLines",
      ...{ startingLineIndex: 0, linesCount: 100_000 },
    }),
  };
}

async function holdStalled(): Promise<void> {
  const readers = stalledReaders();
  for (let count = 0; count < job.stalled; count++) {
    await hold("", readers[job.readers[count % job.readers.length]]);
  }
}

/** Asks again as soon as there is an answer. */
async function floodRequests(
  kind: string,
  path: () => string,
  headers: () => string = () => "",
): Promise<void> {
  for (;;) {
    const status = await ask(get(path(), headers()));
    const name = `${kind} ${status}`;
    attacked.answers[name] = (attacked.answers[name] ?? 0) + 1;
    // Who is refused at once would do nothing else than connect.
    if (status !== 200 && status !== 206) await sleep(100);
  }
}

/** The status of a request's answer, when all of that was taken; 0 without one. */
async function ask(request: string): Promise<number> {
  const socket = connect({ port: job.port, host: "127.0.0.1", localAddress: FROM });
  socket.on("error", () => {});
  let head = "";
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on("data", (chunk: Uint8Array) => {
    if (head.length < STATUS_END) head += String.fromCharCode(...chunk.subarray(0, STATUS_END));
  });
  socket.once("close", () => resolve());
  socket.write(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
  await promise;
  return Number(head.slice(STATUS_END - 3, STATUS_END));
}

/** Sends pings of both kinds as fast as they are taken. */
async function floodPings(): Promise<void> {
  const ping = rawFrame({ opcode: OP.ping, payload: "x".repeat(100), mask: MASK });
  const message = rawFrame({ opcode: OP.text, payload: '{"@":"Ping","id":1}', mask: MASK });
  const burst = new Uint8Array((ping.length + message.length) * PINGS);
  for (let at = 0; at < burst.length; at += ping.length + message.length) {
    burst.set(ping, at);
    burst.set(message, at + ping.length);
  }
  await hold(
    upgradeRequest({ "Sec-WebSocket-Protocol": SUBPROTOCOL }, `/ws/streaming/download/${job.live}`),
    (socket) => {
      let sending = false;
      const send = () => {
        if (sending || socket.destroyed) return;
        sending = true;
        socket.write(burst, () => {
          sending = false;
          attacked.answers.pings = (attacked.answers.pings ?? 0) + 2 * PINGS;
          setImmediate(send);
        });
      };
      socket.on("data", () => send());
    },
  );
}

function range(): string {
  const first = Math.floor(Math.random() * (job.textBytes - RANGE_BYTES));
  return `Range: bytes=${first}-${first + RANGE_BYTES - 1}\r\n`;
}

const { text } = job;
await holdIdle();
await holdStalled();
const floods: Record<Flood, (index: number) => Promise<void>> = {
  pings: floodPings,
  ranges: () => floodRequests("range", () => `/resources/${text}/content`, range),
  searches: () =>
    floodRequests("search", () => `/resources/${text}/search?q=z.*q[xyz]{2,}&regex=true`),
  lists: (index) =>
    floodRequests("list", () => `/resources?limit=1000&name=${index}&status=FAILED`),
};
for (let count = 0; count < job.flood; count++) {
  for (const kind of job.floods) {
    const begun = floods[kind](count);
    // Those end when they are connected, all others never.
    if (kind === "pings") await begun;
  }
}
console.log("ready");
for await (const _ of createInterface(process.stdin)) break;
console.log(JSON.stringify(attacked));
process.exit(0);
