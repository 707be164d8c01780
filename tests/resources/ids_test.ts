/** Ids and names are chosen by strangers: they reach no file but their own, and draw nothing on a terminal. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { FileStorage, SqliteCatalog } from "../../mod.ts";
import {
  CONTEXT_PARAMETER,
  DOWNLOAD_PATH,
  type ErrorCode,
  ERRORS,
  type ResourceInfo,
  RESOURCES_PATH,
  SUBPROTOCOL,
  UPLOAD_PATH,
} from "../../src/protocol.ts";
import { logPath } from "../../src/storage/layout.ts";
import { eitherRuntime, quickest, Workspace } from "../helpers/cli.ts";
import { OP, RawPeer, upgradeRequest } from "../helpers/frames/frames.ts";
import {
  getJson,
  type Problem,
  RawClient,
  startServer,
  type TestServer,
} from "../helpers/server.ts";
import { uploaded } from "../helpers/seen.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const SECRET = "what lies beside the data";
const CONTENT = "x";
const CONTENT_MD5 = "9dd4e461268c8034f5c8564e155c67a6";

/** What file systems, URLs or careless checks may take for something else. */
const TRAPS = [
  ...["..", ".", "../..", "../../..", "../../../outside", "../../../outside.bin", "./outside"],
  ...["%2e%2e", "..%2f..%2f..%2foutside", "%252e%252e%252foutside", "%c0%ae%c0%ae%c0%afoutside"],
  ...["....//....//outside", "..;/outside", "outside?", "outside#", "~", "~/outside", "$HOME", "*"],
  ...["\0", "outside\0", "outside.bin\0.log", "\n", "\r\nX: y", " ", "\u007f", "\u009b31m", "-rf"],
  ...["．．／outside", "․․∕outside", "‥/outside", "\u202egol.exe", "０１２３４５６７", "аbcdef01"],
  ...["CON", "nul", "NUL.txt", "com1", "aux.", "C:", "C:\\outside", "..\\..\\..\\outside"],
  ...["\\\\?\\C:\\outside", "\\\\host\\share", "outside:stream", "outside. .", "catalog.sqlite"],
  ...["__proto__", "constructor", "0".repeat(65), "0".repeat(4000), "é".repeat(200)],
];

/** Traps that only hurt where something lies already. */
const trapsOf = (root: string, id: string): string[] => [
  ...TRAPS,
  ...[join(root, "outside"), join(root, "outside.bin"), `file://${root}/outside`, "/etc/passwd"],
  ...[`${id}\0`, `${id}\n`, ` ${id}`, `${id}.bin`, `../${id}`, `x/${id}`],
  ...[`${id}%00`, id.replace(/[0-9]/, "０"), id.replaceAll("-", "‐"), id.slice(0, 7)],
];

/** A server with its data in a directory of a directory with something to steal. */
class Place implements AsyncDisposable {
  private constructor(
    readonly root: string,
    readonly server: TestServer,
    readonly id: string,
    private readonly stack: AsyncDisposableStack,
  ) {}

  static async open(): Promise<Place> {
    const stack = new AsyncDisposableStack();
    const { path: root } = stack.use(await temporaryDirectory());
    for (const name of ["outside", "outside.bin", "outside.bin.idx"]) {
      await writeFile(join(root, name), SECRET);
    }
    const directory = join(root, "data");
    await mkdir(directory);
    const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
    stack.defer(() => catalog.close());
    const storage = new FileStorage(directory);
    const server = stack.use(await startServer({ storage, catalog, resumeWindowMs: 0 }));
    const { id } = await upload(server, "known.log", null) as ResourceInfo;
    return new Place(root, server, id, stack);
  }

  get port(): number {
    return Number(this.server.host.split(":")[1]);
  }

