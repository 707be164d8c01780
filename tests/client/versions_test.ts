/** Clients and servers of different versions: what one of them says that the other does not know yet. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { follow, framesRuntime, getLines, listResources, push, type Runtime } from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { isFailed, startServer, statusOf } from "../helpers/server.ts";
import { override } from "../helpers/storage.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

/** Listens as a server of before clients could choose ids, and ask most of what they ask. */
function older(): Runtime {
  const frames = framesRuntime();
  return override(frames, {
    listen: (options) =>
      frames.listen({
        ...options,
        fetch: (request, env) =>
          options.fetch(request.headers.has("upgrade") ? request : withoutQuery(request), env),
      }),
    upgrade: (request, env, upgrade) =>
      frames.upgrade(request, env, {
        ...upgrade,
        open(connection) {
          const session = upgrade.open(connection);
          const text = (message: string) =>
            session.text(message.replace(/,"(id|secret)":"[^"]+"/g, ""));
          return override(session, { text });
        },
      }),
  });
}

function withoutQuery(request: Request): Request {
  return new Request(request.url.replace(/\?.*/, ""), request);
}

/** Uploads a line. */
async function pushLine(server: string): Promise<string> {
  const upload = await push(server, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await writer.close();
  await within("the end of the upload", upload.done);
  return upload.reference.slice(-36);
}

test("push and follow leave out messages that they do not know", async () => {
  await using server = await startServer({
    sessionHooks: { opened: (session) => void session.send({ "@": "Weather", rain: [true] }) },
  });
  const upload = await push(server.url, metadata, { retryForMs: 0 });
  const followed = new Response(follow(upload.reference, { retryForMs: 0 })).text();
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  await writer.close();
  await within("the end of the upload", upload.done);
  assertEquals(await within("all that was followed", followed), "one\n");
});

test("an upload whose server gives it another id than was asked for fails", async () => {
  await using server = await startServer({ runtime: older() });
  const id = crypto.randomUUID();
  await assertFails("WRONG_VERSION", () => push(server.url, metadata, { id, retryForMs: 0 }));
  const [{ id: given }] = await server.resources.list({ limit: 1 });
  const { failure } = await statusOf(server.resources, given, isFailed);
  assertEquals(failure, `ABORTED: the server at ${server.url} takes no id from its clients`);
});

test("of an older server nothing is listed but what was asked for", async () => {
  await using server = await startServer({ runtime: older() });
  const id = await pushLine(server.url);
  const other = id.startsWith("0") ? "1000" : "0000";
  const asked = [
    { idPrefix: other },
    { filenamePart: "b.log" },
    { contextId: "run" },
    { transferStatuses: ["FAILED"] as const },
  ];
  for (const options of asked) {
    assertEquals(await Array.fromAsync(listResources(server.url, options)), []);
  }
  const right = {
    ...{ idPrefix: id.slice(0, 8).toUpperCase(), filenamePart: "A.LOG" },
    transferStatuses: ["COMPLETED"] as const,
  };
  const [{ id: found }] = await Array.fromAsync(listResources(server.url, right));
  assertEquals(found, id);
});

test("lines of a time are not those of an older server that knows no times", async () => {
  await using server = await startServer({ runtime: older() });
  const reference = `${server.url}/resources/${await pushLine(server.url)}`;
  await assertFails("WRONG_VERSION", () => getLines(reference, { timeMs: Date.now() }));
});
