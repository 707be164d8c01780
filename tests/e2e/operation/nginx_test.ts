/** Through a real nginx, configured as docs/operation.md says: nothing is held back, and references are right. */
import { Agent, type ClientRequest, request } from "node:http";
import { once } from "node:events";
import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { follow, open, push } from "../../../mod.ts";
import { inTurn, type Kind, kinds, Workspace } from "../../helpers/cli.ts";
import { within } from "../../helpers/frames/connection.ts";
import { startNginx } from "../../helpers/peers/nginx.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const utf8 = new TextEncoder();
const MIB = 1024 * 1024;

/** A server and an nginx in front of it. */
async function proxied(kind: Kind, ...options: string[]) {
  const stack = new AsyncDisposableStack();
  const workspace = stack.use(await Workspace.open());
  const server = await workspace.serve(kind, ["--trust-proxy", ...options]);
  const { url } = stack.use(await startNginx(workspace.server));
  return { url, server, workspace, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Reads a text as it comes. */
function textReader(stream: ReadableStream<Uint8Array>) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  const until = async (isThere: (text: string) => boolean): Promise<string> => {
    while (!isThere(text)) {
      const { value, done } = await within(`more than ${JSON.stringify(text)}`, reader.read());
      if (done) throw new Error(`the end after ${JSON.stringify(text)}`);
      text += decoder.decode(value, { stream: true });
    }
    return text;
  };
  const end = async (): Promise<string> => {
    for (;;) {
      const { value, done } = await within("the end", reader.read());
      if (done) return text;
      text += decoder.decode(value, { stream: true });
    }
  };
  return { until, end };
}

/** A GET with any headers, such as a Host that is not where the request goes. */
async function get(url: string, headers: Record<string, string>) {
  const sent = request(url, { headers }).end();
  const [answer] = await once(sent, "response");
  let body = "";
  for await (const chunk of answer) body += chunk;
  return { status: answer.statusCode as number, headers: answer.headers, body };
}

/** A running upload whose first line a checkpoint made readable. */
async function running(url: string) {
  const upload = await push(url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8.encode("one\n"));
  const { reference, done } = upload;
  return { reference, done, writer, resource: `${url}/resources/${reference.slice(-36)}` };
}

/** Fails unless a second line comes before the upload of {@link running} has ended. */
async function assertLive(
  followed: ReadableStream<Uint8Array>,
  writer: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  const text = textReader(followed);
  await text.until((text) => text === "one\n");
  await writer.write(utf8.encode("two\n"));
  await text.until((text) => text === "one\ntwo\n");
  await writer.close();
  assertEquals(await text.end(), "one\ntwo\n");
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`a push to ${kind} over WebSocket is followed live`, async () => {
    await using place = await proxied(kind);
    const { writer, reference, done } = await running(place.url);
    assert(reference.startsWith(place.url.replace("http", "ws")), reference);
    await assertLive(follow(reference), writer);
    await done;
  });

  test(`megabytes pass to ${kind} and back as they are`, async () => {
    await using place = await proxied(kind);
    const { writable, reference, done } = await push(place.url, {
      ...metadata,
      supportsLineAccess: false,
    });
    const bytes = new Uint8Array(16 * MIB).map((_, at) => at * at >> 8);
    await new Blob([bytes]).stream().pipeTo(writable);
    await done;
    const received = new Uint8Array(await new Response(follow(reference)).arrayBuffer());
    assertEquals(received.length, bytes.length);
    assert(received.every((byte, at) => byte === bytes[at]));
  });

  test(`references of ${kind} name what the client asked nginx for`, async () => {
    await using place = await proxied(kind, "--allow-host", "logs.example.org");
    const { writer, resource, done } = await running(place.url);
    await writer.close();
    await done;
    const { body } = await get(resource, {
      "host": "logs.example.org",
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "gopher",
    });
    const { reference, id } = JSON.parse(body);
    assertEquals(reference, `ws://logs.example.org/ws/streaming/download/${id}`);
    const own = { host: "logs.example.org", origin: "http://logs.example.org" };
    assertEquals((await get(resource, own)).status, 200);
    assertEquals((await get(resource, { ...own, origin: "http://evil.example" })).status, 403);
    assertEquals((await get(resource, { host: "evil.example" })).status, 421);
  });

  test(`the access log of ${kind} has the address nginx saw, and nginx' id of the request`, async () => {
    await using place = await proxied(kind, "--access-log", "--log-format", "json");
    const { headers } = await get(`${place.url}/healthz`, { "x-forwarded-for": "6.6.6.6" });
    const log = await place.server.stderr.until((text) => text.includes(`"/healthz"`));
    const entry = JSON.parse(log.split("\n").find((line) => line.includes(`"/healthz"`))!);
    assertEquals(entry.remote, "127.0.0.1");
    assertMatch(entry.requestId, /^[0-9a-f]{32}$/);
    assertEquals(headers["x-request-id"], entry.requestId);
  });

  test(`without --trust-proxy ${kind} believes nobody`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    const { writer, resource, done } = await running(workspace.server);
    await writer.close();
    await done;
    const { body } = await get(resource, {
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "https",
    });
    const { reference } = JSON.parse(body);
    assert(reference.startsWith(workspace.server.replace("http", "ws")), reference);
  });

  test(`a download from ${kind} over HTTP is live`, async () => {
    await using place = await proxied(kind);
    const { writer, resource, done } = await running(place.url);
    const response = await fetch(`${resource}/content`);
    assertEquals(response.status, 200);
    await assertLive(response.body!, writer);
    await done;
  });

  test(`events of ${kind} come when they happen`, async () => {
    await using place = await proxied(kind);
    const { writer, resource, done } = await running(place.url);
    const response = await fetch(`${resource}/events`);
    assertEquals(response.headers.get("content-type")?.split(";")[0], "text/event-stream");
    const events = textReader(response.body!);
    await events.until((text) => text.includes(`"currentSize":4`));
    await writer.write(utf8.encode("two\n"));
    await events.until((text) => text.includes(`"currentSize":8`));
    await writer.close();
    await done;
    await events.until((text) => text.includes(`"COMPLETED"`));
  });

  test(`an upload to ${kind} over HTTP is readable while it is sent, and may be large`, async () => {
    await using place = await proxied(kind);
    const sent = request(`${place.url}/resources/live.log`, { method: "PUT" });
    const answered = once(sent, "response");
    answered.catch(() => {}); // said below
    await write(sent, utf8.encode("one\n"));
    const listed = async () => {
      for (;;) {
        const [resource] = await (await fetch(`${place.url}/resources`)).json();
        if (resource !== undefined) return resource.reference;
      }
    };
    const download = await open(await within("the resource", listed()));
    const text = textReader(download.read());
    await text.until((text) => text === "one\n");
    const line = utf8.encode("x".repeat(MIB - 1) + "\n");
    for (let n = 0; n < 4; n++) await write(sent, line);
    sent.end();
    const [answer] = await answered;
    assertEquals(answer.statusCode, 201);
    assertNotEquals(answer.headers.location, undefined);
    assertEquals((await text.end()).length, 4 + 4 * MIB);
    download.close();
  });

  test(`a client of the draft of resumable uploads gets the answer of ${kind}, and no 104 instead`, async () => {
    await using place = await proxied(kind, "--step-port", "0");
    const headers = { "upload-draft-interop-version": "8", "upload-complete": "?1" };
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    // The second one shows that nginx knows where the first answer ended.
    for (const name of ["one", "two"]) {
      const sent = request(`${place.url}/resources/${name}.log`, { method: "PUT", headers, agent });
      sent.on("information", ({ statusCode }) => assertEquals(statusCode, 100));
      sent.end("all of it");
      const [answer] = await within("an answer", once(sent, "response"));
      let body = "";
      for await (const chunk of answer) body += chunk;
      assertEquals([answer.statusCode, JSON.parse(body).transferStatus], [201, "COMPLETED"]);
    }
    agent.destroy();
  });
}

/** Writes when there is room. */
async function write(sent: ClientRequest, bytes: Uint8Array): Promise<void> {
  if (!sent.write(bytes)) await once(sent, "drain");
}
