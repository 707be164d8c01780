/** Clients and servers of different versions: what one of them says that the other does not know yet. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { follow, push } from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

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
