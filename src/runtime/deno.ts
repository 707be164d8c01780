/**
 * Serving on Deno: `Deno.serve` and `Deno.upgradeWebSocket`.
 * @module
 */
import { giveBack } from "../byte_queue.ts";
import { StreamError } from "../protocol.ts";
import type { Listener, ListenOptions, Runtime, Session, Upgrade } from "../runtime.ts";
import { framesRuntime } from "./frames.ts";
import { Handshake } from "./frames/handshake.ts";
import { WholeMessageConnection } from "./whole.ts";

/** How often a full socket is looked at; Deno tells nobody when it has room again. */
const POLL_MS = 2;
/** Deno stops listening when it has no file descriptor for a connection; after so long it begins anew. */
const LISTEN_AGAIN_MS = 100;
/** Silence after which a peer without a heartbeat is given up, in s. */
const IDLE_TIMEOUT_S = 60;
/** RFC 6455, 7.1.5: no close frame came. */
const ABNORMAL_CLOSURE = 1006;

/**
 * The adapter for Deno: it listens by frames, and upgrades what apps that embed the routes got from `Deno.serve`.
 */
export function denoRuntime(): Runtime {
  const frames = framesRuntime();
  return {
    listen: frames.listen,
    upgrade: (request, env, options) =>
      (env instanceof Handshake ? frames.upgrade : upgrade)(request, env, options),
    remoteAddress: (request, env) =>
      frames.remoteAddress(request, env) ?? remoteAddress(request, env),
    allowSilence: frames.allowSilence,
    informer: frames.informer,
  };
}

/**
 * The adapter for Deno that listens by `Deno.serve`: faster, for networks where everybody is trusted.
 * Its connections have no deadlines, and what a peer sends as one fragmented message is kept until that ends.
 */
export function denoServeRuntime(): Runtime {
  return { listen, upgrade, remoteAddress };
}

// deno-lint-ignore require-await -- a port that is taken must reject, not throw
async function listen({ hostname, port, fetch }: ListenOptions): Promise<Listener> {
  const stop = new AbortController();
  const serve = (port: number) => {
    const { signal } = stop;
    const options = { hostname, port, signal, onListen() {}, onError };
    const server = Deno.serve(options, async (request, info) => {
      const response = await fetch(request, info);
      return request.method === "HEAD" ? withoutLength(response) : response;
    });
    server.finished.catch(() => again(server.addr.port));
    return server;
  };
  const again = (port: number) => {
    setTimeout(() => {
      if (stop.signal.aborted) return;
      try {
        server = serve(port);
      } catch {
        again(port);
      }
    }, LISTEN_AGAIN_MS);
  };
  let server = serve(port);
  // `Deno.serve` takes connections, or ends those that are upgraded, too.
  const refuse = () => {};
  const close = async () => {
    stop.abort();
    await server.finished.catch(() => {});
  };
  return { port: server.addr.port, refuse, close };
}

/** Where a HEAD says that the length is open, Deno would tell that of an empty body, unless it is a stream. */
function withoutLength(response: Response): Response {
  if (!response.headers.has("transfer-encoding")) return response;
  return new Response(ReadableStream.from([]), response);
}

/** Hears of responses that break off, and answers nobody then; without it Deno prints each as a fault. */
function onError(): Response {
  return new Response("the server failed\n", { status: 500 });
}

function upgrade(request: Request, _env: unknown, { subprotocol, open }: Upgrade): Response {
  // Native sessions have a heartbeat of their own; for others the runtime pings and gives up.
  const { socket, response } = accept(request, {
    idleTimeout: subprotocol === "" ? IDLE_TIMEOUT_S : 0,
  });
  // Not by the option `protocol`: it finds only names that a comma and a blank separate.
  if (subprotocol !== "") response.headers.set("Sec-WebSocket-Protocol", subprotocol);
  socket.binaryType = "arraybuffer";
  let session: Session | null = null;
  const closed = (code: number, reason: string) => {
    session?.closed(code, reason);
    session = null;
  };
  socket.onopen = () => {
    session = open(new DenoConnection(socket, subprotocol, closed));
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") return session?.text(data);
    const bytes = new Uint8Array(data);
    void session?.data(bytes, true);
    giveBack(bytes);
  };
  socket.onclose = ({ code, reason }) => closed(code, reason);
  socket.onerror = () => closed(ABNORMAL_CLOSURE, "");
  return response;
}

/** An app that embeds the routes may hand nothing over. */
function remoteAddress(_request: Request, env: unknown): string | null {
  return (env as { remoteAddr?: { hostname?: string } } | null)?.remoteAddr?.hostname ?? null;
}

/** @throws {StreamError} BAD_REQUEST for a request that is no upgrade, or none that Deno understands. */
function accept(request: Request, options: Deno.UpgradeWebSocketOptions): Deno.WebSocketUpgrade {
  try {
    return Deno.upgradeWebSocket(request, options);
  } catch (error) {
    const reason = (error as Error).message;
    throw new StreamError("BAD_REQUEST", `this is no WebSocket upgrade request: ${reason}`);
  }
}

class DenoConnection extends WholeMessageConnection {
  constructor(
    private readonly socket: WebSocket,
    override readonly subprotocol: string,
    private readonly closed: (code: number, reason: string) => void,
  ) {
    super();
  }

  protected get gone(): boolean {
    return this.socket.readyState !== WebSocket.OPEN;
  }

  protected get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  protected put(message: string | Uint8Array): void {
    this.socket.send(message as string | Uint8Array<ArrayBuffer>);
  }

  protected room(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  close(code: number, reason: string): void {
    if (!this.gone) this.socket.close(code, reason);
  }

  terminate(): void {
    this.close(ABNORMAL_CLOSURE_SENT, "no answer");
    this.closed(ABNORMAL_CLOSURE, "no answer");
  }
}

/** Deno has no way to drop a connection without a close frame. */
const ABNORMAL_CLOSURE_SENT = 1008;
