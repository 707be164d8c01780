/** Hostile peers on both WebSocket endpoints and the HTTP routes, and a server that must be well afterwards. */
import process from "node:process";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { follow, push } from "../../../src/client.ts";
import {
  DOWNLOAD_PATH,
  type ErrorCode,
  ERRORS,
  isFinal,
  RESOURCES_PATH,
  StreamError,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../../src/protocol.ts";
import type { Resources } from "../../../src/resources.ts";
import { HEARTBEAT } from "../../../src/session.ts";
import { DownloadSession } from "../../../src/session/download.ts";
import { UploadSession } from "../../../src/session/upload.ts";
import { MemoryStorage } from "../../../src/storage/memory.ts";
import { eventually, FakeConnection, Peer } from "../frames/connection.ts";
import {
  DownloadLine,
  fakeWire,
  FAULTS,
  type Line,
  socketWire,
  UploadLine,
  type Wire,
} from "./hostile.ts";
import { type Known, weird } from "./mutate.ts";
import type { Chance } from "../random.ts";
import { registration } from "../resources.ts";
import { changed, strict } from "../storage.ts";
import { type Problem, RawClient, rawUpgrade, startServer, type TestServer } from "../server.ts";

export interface FuzzOptions {
  /** Messages, connections and requests in all. */
  cases: number;
  /** Part of the connections that go over a socket. */
  socketShare: number;
}

/** What the peers heard. */
export interface FuzzReport {
  /** Uploads that were acknowledged. */
  completed: number;
  /** Rejections by code. */
  rejections: Partial<Record<ErrorCode, number>>;
}

/** Small, so that every limit is met. */
const SERVER = {
  maxUploads: 4,
  maxFollowers: 4,
  maxConnections: 20,
  maxResourceBytes: 100_000,
  maxContextBytes: 300_000,
  maxTotalBytes: 4_000_000,
  resumeWindowMs: 30,
  checkpointIntervalMs: 1,
};
const MAX_LINES = 10;
/** Resources that are asked for. */
const MAX_KNOWN = 40;

/** Logs stay open for a while, but not of what was deleted. */
async function deleteAll({ resources }: TestServer): Promise<void> {
  await eventually("the uploads to end", () => resources.uploads === 0);
  const limit = Number.MAX_SAFE_INTEGER;
  for (const { id } of await resources.list({ limit })) await resources.delete(id);
}

/** Runs so many cases against a server in memory, and looks whether it is well afterwards. */
export async function fuzz(chance: Chance, options: FuzzOptions): Promise<FuzzReport> {
  const strays: unknown[] = [];
  const stray = (error: unknown) => strays.push(error);
  process.on("unhandledRejection", stray);
  try {
    const storage = new CountedStorage();
    await using server = await startServer({ ...SERVER, storage: storage.counted });
    const fuzzer = new Fuzzer(chance, server, options.socketShare);
    for (let count = 0; count < options.cases; count++) await fuzzer.next();
    await fuzzer.end();
    await deleteAll(server);
    await eventually("the logs to be closed", () => storage.open === 0);
    assertEquals(strays, []);
    return fuzzer.report;
  } finally {
    process.off("unhandledRejection", stray);
  }
}

/** A storage that takes its time, and knows how many of its logs are open. */
class CountedStorage {
  open = 0;
  readonly counted = changed(strict(new MemoryStorage()), {
    reader: (log) => this.#count(log),
    writer: (log) => this.#count(log),
  });

  #count(log: { close(): Promise<void> }): { close(): Promise<void> } {
    this.open++;
    return {
      close: async () => {
        this.open--;
        await log.close();
      },
    };
  }
}

/** What is done at random, and what was learned by it. */
class Fuzzer {
  readonly report: FuzzReport = { completed: 0, rejections: {} };
  readonly #chance: Chance;
  readonly #server: TestServer;
  readonly #resources: Resources;
  readonly #socketShare: number;
  readonly #freeBytes: number;
  readonly #lines: Line[] = [];
  /** Uploads that are asked for. */
  readonly #known: Known[] = [];

  constructor(chance: Chance, server: TestServer, socketShare: number) {
    this.#chance = chance;
    this.#server = server;
    this.#resources = server.resources as Resources;
    this.#socketShare = socketShare;
    this.#freeBytes = this.#resources.creditPool.freeBytes;
  }

