/** Wishes of the host of a server: addresses, contexts by request, a hook and messages for sessions. */
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  createServer,
  follow,
  framesRuntime,
  type HostSession,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  push,
  type ServerOptions,
  type SessionEnd,
  StreamError,
} from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { startServer, statusOf } from "../helpers/server.ts";
import { LOG, md5, StepClient } from "../helpers/step/client.ts";

/** A server with a port for Step clients. */
async function startStepServer(options: Partial<ServerOptions>) {
  const server = await startServer(options);
  const { port } = await server.server.listen({ port: 0, runtime: framesRuntime() });
  return { ...server, port, [Symbol.asyncDispose]: () => server.close() };
}

const ENDPOINTS = {
  uploadPath: "/ws/logs/upload",
  downloadPath: "/ws/logs/download",
  contextParameter: "runId",
};

test("Step clients find the endpoints where the host wants them, and name the context as it wants", async () => {
  await using host = await startStepServer({ endpoints: ENDPOINTS });
  await host.resources.createContext("run-17");
  const path = `${ENDPOINTS.uploadPath}?runId=run-17`;
  const { client, uri, id } = await StepClient.upload(host.port, { path });
  using uploader = client;
  assertEquals(new URL(uri).pathname, `${ENDPOINTS.downloadPath}/${id}`);
  await uploader.give(utf8("one\n"));
  await uploader.end();
  await uploader.finish(md5(utf8("one\n")));
  assertEquals((await host.resources.get(id)).contextId, "run-17");
  using reader = await StepClient.open(host.port, new URL(uri).pathname);
  assertEquals((await reader.bytes(0, 4)).toString(), "one\n");
});

test("the usual addresses stay, and their contexts count: our own clients know no others", async () => {
  await using host = await startServer({ endpoints: ENDPOINTS });
  const upload = await push(host.url, LOG, { contextId: "run-17", transport: "ws" });
  assert(upload.reference.startsWith(`${host.ws}${ENDPOINTS.downloadPath}/`), upload.reference);
  await new Blob(["one\n"]).stream().pipeTo(upload.writable);
  const id = upload.reference.slice(-36);
  assertEquals((await host.resources.get(id)).contextId, "run-17");
  assertEquals(await new Response(follow(upload.reference, { transport: "ws" })).text(), "one\n");
});

test("the parameter of the host counts before the usual one, and its name is told where it is missing", async () => {
  await using host = await startStepServer({ endpoints: ENDPOINTS, requireContext: true });
  for (const id of ["a", "b"]) await host.resources.createContext(id);
  const path = `${ENDPOINTS.uploadPath}?streamingUploadContextId=a&runId=b`;
  const { client, id } = await StepClient.upload(host.port, { path });
  using _uploader = client;
  assertEquals((await host.resources.get(id)).contextId, "b");
  using refused = await StepClient.open(host.port, ENDPOINTS.uploadPath);
  await refused.say({ "@": "StartUpload", metadata: LOG });
  assertEquals(await refused.closed(), { code: 1008, reason: "Missing parameter runId" });
});

test("whether a context is required is decided for each request, on WebSockets, by HTTP and by tus", async () => {
  const requireContext = ({ url, headers }: Request) =>
    new URL(url).searchParams.has("strict") || headers.has("x-strict");
  await using host = await startStepServer({ requireContext });
  using strict = await StepClient.open(host.port, "/ws/streaming/upload?strict=1");
  await strict.say({ "@": "StartUpload", metadata: LOG });
  assertEquals((await strict.closed()).reason, "Missing parameter streamingUploadContextId");
  const { client } = await StepClient.upload(host.port);
  client[Symbol.dispose]();
  const put = (query: string, headers = {}) =>
    fetch(`${host.url}/resources/a.log${query}`, { method: "PUT", body: "one\n", headers });
  for (
    const [query, headers, status] of [
      ["", {}, 201],
      ["?strict=1", {}, 400],
      ["", { "x-strict": "1" }, 400],
      ["?strict=1&context=run", {}, 201],
    ] as const
  ) {
    const response = await put(query, headers);
    await response.body?.cancel();
    assertEquals(response.status, status, `${query} ${JSON.stringify(headers)}`);
  }
  for (const [query, status] of [["", 201], ["?strict=1", 400]] as const) {
    const response = await fetch(`${host.url}/tus${query}`, {
      method: "POST",
      headers: {
        "tus-resumable": "1.0.0",
        "upload-length": "4",
        "upload-metadata": `filename ${btoa("a.log")}`,
      },
    });
    await response.body?.cancel();
    assertEquals(response.status, status, `tus ${query}`);
  }
  const upload = await host.resources.startUpload(LOG);
  await upload.complete();
});

