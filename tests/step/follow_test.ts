/** Following a server that speaks no extensions: our Step listener without its subprotocol stands in for Java's. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  createServer,
  follow,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  open,
  push,
} from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { StepProxy } from "../helpers/step/proxy.ts";
import { stepOnly } from "../helpers/step/server.ts";

/** A running upload, its reference on the Step port, and how to write to it. */
async function running() {
  const server = createServer({
    runtime: await loadRuntime(),
    storage: new MemoryStorage(),
    catalog: new MemoryCatalog(),
  });
  const { port } = await server.listen({ port: 0 });
  const { port: stepPort } = await server.listen({ port: 0, runtime: stepOnly() });
  const upload = await push(`http://127.0.0.1:${port}`, {
    filename: "a.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const writer = upload.writable.getWriter();
  return {
    upload,
    writer,
    reference: upload.reference.replace(String(port), String(stepPort)),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

test("a Step server is followed live, chunk by chunk, to the last byte", async () => {
  await using place = await running();
  const received = new Response(follow(place.reference)).text();
  let text = "";
  for (let line = 0; line < 1500; line++) {
    const bytes = `line ${line} ${"x".repeat(2000)}\n`;
    text += bytes;
    await place.writer.write(utf8(bytes));
  }
  await place.writer.close();
  assert(await received === text);
});

test("a range of a Step server is read while the upload runs", async () => {
  await using place = await running();
  await place.writer.write(utf8("one\ntwo\n"));
  const range = new Response(follow(place.reference, { from: 2, to: 10 })).text();
  await place.writer.write(utf8("three\n"));
  assertEquals(await range, "e\ntwo\nth");
});

test("lines of a Step server come as text, as far as they are there", async () => {
  await using place = await running();
  await place.writer.write(utf8("one\ntwo\r\nlast"));
  await place.writer.close();
  const download = await open(place.reference);
  assertEquals(download.locatesLines, false);
  assertEquals(await Array.fromAsync(download.lines(1, 10)), ["two\r\n", "last"]);
  assertEquals(await Array.fromAsync(download.lines(3, 10)), []);
  download.close();
});

test("a Step server's own ids and queries are followed", async () => {
  await using place = await running();
  await place.writer.write(utf8("one\n"));
  await place.writer.close();
  const id = place.reference.split("/").at(-1)!;
  const asked: string[] = [];
  await using proxy = await StepProxy.open(place.reference, (path) => {
    asked.push(path);
    return path.replace("Build_42.log?session=7", id);
  });
  const reference = `${proxy.ws}/ws/streaming/download/Build_42.log?session=7`;
  assertEquals(await new Response(follow(reference)).text(), "one\n");
  assert(asked.every((path) => path === "/ws/streaming/download/Build_42.log?session=7"));
});

test("a byte behind the end of a finished resource is RANGE_NOT_AVAILABLE on every server", async () => {
  await using place = await running();
  await place.writer.write(utf8("one\n"));
  await place.writer.close();
  for (const reference of [place.reference, place.upload.reference]) {
    for (const transport of ["ws", "auto"] as const) {
      const read = (from: number) => new Response(follow(reference, { from, transport })).text();
      assertEquals(await read(4), "");
      await assertFails("RANGE_NOT_AVAILABLE", () => read(5));
    }
  }
});

test("an unknown resource of a Step server fails, and is not tried again", async () => {
  await using place = await running();
  const unknown = place.reference.replace(/[^/]+$/, crypto.randomUUID());
  await assertFails("NOT_FOUND", () => open(unknown));
});
