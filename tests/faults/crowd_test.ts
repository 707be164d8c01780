/** More connections than a server has descriptors for: it stays usable, and says 503 to those who are too many. */
import { connect } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertLess } from "@std/assert";
import { limitedServer } from "../helpers/faults/limited_server.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const DESCRIPTORS = 300;
const CROWD = 400;
const PATIENCE_MS = 30_000;

/** Connections that ask once, if at all, and stay. */
function crowd(url: string, ask: string): Disposable {
  const { hostname, port } = new URL(url);
  const sockets = Array.from({ length: CROWD }, () => {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {}).resume();
    if (ask !== "") socket.write(ask);
    return socket;
  });
  return { [Symbol.dispose]: () => sockets.forEach((socket) => socket.destroy()) };
}

/** Followers, as many as a server takes: one after the other, until one is refused. */
async function followers(url: string): Promise<Disposable> {
  const requests: HttpRequest[] = [];
  const dispose = () => requests.forEach((request) => request.cut());
  for (let isRefused = false; !isRefused;) {
    assertLess(requests.length, CROWD, "everybody was taken");
    const request = new HttpRequest(`${url}/content`, "GET", { "Content-Length": "0" });
    requests.push(request);
    isRefused = await request.status() !== 200;
  }
  return { [Symbol.dispose]: dispose };
}

/** Uploads some bytes, as often as it takes; the answers before that were 503, or none. */
async function uploads(url: string): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const response = await fetch(`${url}/resources/${crypto.randomUUID()}?name=a.log`, {
      method: "PUT",
      body: "content",
      signal: AbortSignal.timeout(PATIENCE_MS),
    }).catch(() => null);
    await response?.body?.cancel();
    if (response?.status === 201) return;
    assert(response === null || response.status === 503, String(response?.status));
    assertLess(performance.now(), deadlineMs, "no upload was taken");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("connections that are kept alive leave room for uploads", async () => {
  await using directory = await temporaryDirectory();
  await using server = await limitedServer(directory.path, { descriptors: DESCRIPTORS });
  using _crowd = crowd(server.url, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  await uploads(server.url);
});

test("an upload in the middle of which descriptors run out is completed with all its bytes", async () => {
  await using directory = await temporaryDirectory();
  await using server = await limitedServer(directory.path, { descriptors: DESCRIPTORS });
  const url = `${server.url}/resources/${crypto.randomUUID()}`;
  using upload = new HttpRequest(`${url}?name=a.log`, "PUT", {});
  upload.send("one\n");
  const sizeNow = async () => (await (await fetch(url)).json()).currentSize;
  while (await sizeNow() !== 4) await new Promise((resolve) => setTimeout(resolve, 10));
  // Followers have their connections for as long as it runs: none can be closed to make room.
  using _followers = await followers(url);
  upload.send("two\n");
  upload.end();
  const answer = await upload.answer();
  const { transferStatus, currentSize } = JSON.parse(answer.body);
  assertEquals([answer.status, transferStatus, currentSize], [201, "COMPLETED", 8]);
});

test("silent connections, more than there are descriptors, end, and uploads are taken again", async () => {
  await using directory = await temporaryDirectory();
  await using server = await limitedServer(directory.path, { descriptors: DESCRIPTORS });
  {
    using _crowd = crowd(server.url, "");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  await uploads(server.url);
});
