/**
 * A yardstick: what the WebSockets of a runtime carry, without storage, checkpoints, digests or a catalog.
 *
 * It passes each message on to the followers of its upload, and speaks just enough of the native protocol that the
 * same clients can be used. A follower's window bounds what the uploader may send, so memory stays bounded.
 * `download/source` is an endless source: what a finished download through a WebSocket could be at best.
 */
import type { Message, MessageOf } from "../../src/protocol.ts";

/** What may be on its way to the slowest follower. */
const WINDOW_BYTES = 4 * 1024 * 1024;
const MESSAGE_BYTES = 64 * 1024;
const SUBPROTOCOL = "stream.v1";
const DOWNLOAD_PATH = "/ws/streaming/download/";

/** What both runtimes' sockets can do. */
interface Peer {
  send(data: string | Uint8Array): unknown;
}

interface Handler {
  message(data: string | Uint8Array): void;
  closed(): void;
}

interface Following {
  peer: Peer;
  consumed: number;
}

interface Relayed {
  followers: Set<Following>;
  size: number;
  granted: number;
  uploader: Peer;
}

const relayed = new Map<string, Relayed>();
const block = new Uint8Array(MESSAGE_BYTES).fill(7);

function say(peer: Peer, message: Message): void {
  peer.send(JSON.stringify(message));
}

function sayStatus(peer: Peer, transferStatus: "IN_PROGRESS" | "COMPLETED", size: number): void {
  const status = { transferStatus, currentSize: size, numberOfLines: null, durableSize: 0 };
  const resourceStatus = { ...status, epoch: 1, sequence: size, failure: null };
  say(peer, { "@": "StatusChanged", resourceStatus });
}

/** Lets the uploader send what the slowest follower has room for. */
function grant(upload: Relayed): void {
  // Nothing is kept: who sends to nobody waits.
  if (upload.followers.size === 0) return;
  let consumed = upload.size;
  for (const follower of upload.followers) consumed = Math.min(consumed, follower.consumed);
  const limit = consumed + WINDOW_BYTES;
  if (limit - upload.granted < WINDOW_BYTES / 4) return;
  upload.granted = limit;
  say(upload.uploader, { "@": "Credit", limit, acknowledged: consumed });
}

function uploadHandler(peer: Peer, host: string): Handler {
  const id = crypto.randomUUID();
  const upload = {
    followers: new Set<Following>(),
    size: 0,
    granted: 0,
    uploader: peer,
  };
  relayed.set(id, upload);
  const finish = ({ checksum }: MessageOf<"FinishUpload">) => {
    for (const { peer } of upload.followers) {
      sayStatus(peer, "COMPLETED", upload.size);
      say(peer, { "@": "FollowEnd", offset: upload.size });
    }
    const size = upload.size;
    say(peer, { "@": "UploadAcknowledged", size, numberOflines: null, checksum, digest: "xxh128" });
  };
  const ready = () => {
    const reference = { uri: `ws://${host}${DOWNLOAD_PATH}${id}` };
    const start = { reference, id, secret: id, epoch: 1, offset: 0, limit: 0 };
    say(peer, { "@": "ReadyForUpload", ...start, digest: "xxh128" });
  };
  const message = (data: string | Uint8Array) => {
    if (typeof data !== "string") {
      upload.size += data.length;
      for (const follower of upload.followers) follower.peer.send(data);
      return grant(upload);
    }
    const message: Message = JSON.parse(data);
    if (message["@"] === "StartUpload") ready();
    else if (message["@"] === "FinishUpload") finish(message);
  };
  return { message, closed: () => relayed.delete(id) };
}

function followHandler(peer: Peer, upload: Relayed): Handler {
  const follower = { peer, consumed: 0 };
  sayStatus(peer, "IN_PROGRESS", upload.size);
  const message = (data: string | Uint8Array) => {
    const message: Message = JSON.parse(String(data));
    if (message["@"] === "Follow") {
      follower.consumed = upload.size;
      upload.followers.add(follower);
      grant(upload);
    } else if (message["@"] === "Consumed") {
      follower.consumed = message.offset;
      grant(upload);
    }
  };
  return { message, closed: () => upload.followers.delete(follower) };
}

function sourceHandler(peer: Peer): Handler {
  let sent = 0, to = 0;
  const fill = (consumed: number) => {
    const isOver = sent === to;
    for (; sent < Math.min(to, consumed + WINDOW_BYTES); sent += block.length) {
      peer.send(block.subarray(0, to - sent));
    }
    sent = Math.min(sent, to);
    if (sent === to && !isOver) say(peer, { "@": "FollowEnd", offset: to });
  };
  sayStatus(peer, "COMPLETED", Number.MAX_SAFE_INTEGER);
  const message = (data: string | Uint8Array) => {
    const message: Message = JSON.parse(String(data));
    if (message["@"] === "Follow") to = message.to!;
    fill(message["@"] === "Consumed" ? message.offset : 0);
  };
  return { message, closed: () => {} };
}

function handlerFor(peer: Peer, url: string): Handler {
  const { pathname, host } = new URL(url);
  if (!pathname.startsWith(DOWNLOAD_PATH)) return pinged(peer, uploadHandler(peer, host));
  const id = pathname.slice(DOWNLOAD_PATH.length);
  return id === "source" ? sourceHandler(peer) : followHandler(peer, relayed.get(id)!);
}

/** Answers pings: the library makes sure that WebSockets pass before it uses one. */
function pinged(peer: Peer, handler: Handler): Handler {
  const message = (data: string | Uint8Array) => {
    const said: Message | null = typeof data === "string" ? JSON.parse(data) : null;
    if (said?.["@"] === "Ping") say(peer, { "@": "Pong", id: said.id });
    else handler.message(data);
  };
  return { ...handler, message };
}

function serveDeno(): void {
  const onListen = ({ port }: { port: number }) => announce(port);
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: SUBPROTOCOL });
    socket.binaryType = "arraybuffer";
    let handler: Handler | undefined;
    socket.onopen = () => handler = handlerFor(socket as unknown as Peer, request.url);
    socket.onmessage = ({ data }) =>
      handler?.message(typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = () => handler?.closed();
    return response;
  });
}

/** Of Bun's API what is used here. */
interface BunSocket extends Peer {
  data: { url: string; handler?: Handler };
}
interface BunGlobal {
  serve(options: unknown): { port: number };
}

function serveBun(bun: BunGlobal): void {
  const server = bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request: Request, server: { upgrade(request: Request, options: unknown): boolean }) {
      const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
      server.upgrade(request, { data: { url: request.url }, headers });
    },
    websocket: {
      // What is in flight is bounded by the windows.
      backpressureLimit: 64 * 1024 * 1024,
      open: (socket: BunSocket) => socket.data.handler = handlerFor(socket, socket.data.url),
      message: (socket: BunSocket, data: string | Uint8Array) => socket.data.handler!.message(data),
      close: (socket: BunSocket) => socket.data.handler!.closed(),
    },
  });
  announce(server.port);
}

function announce(port: number): void {
  console.log(`listening on http://127.0.0.1:${port}`);
}

const { Bun } = globalThis as unknown as { Bun?: BunGlobal };
if (Bun === undefined) serveDeno();
else serveBun(Bun);
