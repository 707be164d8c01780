/** The operator ends any upload, however it comes in, and its uploader hears why. */
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { deleteResource, open, push } from "../../src/client.ts";
import { parseReference } from "../../src/protocol.ts";
import { assertFails } from "../helpers/errors.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { memoryResources, startServer, statusOf, type TestServer } from "../helpers/server.ts";
import { StepClient } from "../helpers/step/client.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

async function force({ url, resources }: TestServer, id: string): Promise<void> {
  const path = `${url}/resources/${id}`;
  const refused = await fetch(path, { method: "DELETE" });
  assertEquals([refused.status, (await refused.json()).code], [409, "WRONG_STATE"]);
  const ended = await fetch(`${path}?force=true`, { method: "DELETE" });
  assertEquals([ended.status, await ended.text()], [204, ""]);
  assertEquals([resources.uploads, await resources.list({ limit: 9 })], [0, []]);
  assertEquals((await fetch(path)).status, 404);
}

test("a native upload is ended by force; uploader and follower hear it", async () => {
  await using server = await startServer({ resumeWindowMs: 60_000 });
  const running = await push(server.url, metadata, {});
  const writer = running.writable.getWriter();
  await writer.write(new TextEncoder().encode("one\n"));
  const { id } = parseReference(running.reference);
  await statusOf(server.resources, id, ({ currentSize }) => currentSize === 4);
  const download = await open(running.reference);
  await force(server, id);
  const error = await assertFails("DELETED", () => running.done);
  assertStringIncludes(error.message, "whoever runs the server");
  await assertFails("DELETED", async () => await download.read().pipeTo(new WritableStream()));
});

test("a Step upload is ended by force, and hears it", async () => {
  await using server = await startServer();
  const { client, id } = await StepClient.upload(Number(server.host.split(":")[1]));
  await client.end();
  await force(server, id);
  const { code, reason } = await client.closed();
  assertEquals([code, reason.split(":")[0]], [1008, "DELETED"]);
});

test("an upload by HTTP is ended by force, and hears it", async () => {
  await using server = await startServer({ resumeWindowMs: 60_000 });
  for (const complete of ["?1", "?0"]) {
    using request = new HttpRequest(`${server.url}/resources/a.log`, "PUT", {
      "Upload-Complete": complete,
    });
    request.send("one\n");
    let id = "";
    while (id === "") {
      await new Promise((done) => setTimeout(done, 5));
      id = (await server.resources.list({ limit: 1 }))[0]?.id ?? "";
    }
    await statusOf(server.resources, id, ({ currentSize }) => currentSize === 4);
    await force(server, id);
    const { status, body } = await request.answer();
    assertEquals([status, JSON.parse(body).code], [410, "DELETED"]);
  }
});

test("an upload that waits for its uploader, or that another process left, is ended by force", async () => {
  await using server = await startServer({ resumeWindowMs: 60_000 });
  const made = await fetch(`${server.url}/resources/a.log`, {
    method: "PUT",
    body: "one\n",
    headers: { "Upload-Complete": "?0" },
  });
  const { id } = await made.json();
  // It lingers for a second after its request.
  while (server.resources.uploads > 0) await new Promise((done) => setTimeout(done, 20));
  await force(server, id);
  assertEquals((await fetch(made.headers.get("location")!, { method: "HEAD" })).status, 404);
});

test("what is finished is deleted by force as without it, and nothing twice", async () => {
  await using server = await startServer();
  const put = await fetch(`${server.url}/resources/a.log`, { method: "PUT", body: "one\n" });
  const { id } = await put.json();
  await deleteResource(id, { server: server.url, force: true });
  await assertFails("NOT_FOUND", () => deleteResource(id, { server: server.url, force: true }));
  const resources = memoryResources();
  await assertFails("NOT_FOUND", () => resources.delete(crypto.randomUUID(), { force: true }));
});
