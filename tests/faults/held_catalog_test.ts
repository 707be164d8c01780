/** Another process holds the catalog, as a backup does: bytes go on, records wait, nothing stays broken. */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { assert, assertEquals, assertLess } from "@std/assert";
import { FileStorage, follow, getResource, push, SqliteCatalog } from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer, type TestServer } from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
/** Longer than the records of running uploads are let alone. */
const HELD_MS = 1500;

/** A server on files, whose catalog waits for so long. */
async function onFiles(
  waitMs: number,
  check: (server: TestServer, hold: () => Disposable) => Promise<void>,
): Promise<void> {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "catalog.sqlite");
  const catalog = new SqliteCatalog(path, { waitMs });
  const storage = new FileStorage(directory.path);
  try {
    await using server = await startServer({ catalog, storage });
    await check(server, () => {
      const holder = new DatabaseSync(path);
      holder.exec("BEGIN IMMEDIATE; DELETE FROM contexts WHERE id = 'nobody'");
      return { [Symbol.dispose]: () => holder.close() };
    });
  } finally {
    await storage.close();
    await catalog.close();
  }
}

/** Lines of an upload, until it is told to end; and what a follower has of them. */
async function running(server: TestServer) {
  const upload = await push(server.url, metadata);
  const reader = follow(upload.reference).pipeThrough(new TextDecoderStream()).getReader();
  const writer = upload.writable.getWriter();
  let received = "";
  return {
    upload,
    writer,
    /** Sends a line and waits until the follower has it. */
    async line(text: string): Promise<void> {
      await writer.write(utf8(text));
      while (!received.endsWith(text)) {
        const { value, done } = await within(`the line ${text}`, reader.read());
        if (done) break;
        received += value;
      }
      assert(received.endsWith(text), received);
    },
    end: () => reader.cancel(),
  };
}

for (const [waitMs, told] of [[10_000, "waits"], [100, "is told to come back, and then taken"]]) {
  test(`while a catalog is held lines reach their followers, and a new upload ${told}`, async () => {
    await onFiles(waitMs as number, async (server, hold) => {
      const { upload, writer, line, end } = await running(server);
      await line("before\n");
      const held = hold();
      const other = push(server.url, metadata, { retryForMs: 60_000 });
      const untilMs = performance.now() + HELD_MS;
      let longestMs = 0;
      for (let lines = 0; performance.now() < untilMs; lines++) {
        const startedMs = performance.now();
        await line(`line ${lines}\n`);
        const { status } = await fetch(`${server.url}/healthz`);
        assertEquals(status, 200);
        longestMs = Math.max(longestMs, performance.now() - startedMs);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      assertLess(longestMs, 1000);
      // The end waits, too.
      const closing = writer.close();
      await new Promise((resolve) => setTimeout(resolve, 200));
      held[Symbol.dispose]();
      await within("the end", closing);
      await end();
      assertEquals((await getResource(upload.reference)).transferStatus, "COMPLETED");
      const late = await within("the other upload", other);
      await new Blob(["late"]).stream().pipeTo(late.writable);
      assertEquals((await getResource(late.reference)).transferStatus, "COMPLETED");
    });
  });
}

test("who asks by HTTP for what a held catalog must take is answered 503", async () => {
  await onFiles(50, async (server, hold) => {
    const held = hold();
    const url = `${server.url}/contexts/run-17`;
    const refused = await fetch(url, { method: "PUT" });
    assertEquals([refused.status, (await refused.json()).code], [503, "NOT_READY"]);
    held[Symbol.dispose]();
    const made = await fetch(url, { method: "PUT" });
    assertEquals(made.status, 201);
    await made.body?.cancel();
  });
});
