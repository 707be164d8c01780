/**
 * Serving WebSocket at frame level over `node:http`, on Deno and on Bun: messages are handed over as they
 * arrive and sent in fragments, so that they can be of any length, and peers that send too fast are slowed down.
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { StreamError } from "../protocol.ts";
import type { Listener, ListenOptions, Runtime, Upgrade } from "../runtime.ts";
import { CONNECTION_TIMES, type ConnectionTimes } from "./frames/connection.ts";
import { Handshake } from "./frames/handshake.ts";
import { answerTo, writeResponse } from "./frames/http.ts";

export type { ConnectionTimes } from "./frames/connection.ts";

/** Settings of {@link framesRuntime}. */
export interface FramesOptions extends Partial<ConnectionTimes> {
  /** The head of a request must be there within this time; 60 s by default. */
  headersWithinMs?: number;
  /** TCP connections at the same time; 12 000 by default. */
  maxSockets?: number;
}

type Fetch = ListenOptions["fetch"];

const DEFAULTS: Required<FramesOptions> = {
  ...CONNECTION_TIMES,
  headersWithinMs: 60_000,
  // Fewer than the system allows: a listener of Deno never accepts again once descriptors ran out.
  maxSockets: 12_000,
};
/** How often connections are looked at for {@link FramesOptions.headersWithinMs}. */
const CHECKS_PER_LIMIT = 4;

/**
 * The adapter that sees frames, for either runtime.
 *
 * @param options Times; the defaults suit a server that Java clients talk to.
 * @returns The adapter.
 *
 * @example
 * ```ts
 * import { createServer, framesRuntime, MemoryCatalog, MemoryStorage } from "@stream/live";
 *
 * const server = createServer({
 *   runtime: framesRuntime(),
 *   storage: new MemoryStorage(),
 *   catalog: new MemoryCatalog(),
 * });
 * const { port } = await server.listen({ port: 0 });
 * console.log(`http://127.0.0.1:${port}`);
 * await server.close();
 * ```
 */
export function framesRuntime(options: FramesOptions = {}): Runtime {
  const settings = { ...DEFAULTS, ...options };
  return { listen: (where) => listen(where, settings), upgrade, remoteAddress };
}

async function listen(
  { fetch, hostname, port }: ListenOptions,
  settings: Required<FramesOptions>,
): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server = createServer({
    // A live upload is one request, however long it takes.
    requestTimeout: 0,
    headersTimeout: settings.headersWithinMs,
    connectionsCheckingInterval: settings.headersWithinMs / CHECKS_PER_LIMIT,
  });
  server.maxConnections = settings.maxSockets;
  server.on("request", (message, out) => void serve(message, out, fetch));
  server.on("upgrade", (message, socket: Socket, head) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // That says the same as an error.
    socket.on("error", () => {});
    void shakeHands(message, new Handshake(socket, head, settings), fetch);
  });
  await new Promise<void>((resolve, reject) => {
    // Later ones, where the system has no socket left, end nothing.
    server.on("error", reject);
    server.listen(port, hostname, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => close(server, sockets),
  };
}

async function serve(message: IncomingMessage, out: ServerResponse, fetch: Fetch): Promise<void> {
  const left = new AbortController();
  out.once("close", () => left.abort());
  const response = await answerTo(
    message,
    (request) => fetch(request, message.socket),
    left.signal,
  );
  await writeResponse(response, out);
}

async function shakeHands(
  message: IncomingMessage,
  handshake: Handshake,
  fetch: Fetch,
): Promise<void> {
  const response = await answerTo(message, (request) => fetch(request, handshake));
  if (!handshake.accepted) await handshake.refuse(message, response);
}

/** Upgraded sockets are none of the server's any more: it would wait for them, and not end them. */
async function close(server: Server, sockets: Iterable<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  for (const socket of sockets) socket.destroy();
  await closed;
}

function upgrade(request: Request, env: unknown, upgrade: Upgrade): Response {
  if (env instanceof Handshake) return env.accept(request, upgrade);
  throw new StreamError("BAD_REQUEST", "this is no WebSocket upgrade request");
}

function remoteAddress(_request: Request, env: unknown): string | null {
  return (env as { remoteAddress?: string } | null)?.remoteAddress ?? null;
}
