/** Pushing to a server that speaks no extensions: our Step listener without its subprotocol stands in for Java's. */
import { Buffer } from "node:buffer";
import { createServer as createTcpServer, type Socket } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connectFrames,
  push,
  type PushOptions,
  type ServerOptions,
  type ServerResources,
  StreamError,
} from "../../mod.ts";
import { StepUpload } from "../../src/client/upload/step_upload.ts";
import { acceptOf } from "../../src/runtime/frames/handshake.ts";
import { utf8 } from "../helpers/bytes.ts";
import { pairs, Workspace } from "../helpers/cli.ts";
import { within } from "../helpers/frames/connection.ts";
import { lend } from "../helpers/lent.ts";
import { isFailed, startServer, statusOf } from "../helpers/server.ts";
import { LOG, md5, StepClient } from "../helpers/step/client.ts";
import { stepOnly } from "../helpers/step/server.ts";

const step: PushOptions = { stepTransport: connectFrames };
/** Which programs push. */
const clients = pairs.map(({ client }) => client);

function javaServer(options: Partial<ServerOptions> = {}) {
  return startServer({ runtime: stepOnly(), ...options });
}

const idOf = (reference: string) => reference.slice(reference.lastIndexOf("/") + 1);

async function onlyId(resources: ServerResources): Promise<string> {
  const [{ id }, ...others] = await resources.list({ limit: 2 });
  assertEquals(others, []);
  return id;
}