  /** Every resource has its log where it belongs, and nothing else has appeared or changed. */
  async check(): Promise<void> {
    const resources = await getJson<ResourceInfo[]>(
      `${this.server.url}${RESOURCES_PATH}?limit=1000`,
    );
    assert(resources.some(({ id }) => id === this.id), "a resource was deleted");
    const data = join(this.root, "data");
    const logs = resources.map(({ id }) => relative(this.root, logPath(data, id)));
    const catalog = ["", "-reserve", "-shm", "-wal"].map((suffix) =>
      `data/catalog.sqlite${suffix}`
    );
    const outside = ["outside", "outside.bin", "outside.bin.idx"];
    const files = await filesIn(this.root);
    const indexes = files.filter((file) =>
      /\.bin\.(idx|times)$/.test(file) && file.startsWith("data/")
    );
    assertEquals(
      files.filter((file) => !indexes.includes(file)),
      [...outside, ...catalog, ...logs].toSorted(),
    );
    const strays = indexes.filter((file) => !logs.includes(file.replace(/\.(idx|times)$/, "")));
    assertEquals(strays, []);
    for (const name of outside) assertEquals(await readFile(join(this.root, name), "utf8"), SECRET);
    for (const log of logs) assertEquals(await readFile(join(this.root, log), "utf8"), CONTENT);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

async function filesIn(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return files.map(({ parentPath, name }) => relative(root, join(parentPath, name))).toSorted();
}

/** Uploads one byte without the client library; what the server then knows of it, or its refusal. */
async function upload(
  { ws, url }: TestServer,
  filename: string,
  contextId: string | null,
): Promise<ResourceInfo | ErrorCode> {
  const query = contextId === null ? "" : `?${CONTEXT_PARAMETER}=${encodeURIComponent(contextId)}`;
  using client = await RawClient.open(`${ws}${UPLOAD_PATH}${query}`, SUBPROTOCOL);
  const { inbox } = client;
  const metadata = { filename, mimeType: "text/plain", supportsLineAccess: true };
  client.say({ "@": "StartUpload", metadata });
  await inbox.until("an answer", () => inbox.items.length > 0);
  const [refusal] = inbox.all("Error");
  if (refusal !== undefined) return refusal.code as ErrorCode;
  const { id } = await inbox.next("ReadyForUpload");
  client.give(new TextEncoder().encode(CONTENT));
  client.say({ "@": "FinishUpload", checksum: CONTENT_MD5 });
  await inbox.next("UploadAcknowledged");
  return await getJson(`${url}${RESOURCES_PATH}/${id}`);
}

/** The ways in which a text can stand in the path of a request. */
function* spellings(text: string): Generator<string> {
  const bytes = [...new TextEncoder().encode(text)];
  if (/^[!-~]+$/.test(text)) yield text;
  yield encodeURIComponent(text);
  yield bytes.map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
  yield encodeURIComponent(encodeURIComponent(text));
}

/** The error that a request gets, sent as it is: no client puts its path in order before. */
async function refusalOf(port: number, method: string, target: string): Promise<string> {
  using peer = new RawPeer(port);
  await peer.write(`${method} ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
  const { status } = await peer.readHead();
  return problemCode(status, (await peer.readAll()).toString());
}

/** The same for a WebSocket, where the error may come in a message. */
async function downloadRefusalOf(port: number, target: string): Promise<string> {
  using peer = new RawPeer(port);
  const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL, "Connection": "Upgrade, close" };
  await peer.write(upgradeRequest(headers, target));
  const { status } = await peer.readHead();
  if (status !== 101) return problemCode(status, (await peer.readAll()).toString());
  const frame = await peer.read();
  assertEquals(frame?.opcode, OP.text);
  const message = JSON.parse(String(frame?.payload));
  assertEquals(message["@"], "Error", target);
  return message.code;
}

function problemCode(status: number, body: string): string {
  assert(!body.includes(SECRET), body);
  assert(body !== "" || status === 400, `${status} without a body`);
  // What is no request at all is refused before we see it.
  if (status === 400 && body === "") return "NOT_FOUND";
  const told: Partial<Problem & { name: string }> | unknown[] = JSON.parse(body);
  if (status === 200) return Array.isArray(told) ? "THE LIST" : `THE PAGE OF ${told.name}`;
  const { code } = told as Problem;
  assertEquals(ERRORS[code as ErrorCode]?.http, status, body);
  return code;
}

/** Dots lead up to the list or to `/`, as in any URL, and no further. */
function expectedOf(method: string, target: string): string {
  const { pathname } = new URL(target, "http://127.0.0.1");
  if (pathname === "/") return method === "GET" ? "THE PAGE OF stream" : "METHOD_NOT_ALLOWED";
  if (pathname !== `${RESOURCES_PATH}/`) return "NOT_FOUND";
  return method === "GET" ? "THE LIST" : "METHOD_NOT_ALLOWED";
}

for (const method of ["GET", "DELETE"]) {
  test(`${method} of an id that is none finds nothing, however it is spelled`, async () => {
    await using place = await Place.open();
    for (const trap of trapsOf(place.root, place.id)) {
      for (const spelling of spellings(trap)) {
        const target = `${RESOURCES_PATH}/${spelling}`;
        const code = await refusalOf(place.port, method, target);
        assertEquals(code, expectedOf(method, target), spelling);
      }
    }
    await place.check();
  });
}

test("a download of an id that is none finds nothing, however it is spelled", async () => {
  await using place = await Place.open();
  for (const trap of trapsOf(place.root, place.id)) {
    for (const spelling of spellings(trap)) {
      const target = `${DOWNLOAD_PATH}/${spelling}`;
      const code = await downloadRefusalOf(place.port, target);
      assertEquals(code, expectedOf("GET", target), spelling);
    }
  }
  await place.check();
});

test("nothing can be resumed, and no page begins, at an id that is none", async () => {
  await using place = await Place.open();
  const { ws, port } = { ws: place.server.ws, port: place.port };
  for (const id of [...trapsOf(place.root, place.id), "", "\ud800", "../".repeat(20_000)]) {
    using client = await RawClient.open(`${ws}${UPLOAD_PATH}`, SUBPROTOCOL);
    client.say({ "@": "ResumeUpload", id, secret: "0".repeat(64) });
    assertEquals((await client.inbox.next("Error")).code, "NOT_FOUND", id.slice(0, 100));
    if (id.length > 4000) continue;
    const after = encodeURIComponent(`1_${id.toWellFormed()}`);
    const code = await refusalOf(port, "GET", `${RESOURCES_PATH}?after=${after}`);
    assertEquals(code, "BAD_REQUEST", id);
  }
  await place.check();
});

test("a filename is kept as it is and is never a path", async () => {
  await using place = await Place.open();
  for (const filename of trapsOf(place.root, place.id)) {
    const uploaded = await upload(place.server, filename, null);
    const isAllowed = !filename.includes("\0") && new TextEncoder().encode(filename).length <= 1024;
    if (typeof uploaded === "string") assertEquals([uploaded, isAllowed], ["BAD_METADATA", false]);
    else assertEquals([uploaded.filename, isAllowed], [filename, true]);
  }
  await place.check();
});

test("an upload context is kept as it is and is never a path", async () => {
  await using place = await Place.open();
  for (const contextId of trapsOf(place.root, place.id)) {
    const uploaded = await upload(place.server, "a.log", contextId);
    const isAllowed = !/\p{Cc}/u.test(contextId) &&
      new TextEncoder().encode(contextId).length <= 256;
    if (typeof uploaded === "string") {
      assertEquals([uploaded, isAllowed], ["BAD_METADATA", false], contextId);
      continue;
    }
    assertEquals([uploaded.contextId, isAllowed], [contextId, true]);
    const query = `?context=${encodeURIComponent(contextId)}`;
    const listed = await getJson<ResourceInfo[]>(`${place.server.url}${RESOURCES_PATH}${query}`);
    assertEquals(listed.map(({ id }) => id), [uploaded.id]);
  }
  await place.check();
});

/** Control characters, and those that turn a line around, except the end of a line. */
const DRAWS = /[^\P{Cc}\n]|[\u202a-\u202e\u2066-\u2069]/u;
const NAMES = [
  ...["../../outside", "/tmp/stream-outside", "..\\outside", "CON", "%2e%2e%2foutside"],
  ...["\u001b[2J\u001b]0;title\u0007", "a\r\nb\u007f", "\u009b31m", "\u202egol.exe"],
];

const either = eitherRuntime();

either(
  "the program prints names of strangers without their control characters, and makes no files of them",
  async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    await writeFile(workspace.path("a.log"), CONTENT);
    const before = (await filesIn(workspace.path("."))).filter((file) => !file.startsWith("data/"));
    const references = await Promise.all(
      NAMES.map((name) => uploaded(workspace, CONTENT, { name })),
    );
    const listed: ResourceInfo[] = JSON.parse(
      (await workspace.run(quickest, ["ls", "--json"])).stdout,
    );
    assertEquals(listed.map(({ filename }) => filename).toSorted(), NAMES.toSorted());

    const outputs = await Promise.all([
      ...[["ls"], ["ls", "--json"], ...references.map((reference) => ["status", reference])],
      ...[["status", references.at(-1)!, "--json"], ["follow", references[0], "-o", "out"]],
      ...[["push", "a.log", "--type", "a\u009b31m/b"], ["status", "\u001b[31m\u202e"]],
    ].map((args) => workspace.run(quickest, args)));
    for (const { stdout, stderr } of outputs) {
      assertNotMatch(stdout, DRAWS);
      assertNotMatch(stderr, DRAWS);
    }
    assertMatch(outputs[0].stdout, /\\x1b\[2J\\x1b\]0;title\\x07\n/);
    assertMatch(outputs[0].stdout, /\\u202egol\.exe\n/);
    server.signal("SIGTERM");
    assertNotMatch((await server.exit()).stderr, DRAWS);
    const after = (await filesIn(workspace.path("."))).filter((file) => !file.startsWith("data/"));
    assertEquals(after, [...before, "out"].toSorted());
  },
);