test("the host hears of every session, what it is about, and how it ends", async () => {
  const opened: HostSession[] = [], ended: SessionEnd[] = [];
  await using host = await startStepServer({
    sessionHooks: {
      opened(session) {
        opened.push(session);
        return (end) => ended.push(end);
      },
    },
  });
  const { client, id } = await StepClient.upload(host.port, { path: "/ws/streaming/upload?job=7" });
  const [session] = opened;
  assertEquals(
    [session.kind, session.isNative, session.resourceId, session.url.searchParams.get("job")],
    ["upload", false, id, "7"],
  );
  assertEquals(session.headers.get("upgrade")?.toLowerCase(), "websocket");
  using uploader = client;
  session.fail(new StreamError("ABORTED", "the job was taken back"));
  assertEquals((await uploader.closed()).reason, "ABORTED: the job was taken back");
  await eventually("the end", () => ended.length === 1);
  assertEquals([ended[0].kind, ended[0].error?.code], ["upload", "ABORTED"]);
  const { failure } = await statusOf(
    host.resources,
    id,
    ({ transferStatus }) => transferStatus === "FAILED",
  );
  assertEquals(failure, "ABORTED: the job was taken back");

  const followed = await push(host.url, LOG, { transport: "ws" });
  const text = new Response(follow(followed.reference, { transport: "ws" })).text();
  await new Blob(["one\n"]).stream().pipeTo(followed.writable);
  await text;
  assertEquals(opened.map(({ kind, isNative }) => [kind, isNative]), [
    ["upload", false],
    ["upload", true],
    ["download", true],
  ]);
  assertEquals(opened[2].resourceId, followed.reference.slice(-36));
  await eventually("their ends", () => ended.length === 3);
});

test("a session that the host does not want is refused; a hook that fails at the end harms nobody", async () => {
  const faults: string[] = [];
  await using host = await startStepServer({
    log: { info: () => {}, error: (_event, { message }) => void faults.push(String(message)) },
    sessionHooks: {
      opened({ url }) {
        if (url.searchParams.has("job")) throw new StreamError("FORBIDDEN", "no such job");
        return () => {
          throw new Error("oh");
        };
      },
    },
  });
  using refused = await StepClient.open(host.port, "/ws/streaming/upload?job=8");
  assertEquals(await refused.closed(), { code: 1008, reason: "FORBIDDEN: no such job" });
  const { client } = await StepClient.upload(host.port);
  client[Symbol.dispose]();
  await eventually("the fault", () => faults.length === 1);
  assertEquals(faults, ["a hook of the host failed: oh"]);
});

test("messages of the host's own reach it and are answered; unknown ones stay errors", async () => {
  const marks: [unknown, string | null][] = [];
  await using host = await startStepServer({
    sessionHooks: {
      messages: {
        Mark(message, session) {
          if (message.label === "") throw new StreamError("BAD_REQUEST", "a mark has a label");
          marks.push([message.label, session.resourceId]);
          void session.send({ "@": "Lines", lines: [] }).catch(({ code }) =>
            marks.push([code, null])
          );
        },
      },
    },
  });
  const { client, id } = await StepClient.upload(host.port);
  using uploader = client;
  await uploader.say({ "@": "Mark", label: "begin" });
  await uploader.give(utf8("one\n"));
  await uploader.end();
  await uploader.finish(md5(utf8("one\n")));
  await eventually("the marks", () => marks.length === 2);
  assertEquals(marks, [["begin", id], ["BAD_REQUEST", null]]);

  for (
    const [said, code, reason] of [
      [{ "@": "Mark", label: "" }, 1008, "BAD_REQUEST: a mark has a label"],
      [{ "@": "Other" }, 1003, 'UNKNOWN_MESSAGE: there is no message "Other"'],
    ] as const
  ) {
    const { client } = await StepClient.upload(host.port);
    using wrong = client;
    await wrong.say(said);
    assertEquals(await within("the close", wrong.closed()), { code, reason });
  }
});

test("what the host wishes is checked before the server starts", async () => {
  const runtime = await loadRuntime();
  const make = (options: Partial<ServerOptions>) => () =>
    createServer({
      runtime,
      storage: new MemoryStorage(),
      catalog: new MemoryCatalog(),
      ...options,
    });
  const wrong: Partial<ServerOptions>[] = [
    { endpoints: { uploadPath: "upload" } },
    { endpoints: { downloadPath: "/a/:id" } },
    { endpoints: { contextParameter: "a b" } },
    { sessionHooks: { messages: { Ping() {} } } },
  ];
  for (const options of wrong) {
    const error = assertThrows(make(options), StreamError);
    assertEquals(error.code, "BAD_REQUEST", JSON.stringify(options));
  }
});
