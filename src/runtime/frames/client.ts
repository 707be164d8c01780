/**
 * WebSocket at frame level from the client's end, over `node:net` and `node:tls`.
 * @module
 */
import { randomBytes } from "node:crypto";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { StreamError } from "../../protocol.ts";
import type { Connection, Session } from "../../runtime.ts";
import { CONNECTION_TIMES, type ConnectionTimes, FrameConnection } from "./connection.ts";
import { acceptOf } from "./handshake.ts";

/** A connection on which a message can be sent while it is made. */
export interface FramesConnection extends Connection {
  /**
   * Sends a part of one binary message at once; nothing else may be sent before its end.
   * @param bytes The part.
   * @param final Whether the message ends with it.
   * @returns When there is room for the next part, and the memory of this one may be used for something else.
   */
  sendPart(bytes: Uint8Array, final: boolean): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 20_000;
const MAX_HEAD_BYTES = 16 * 1024;
const END_OF_HEAD = "\r\n\r\n";

/**
 * Connects without a subprotocol, as Java clients do: the `stepTransport` of a push to a Step server.
 *
 * @param url Address of the endpoint, `ws:` or `wss:`.
 * @param session What the connection drives.
 * @param times Times of the connection.
 * @returns The connection; a silent server is pinged, and given up in the end.
 * @throws {StreamError} UNREACHABLE.
 *
 * @example
 * ```ts
 * import { connectFrames, push } from "@stream/live";
 *
 * async function pushToJava(server: string, bytes: ReadableStream<Uint8Array>) {
 *   const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
 *   const upload = await push(server, metadata, { stepTransport: connectFrames });
 *   await bytes.pipeTo(upload.writable);
 *   return await upload.done;
 * }
 * ```
 */
export async function connectFrames(
  url: string,
  session: Session,
  times: Partial<ConnectionTimes> = {},
): Promise<FramesConnection> {
  const target = new URL(url);
  const key = randomBytes(16).toString("base64");
  const socket = dial(target);
  try {
    const { head, rest } = await readHead(socket, upgradeRequest(target, key));
    checkHead(head, key);
    const connection = new FrameConnection(socket, {
      role: "client",
      subprotocol: "",
      client: null,
      keepAlive: true,
      times: { ...CONNECTION_TIMES, ...times },
    });
    connection.start(session, rest);
    return connection;
  } catch (error) {
    socket.destroy();
    const reason = (error as Error).message;
    const message = `no WebSocket connection to ${target.host}: ${reason}`;
    throw new StreamError("UNREACHABLE", message, { cause: error });
  }
}

function dial({ protocol, hostname, port }: URL): Socket {
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  if (protocol !== "wss:") return connectTcp({ host, port: Number(port || 80) });
  const servername = isIP(host) === 0 ? host : undefined;
  return connectTls({ host, port: Number(port || 443), servername });
}

function upgradeRequest({ host, pathname, search }: URL, key: string): string {
  return `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\n` +
    `Connection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13${END_OF_HEAD}`;
}

/** Sends the request and waits for the head of its answer, and for what comes right behind that. */
function readHead(
  socket: Socket,
  request: string,
): Promise<{ head: string; rest: Uint8Array }> {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (chunk: Uint8Array) => {
      text += new TextDecoder("latin1").decode(chunk);
      const end = text.indexOf(END_OF_HEAD);
      if (end === -1 && text.length > MAX_HEAD_BYTES) {
        return fail(new Error("the answer is no HTTP"));
      }
      if (end === -1) return;
      clearTimeout(timer);
      // A socket that flows while nobody listens loses what comes: it rests until the connection has begun.
      socket.pause().off("data", take);
      const restBytes = text.length - end - END_OF_HEAD.length;
      const rest = new Uint8Array(chunk.subarray(chunk.length - restBytes));
      resolve({ head: text.slice(0, end), rest });
    };
    const fail = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error("no answer in time")), CONNECT_TIMEOUT_MS);
    socket.on("data", take);
    // After the handshake this says the same as the close that follows it.
    socket.on("error", fail);
    socket.once("close", () => fail(new Error("it was closed")));
    socket.write(request);
  });
}

function checkHead(head: string, key: string): void {
  const [statusLine, ...lines] = head.split("\r\n");
  const [, status] = statusLine.split(" ");
  if (status !== "101") throw new Error(`the answer was ${statusLine}`);
  const headers = new Headers(lines.map((line) => line.split(/:\s*/, 2) as [string, string]));
  if (headers.get("sec-websocket-accept") !== acceptOf(key)) {
    throw new Error("the answer does not belong to the request");
  }
}
