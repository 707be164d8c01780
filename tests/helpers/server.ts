/** Servers and their parts in memory, and clients that speak to them without the library. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import process from "node:process";
import {
  bunWebSocketHandlers,
  createServer,
  framesRuntime,
  loadRuntime,
  type LogOptions,
  type LogWriter,
  MemoryCatalog,
  MemoryStorage,
  type Runtime,
  type ServerOptions,
  type ServerResources,
  type StreamServer,
} from "../../mod.ts";
import type { ResourceRecord } from "../../src/catalog.ts";
import type { ResourceInfo, ResourceStatus } from "../../src/protocol.ts";
import { Resources, type ResourcesOptions } from "../../src/resources.ts";
import { Gate, Inbox, type Said, within } from "./frames/connection.ts";

/** Storage whose writers can be made to wait, or to fail. */
export class GatedStorage extends MemoryStorage {
  /** Before bytes are appended. */
  readonly appending = new Gate();
  /** Before a log is brought to disk. */
  readonly syncing = new Gate();
  /** What appending fails with. */
  failure: Error | null = null;

  override async create(id: string, options: LogOptions): Promise<LogWriter> {
    return this.#gated(await super.create(id, options));
  }

  /** An upload by requests is let go of between two of them when the machine is slow. */
  override async recover(id: string, options: LogOptions): Promise<LogWriter> {
    return this.#gated(await super.recover(id, options));
  }

  #gated(writer: LogWriter): LogWriter {
    return Object.create(writer, {
      append: {
        value: async (...args: Parameters<LogWriter["append"]>) => {
          await this.appending.passed();
          if (this.failure !== null) throw this.failure;
          await writer.append(...args);
        },
      },
      flush: {
        value: async () => {
          await this.syncing.passed();
          await writer.flush?.();
        },
      },
    });
  }
}

/** A catalog whose updates can be made to wait. */
export class GatedCatalog extends MemoryCatalog {
  readonly updating = new Gate();

  override async update(...args: Parameters<MemoryCatalog["update"]>): Promise<ResourceRecord> {
    await this.updating.passed();
    return await super.update(...args);
  }
}

/** Resources in memory; checkpoints come fast, and nobody waits for an uploader to come back. */
export function memoryResources(options: Partial<ResourcesOptions> = {}): Resources {
  return new Resources({
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
    checkpointIntervalMs: 1,
    resumeWindowMs: 0,
    ...options,
  });
}

/** The first status of a resource of which something is true. */
export async function statusOf(
  resources: ServerResources,
  id: string,
  wanted: (status: ResourceStatus) => boolean,
): Promise<ResourceStatus> {
  const { promise, resolve } = Promise.withResolvers<ResourceStatus>();
  const look = (status: ResourceStatus) => wanted(status) && resolve(status);
  const stop = resources.listen((event) => {
    if (event.type === "status" && event.id === id) look(event.status);
  });
  try {
    look((await resources.get(id)).status);
    return await within(`a status of ${id}`, promise);
  } finally {
    stop();
  }
}

export const isFailed = ({ transferStatus }: ResourceStatus): boolean =>
  transferStatus === "FAILED";

export const isCompleted = ({ transferStatus }: ResourceStatus): boolean =>
  transferStatus === "COMPLETED";

/** A server that listens, until its `await using` ends. */
export interface TestServer extends AsyncDisposable {
  readonly server: StreamServer;
  readonly resources: ServerResources;
  readonly host: string;
  readonly url: string;
  readonly ws: string;
  /** Ends it before its scope does. */
  close(): Promise<void>;
}