  /** One case. */
  async next(): Promise<void> {
    const chance = this.#chance;
    const draw = chance.next();
    if (draw < 0.05) await this.#request();
    else if (draw < 0.05 + this.#socketShare / 10) await this.#sendFrames();
    else if (this.#lines.length < MAX_LINES) await this.#open();
    else await chance.pick(this.#lines).next();
    if (chance.happens(0.3)) await turn();
    if (chance.happens(0.02)) await sleep(1);
    await this.#retire((line) => line.isOver);
  }

  /** Ends all connections; then the server must be as it was before the first one. */
  async end(): Promise<void> {
    await this.#retire(() => true);
    await this.#isIdle();
    await this.#holdsNothing();
    await this.#serves();
  }

  async #open(): Promise<void> {
    const chance = this.#chance;
    const subprotocol = chance.happens(0.6) ? SUBPROTOCOL : "";
    const isReal = chance.happens(this.#socketShare);
    const isUpload = chance.happens(0.5) || this.#known.length === 0;
    const target = isUpload ? this.#anyContext() : this.#anyId();
    const open = isUpload ? this.#openUpload : this.#openDownload;
    const wire = isReal
      ? await this.#connect(isUpload, target, subprotocol)
      : fakeWire(open.call(this, new FakeConnection(subprotocol), target));
    if (wire === null) return;
    const line = isUpload
      ? new UploadLine(chance, wire, this.#known)
      : new DownloadLine(chance, wire, this.#known, target);
    this.#lines.push(line);
  }

  #openUpload(connection: FakeConnection, contextId: string): Peer {
    const options = {
      resources: this.#resources,
      contextId: contextId || null,
      referenceTo: (id: string) => `${this.#server.ws}${DOWNLOAD_PATH}/${id}`,
      heartbeat: HEARTBEAT,
    };
    return new Peer(new UploadSession(connection, options), connection);
  }

  #openDownload(connection: FakeConnection, id: string): Peer {
    const options = { resources: this.#resources, id, heartbeat: HEARTBEAT };
    return new Peer(new DownloadSession(connection, options), connection);
  }

  /** Null where the server refuses the upgrade. */
  async #connect(isUpload: boolean, target: string, subprotocol: string): Promise<Wire | null> {
    const path = isUpload
      ? `${UPLOAD_PATH}?streamingUploadContextId=${encodeURIComponent(target)}`
      : `${DOWNLOAD_PATH}/${encodeURIComponent(target)}`;
    const subprotocols = subprotocol === "" ? [] : [subprotocol];
    try {
      return socketWire(await RawClient.open(this.#server.ws + path, ...subprotocols));
    } catch {
      return null;
    }
  }

  #anyContext(): string {
    const text = this.#chance.happens(0.2) ? weird(this.#chance) : "";
    return typeof text === "string" ? text.toWellFormed() : this.#chance.pick(["", "run-1"]);
  }

  #anyId(): string {
    if (this.#known.length > 0 && this.#chance.happens(0.9)) {
      return this.#chance.pick(this.#known).id;
    }
    const text = weird(this.#chance);
    return typeof text === "string" ? text.toWellFormed() : crypto.randomUUID();
  }

  /** Ends connections and looks at what they received. */
  async #retire(isMeant: (line: Line) => boolean): Promise<void> {
    for (const line of [...this.#lines]) {
      if (line instanceof UploadLine) this.#learn(line);
      if (!isMeant(line)) continue;
      this.#lines.splice(this.#lines.indexOf(line), 1);
      await line.leave();
      const code = await line.check();
      if (code !== null) this.#count(code);
      this.report.completed += line.wire.inbox.all("UploadAcknowledged").length;
    }
  }

  #count(code: ErrorCode): void {
    const { rejections } = this.report;
    rejections[code] = (rejections[code] ?? 0) + 1;
  }

  #learn({ id, ready }: UploadLine): void {
    if (id === null || this.#known.some((known) => known.id === id)) return;
    this.#known.push({ id, secret: ready!.secret ?? "" });
    if (this.#known.length > MAX_KNOWN) this.#known.shift();
  }

  /** One request to the HTTP routes. */
  async #request(): Promise<void> {
    const chance = this.#chance;
    const id = this.#anyId();
    const path = chance.pick([
      ...[RESOURCES_PATH, `${RESOURCES_PATH}/${id}`, `${RESOURCES_PATH}/${encodeURIComponent(id)}`],
      ...[UPLOAD_PATH, `${DOWNLOAD_PATH}/${id}`, `/${id}`, "//", `${RESOURCES_PATH}/${id}/${id}`],
    ]);
    const name = chance.pick(["limit", "after", "context", "status", "__proto__"]);
    const query = chance.happens(0.5)
      ? ""
      : `?${name}=${chance.pick([id, "1", "-1", "NaN", "FAILED"])}`;
    const url = `${this.#server.url}${path}${query}`;
    if (!URL.canParse(url)) return;
    const method = chance.pick(["GET", "GET", "GET", "DELETE", "HEAD", "POST", "OPTIONS"]);
    const request = new Request(url, { method });
    if (chance.happens(0.1)) request.headers.set("origin", chance.pick(["http://evil", "null"]));
    const code = await checkResponse(request, await this.#server.server.fetch(request), id);
    if (code !== null) this.#count(code);
  }

  /** Bytes that are no frames, or frames that nobody should send, on a real connection. */
  async #sendFrames(): Promise<void> {
    using answer = await rawUpgrade(this.#server.host, UPLOAD_PATH);
    const bytes = this.#chance.text(this.#chance.whole(1, 3000));
    if (answer.status === 101) answer.socket.write(bytes);
    await turn();
  }

  /** No upload runs or waits for its owner, and all credit is back. */
  async #isIdle(): Promise<void> {
    const resources = this.#resources;
    await eventually("the end of all uploads", () => resources.uploads === 0);
    await eventually(
      "the credit of all uploads",
      () => resources.creditPool.freeBytes === this.#freeBytes,
    );
    let unfinished = Infinity;
    for (const deadlineAtMs = performance.now() + 4000; unfinished > 0; await sleep(5)) {
      const records = await resources.list({ limit: Infinity });
      unfinished = records.filter(({ status }) => !isFinal(status.transferStatus)).length;
      assert(performance.now() < deadlineAtMs, `${unfinished} uploads never end`);
    }
  }

  /** Every slot can be taken, and every byte is accounted for. */
  async #holdsNothing(): Promise<void> {
    const resources = this.#resources;
    const url = `${this.#server.ws}${UPLOAD_PATH}`;
    const clients = await times(SERVER.maxConnections, () => RawClient.open(url));
    await Promise.all(clients.map(({ socket, inbox }) => {
      socket.close();
      return inbox.close();
    }));
    const records = await resources.list({ limit: Infinity });
    const bytes = records.reduce((sum, { size }) => sum + size, 0);
    assertEquals(resources.totalBytes, bytes, "bytes in all");
    for (const { id } of records) {
      const opened = await times(SERVER.maxFollowers, () => resources.open(id));
      for (const each of opened) await each.release();
    }
    const uploads = await times(SERVER.maxUploads, () => resources.register(registration()));
    const enough = new StreamError("ABORTED", "enough");
    await Promise.all(uploads.map(({ appender }) => appender.fail(enough)));
  }

  /** An honest pusher and its follower. */
  async #serves(): Promise<void> {
    const text = "a line\n".repeat(10_000);
    const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
    const upload = await push(this.#server.url, metadata, { retryForMs: 0 });
    const followed = new Response(follow(upload.reference, { retryForMs: 0 })).text();
    await new Blob([text]).stream().pipeTo(upload.writable);
    assertEquals((await upload.done).numberOfLines, 10_000);
    assert(await followed === text, "a follower got other bytes");
  }
}

/** So many at once; the server may not have heard yet of the last connections that ended. */
async function times<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  const deadlineAtMs = performance.now() + 4000;
  while (made.length < count) {
    try {
      made.push(await make());
    } catch (error) {
      if (performance.now() > deadlineAtMs) throw error;
      await sleep(5);
    }
  }
  return made;
}

/** Either what was asked for, or an error of the table. */
async function checkResponse(
  request: Request,
  response: Response,
  id: string,
): Promise<ErrorCode | null> {
  const body = await response.text();
  const about = `${request.method} ${request.url}: ${response.status} ${body}`;
  if (response.ok) {
    const { pathname } = new URL(request.url);
    const isOfOne = pathname !== RESOURCES_PATH && pathname !== "/";
    if (body !== "" && isOfOne) assertEquals(JSON.parse(body).id, id, about);
    return null;
  }
  if (request.method === "HEAD") return null;
  const problem: Problem = JSON.parse(body);
  assert(Object.hasOwn(ERRORS, problem.code), about);
  assert(!FAULTS.includes(problem.code as ErrorCode), about);
  assertEquals(problem.status, response.status, about);
  assertEquals(ERRORS[problem.code as ErrorCode].http, response.status, about);
  return problem.code as ErrorCode;
}