/** Accepts one WebSocket, answers StartUpload, and does what the test wants with the rest. */
async function scriptedServer(then: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", (request: Buffer) => {
      const key = /sec-websocket-key: *(\S+)/i.exec(request.toString("latin1"))?.[1];
      if (key === undefined) {
        return socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
      }
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`,
      );
      socket.once("data", () => then(socket));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test("every burst is readable before the next one, and the end is what was sent", async () => {
  await using place = await javaServer();
  const upload = await push(place.url, LOG, step);
  assertEquals(upload.resumeToken, "");
  const port = Number(new URL(place.url).port);
  using reader = await StepClient.open(port, new URL(upload.reference).pathname);
  const writer = upload.writable.getWriter();
  let size = 0;
  for (const text of ["one\n", "two\n", "x".repeat(300_000)]) {
    await lend(utf8(text), (chunk) => writer.write(chunk));
    await reader.status(({ currentSize }) => currentSize === size + text.length);
    assertEquals((await reader.bytes(size, size + text.length)).toString(), text);
    size += text.length;
    assertEquals(upload.status.currentSize, size);
  }
  await writer.close();
  const value = md5(utf8("one\ntwo\n" + "x".repeat(300_000)));
  assertEquals(await upload.done, {
    size,
    numberOfLines: 3,
    digest: { algorithm: "md5", value },
  });
  assertEquals([upload.status.transferStatus, upload.status.numberOfLines], ["COMPLETED", 3]);
});

test("nothing at all is an upload, too", async () => {
  await using place = await javaServer();
  const upload = await push(place.url, LOG, step);
  await upload.writable.close();
  assertEquals((await upload.done).size, 0);
});

test("without a transport a push says that it takes one, and leaves no resource", async () => {
  await using place = await javaServer();
  const error = await assertRejects(() => push(place.url, LOG), StreamError, "Step server");
  assertEquals(error.code, "BAD_REQUEST");
  assertEquals(await place.resources.list({ limit: 1 }), []);
});

test("a push to a Step server that asks for an id is refused, and uploads nothing", async () => {
  await using place = await javaServer();
  const id = crypto.randomUUID();
  const error = await assertRejects(() => push(place.url, LOG, { ...step, id }), StreamError);
  assertEquals([error.code, await place.resources.list({ limit: 1 })], ["WRONG_VERSION", []]);
});

test("a server that speaks our extensions gets a native push, transport or not", async () => {
  await using place = await startServer();
  const upload = await push(place.url, LOG, step);
  assert(upload.resumeToken !== "");
  await upload.writable.close();
});

test("upload contexts and refusals are those of the server", async () => {
  await using place = await javaServer({ requireContext: true });
  await place.resources.createContext("run 17");
  const upload = await push(place.url, LOG, { ...step, contextId: "run 17" });
  await upload.writable.close();
  assertEquals((await place.resources.get(idOf(upload.reference))).contextId, "run 17");
  const refused = await assertRejects(() => push(place.url, LOG, step), StreamError);
  assertEquals(refused.code, "CONTEXT_REQUIRED");
});

test("a quota's refusal of growth fails the push with its message", async () => {
  const checkGrowth = () => {
    throw new Error("no more");
  };
  await using place = await javaServer({ quota: { checkGrowth } });
  const upload = await push(place.url, LOG, step);
  await upload.writable.getWriter().write(utf8("one\n"));
  const error = await assertRejects(() => within("the end", upload.done), StreamError, "no more");
  assertEquals(error.code, "QUOTA_EXCEEDED");
});

test("an upload that is given up is FAILED with its bytes and the cause", async () => {
  await using place = await javaServer();
  const stop = new AbortController();
  const upload = await push(place.url, LOG, { ...step, signal: stop.signal });
  const id = idOf(upload.reference);
  await upload.writable.getWriter().write(utf8("one\ntwo"));
  stop.abort(new Error("enough"));
  const error = await assertRejects(() => upload.done, StreamError, "enough");
  assertEquals(error.code, "ABORTED");
  const status = await statusOf(place.resources, id, isFailed);
  assertEquals([status.currentSize, status.numberOfLines], [7, 2]);
  assert(status.failure?.includes("enough"), status.failure ?? "");
});

test("an upload whose signal aborted before it began is ABORTED, too", async () => {
  const options = { signal: AbortSignal.abort(new Error("too early")) };
  const start = () => StepUpload.register("http://127.0.0.1:9", LOG, options, connectFrames);
  const error = await assertRejects(start, StreamError, "too early");
  assertEquals(error.code, "ABORTED");
});

test("a server that goes ends the push: it is not tried again", async () => {
  await using place = await javaServer();
  const upload = await push(place.url, LOG, step);
  await upload.writable.getWriter().write(utf8("one\n"));
  await place.close();
  const error = await assertRejects(() => within("the end", upload.done), StreamError);
  assertEquals(error.code, "SHUTDOWN");
});

test("a connection that breaks is INTERRUPTED, before and after ReadyForUpload", async () => {
  await using early = await scriptedServer((socket) => socket.destroy());
  const error = await assertRejects(() => push(early.url, LOG, step), StreamError);
  assertEquals(error.code, "INTERRUPTED");
  const ready = `{"@":"ReadyForUpload","reference":{"uri":"ws://h/ws/streaming/download/1"}}`;
  await using late = await scriptedServer((socket) => {
    socket.write(Buffer.concat([Buffer.of(0x81, ready.length), Buffer.from(ready)]));
    socket.once("data", () => socket.destroy());
  });
  const upload = await push(late.url, LOG, step);
  upload.writable.getWriter().write(utf8("one\n")).catch(() => {});
  const { code } = await assertRejects(() => within("the end", upload.done), StreamError);
  assertEquals(code, "INTERRUPTED");
});

test("an acknowledgement that is not of what was sent fails the push", async () => {
  const answer = (text: string) => Buffer.concat([Buffer.of(0x81, text.length), Buffer.from(text)]);
  await using place = await scriptedServer((socket) => {
    socket.write(answer(`{"@":"ReadyForUpload","reference":{"uri":"ws://h/1"}}`));
    let received = "";
    socket.on("data", (bytes: Buffer) => {
      received += bytes.toString("latin1");
      // An empty message and FinishUpload, masked.
      if (received.length < 60) return;
      socket.removeAllListeners("data");
      socket.write(answer(`{"@":"UploadAcknowledged","size":1,"numberOflines":1,"checksum":""}`));
    });
  });
  const upload = await push(place.url, LOG, step);
  upload.writable.close().catch(() => {});
  const { code } = await assertRejects(() => within("the end", upload.done), StreamError);
  assertEquals(code, "CHECKSUM_MISMATCH");
});

test("a transport that reaches no WebSocket server is UNREACHABLE, and says what was there", async () => {
  const session = { text() {}, data() {}, closed() {} };
  const gone = await assertRejects(() => connectFrames("ws://127.0.0.1:9/", session), StreamError);
  assertEquals(gone.code, "UNREACHABLE");
  await using place = await javaServer();
  const url = `${place.ws}/nothing/here`;
  await assertRejects(() => connectFrames(url, session), StreamError, "404");
});

test("a server that falls silent is pinged, and given up in the end", async () => {
  await using place = await scriptedServer(() => {});
  const closed = Promise.withResolvers<number>();
  const session = { text() {}, data() {}, closed: (code: number) => closed.resolve(code) };
  const url = place.url.replace("http", "ws");
  await connectFrames(url, session, { pingEveryMs: 5, deadAfterMs: 20 });
  assertEquals(await within("the end", closed.promise), 1006);
});

for (const client of clients) {
  test(`stream push reads a pipe into a Step server, line by line: ${client}`, async () => {
    await using place = await javaServer();
    await using workspace = await Workspace.open();
    const env = { STREAM_SERVER: place.url };
    const pushing = workspace.start(client, ["push", "-", "--name", "a.log"], { env });
    const reference = (await pushing.stdout.until((text) => text.includes("\n"))).trim();
    using reader = await StepClient.open(
      Number(new URL(place.url).port),
      new URL(reference).pathname,
    );
    for (let line = 0; line < 5; line++) {
      await pushing.write(`line ${line}\n`);
      await reader.status(({ numberOfLines }) => numberOfLines === line + 1);
      assertEquals(await reader.lines(line, 1), [`line ${line}\n`]);
    }
    pushing.end();
    assertEquals((await pushing.exit()).code, 0);
    const { status, digest } = await place.resources.get(idOf(reference));
    assertEquals([status.transferStatus, digest?.algorithm], ["COMPLETED", "md5"]);
  });

  test(`stream push to a Step server that goes ends with exit code 4: ${client}`, async () => {
    await using place = await javaServer();
    await using workspace = await Workspace.open();
    const env = { STREAM_SERVER: place.url };
    const pushing = workspace.start(client, ["push", "-"], { env });
    await pushing.write("one\n");
    await pushing.stdout.until((text) => text.includes("\n"));
    const id = await onlyId(place.resources);
    await statusOf(place.resources, id, ({ currentSize }) => currentSize === 4);
    await place.close();
    const { code, stderr } = await pushing.exit();
    assertEquals(code, 4, stderr);
    assertEquals((await place.resources.get(id)).status.transferStatus, "FAILED");
  });
}