function testServer(server: StreamServer, port: number, close: () => Promise<void>): TestServer {
  const host = `127.0.0.1:${port}`;
  return {
    server,
    resources: server.resources,
    host,
    url: `http://${host}`,
    ws: `ws://${host}`,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A server in memory on a free port; with `STREAM_TEST_NODES` set, two nodes on a real engine. */
export async function startServer(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  if (process.env.STREAM_TEST_NODES !== undefined && !("storage" in options)) {
    const { startTwo } = await import("../cluster/two_servers.ts");
    return await startTwo((parts) => makeServer({ ...options, ...parts }));
  }
  const server = await makeServer(options);
  const { port } = await server.listen({ port: 0 });
  return testServer(server, port, () => server.close());
}

/** The default adapter; `STREAM_ADAPTER=own` or `frames` runs the same tests on another one. */
async function adapterUnderTest(): Promise<Runtime> {
  const { STREAM_ADAPTER } = process.env;
  if (STREAM_ADAPTER === "frames") return framesRuntime();
  return await loadRuntime({ trustedNetwork: STREAM_ADAPTER === "own" });
}

export async function makeServer(options: Partial<ServerOptions>): Promise<StreamServer> {
  return createServer({
    runtime: await adapterUnderTest(),
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
    checkpointIntervalMs: 5,
    ...options,
  });
}

type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

/** The server inside an app that listens by the runtime's own means. */
export async function mountServer(
  options: Partial<ServerOptions>,
  mount: (server: StreamServer) => Fetch,
): Promise<TestServer> {
  // Frames alone cannot upgrade what the runtime's own server got.
  const server = await makeServer({ runtime: await loadRuntime(), ...options });
  const { port, stop } = "Bun" in globalThis
    ? serveOnBun(mount(server))
    : serveOnDeno(mount(server));
  return testServer(server, port, async () => {
    await server.close();
    await stop();
  });
}

interface Serving {
  port: number;
  stop(): Promise<void>;
}

function serveOnDeno(fetch: Fetch): Serving {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, fetch);
  return { port: server.addr.port, stop: () => server.shutdown() };
}

interface BunGlobal {
  serve(options: Record<string, unknown>): { port: number; stop(force: boolean): Promise<void> };
}

function serveOnBun(fetch: Fetch): Serving {
  const { Bun } = globalThis as unknown as { Bun: BunGlobal };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch,
    websocket: bunWebSocketHandlers,
  });
  return { port: server.port, stop: () => server.stop(true) };
}

/** A WebSocket without the library around it; closed when its `using` ends. */
export class RawClient implements Disposable {
  readonly #opened: Promise<void>;
  inbox!: Inbox;

  private constructor(readonly socket: WebSocket) {
    socket.binaryType = "arraybuffer";
    // Handlers stand before anything can arrive: Deno delivers messages right after `open`.
    socket.onmessage = ({ data }) =>
      this.inbox.receive(typeof data === "string" ? data : new Uint8Array(data));
    this.#opened = new Promise((resolve, reject) => {
      socket.onopen = () => {
        this.inbox = new Inbox(socket.protocol);
        socket.onclose = ({ code, reason }) => this.inbox.receiveClose(code, reason);
        resolve();
      };
      socket.onclose = () => reject(new Error(`no connection to ${socket.url}`));
    });
  }

  /** Connects; no subprotocol makes a Step client. */
  static async open(url: string, ...subprotocols: string[]): Promise<RawClient> {
    const client = new RawClient(new WebSocket(url, subprotocols));
    await within(`a connection to ${url}`, client.#opened);
    return client;
  }

  /** Sends control messages. */
  say(...messages: Said[]): void {
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  /** Sends one data message. */
  give(bytes: Uint8Array): void {
    this.socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  [Symbol.dispose](): void {
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }
}

/** An HTTP answer as it came, and the connection on which it came. */
export interface RawAnswer extends Disposable {
  status: number;
  headers: Headers;
  /** What stands after the head; for an error all of it. */
  body: string;
  /** Paused. */
  socket: Socket;
}

const upgradeHeaders = {
  "Connection": "Upgrade",
  "Upgrade": "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** Asks for a WebSocket with any headers; `null` leaves one of the usual ones out. */
export async function rawUpgrade(
  host: string,
  path: string,
  headers: Record<string, string | null> = {},
): Promise<RawAnswer> {
  const [hostname, port] = host.split(":");
  const socket = connect(Number(port), hostname);
  // A broken connection also shows in what does not arrive.
  socket.on("error", () => {});
  const lines = Object.entries({ "Host": host, ...upgradeHeaders, ...headers })
    .filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  const answered = Promise.withResolvers<ReturnType<typeof parseAnswer> & object>();
  let text = "";
  const take = (chunk: Uint8Array) => {
    text += Buffer.from(chunk).toString("latin1");
    const answer = parseAnswer(text);
    if (answer === null) return;
    // A socket that flows while nobody listens loses what comes.
    socket.pause().off("data", take);
    answered.resolve(answer);
  };
  socket.on("data", take);
  const answer = await within("an answer", answered.promise);
  return { ...answer, socket, [Symbol.dispose]: () => socket.destroy() };
}

/** The parts of an answer that has arrived completely; otherwise null. */
function parseAnswer(text: string): Pick<RawAnswer, "status" | "headers" | "body"> | null {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Headers(lines.map((line) => line.split(/: */, 2) as [string, string]));
  const body = text.slice(end + 4);
  if (body.length < Number(headers.get("content-length") ?? 0)) return null;
  return { status: Number(statusLine.split(" ")[1]), headers, body };
}

/** An error of the HTTP interface. */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  code: string;
  instance: string;
}

/** Asks the HTTP interface, and takes the answer as JSON. */
export async function getJson<T = ResourceInfo>(url: string): Promise<T> {
  const response = await fetch(url);
  return await response.json();
}
