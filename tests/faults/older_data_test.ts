/** Data directories that older releases left behind when they were killed: the present program goes on with them. */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertObjectMatch } from "@std/assert";
import {
  FileStorage,
  FileTokens,
  linkKey,
  resumePush,
  SignedLinks,
  SqliteCatalog,
} from "../../mod.ts";
import { createDigest } from "../../src/digest.ts";
import { utf8 } from "../helpers/bytes.ts";
import { within } from "../helpers/frames/connection.ts";
import { type OlderData, olderData, releases, unpack } from "../helpers/older/data.ts";
import { startServer } from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

/** A server on what a release left, and a client with its token. */
async function serve(data: OlderData) {
  const directory = await temporaryDirectory();
  await unpack(data, directory.path);
  const storage = new FileStorage(directory.path);
  const catalog = new SqliteCatalog(join(directory.path, "catalog.sqlite"));
  const key = await linkKey(join(directory.path, "secret.key"));
  // A link that was made when the release was lasts a week.
  const links = new SignedLinks({ key, now: () => 0 });
  const tokens = await FileTokens.open({ path: join(directory.path, "tokens") });
  const server = await startServer({ storage, catalog, access: { tokens, links } });
  const ask = async (path: string, init: RequestInit & { headers?: object } = {}) => {
    const headers = { authorization: `Bearer ${data.token}`, ...init.headers };
    const answer = await fetch(new URL(path, server.url), { ...init, headers });
    return { status: answer.status, headers: answer.headers, bytes: await answer.bytes() };
  };
  const json = async (path: string) => JSON.parse(String(Buffer.from((await ask(path)).bytes)));
  return {
    ...{ server, ask, json },
    async [Symbol.asyncDispose]() {
      await server.close();
      await storage.close();
      await catalog.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

for (const release of releases) {
  const data = olderData(release);

  test(`what ${release} left is listed, read and refused as it was`, async () => {
    await using place = await serve(data);
    const listed = await place.json("/resources");
    assertEquals(listed.length, data.resources.length);
    for (const [at, { id, transferStatus, ...told }] of data.resources.entries()) {
      const { filename, mimeType, supportsLineAccess, contextId, createdAt, digest } = told;
      const { currentSize, numberOfLines, failure, durableSize } = told;
      assertObjectMatch(listed[at], {
        ...{ id, transferStatus, filename, mimeType, supportsLineAccess, contextId, createdAt },
        ...{ digest, currentSize, numberOfLines, failure, durableSize },
      });
      const headers = { Range: "bytes=0-99" };
      const { status, bytes } = await place.ask(`/resources/${id}/content`, { headers });
      assertEquals(
        status === 416 ? "" : Buffer.from(bytes).toString("base64"),
        data.contents[id] ?? "",
      );
    }
    assertEquals(await place.json("/contexts"), data.contexts);
    assertEquals((await place.ask(`/resources/${data.deleted}`)).status, 404);
    const refused = { method: "PUT", body: "late" };
    assertEquals((await place.ask("/resources/a.log?context=closed", refused)).status, 409);
    const lines = await place.json(`/contexts/run`);
    assertEquals(lines.closedAt, null);
  });

  test(`lines, matches and links of ${release} are those that they were`, async () => {
    await using place = await serve(data);
    const { id } = data.resources.find(({ filename }) => filename === "a.log")!;
    const window = await place.json(`/resources/${id}?start=0&count=9`);
    assertEquals(window.window.lines, ["one\n", "two\r\n", "\n", "last"]);
    const { bytes } = await place.ask(`/resources/${id}/search?q=las`);
    assertObjectMatch(JSON.parse(String(Buffer.from(bytes)).split("\n")[0]), {
      line: 3,
      offset: 10,
    });
    const shown = await fetch(
      `${place.server.url}/resources/${id}/content?access=${data.link}`,
    );
    assertEquals([shown.status, await shown.text()], [200, "one\ntwo\r\n\nlast"]);
  });

  test(`uploads that ${release} had begun go on by their secrets`, async () => {
    await using place = await serve(data);
    const [first, second] = data.uploads.map((path) => path.split("/").slice(2));
    const [id, secret] = first;
    const upload = await resumePush(place.server.url, `${id}:${secret}`, { token: data.token });
    const writer = upload.writable.getWriter();
    await writer.write(utf8("one\ntwo\n"));
    await writer.close();
    await within("the end", upload.done);
    const { headers } = await place.ask(data.uploads[1], { method: "HEAD" });
    assertEquals(headers.get("upload-offset"), "5");
    const digest = await createDigest("xxh128");
    digest.update(utf8("one\ntwo\n"));
    const proof = { "Stream-Digest": digest.value() };
    const fields = { "Upload-Offset": "5", "Upload-Complete": "?1", ...proof };
    const type = { "Content-Type": "application/partial-upload" };
    const last = { method: "PATCH", headers: { ...type, ...fields }, body: "wo\n" };
    assertEquals((await place.ask(data.uploads[1], last)).status, 200);
    for (const path of [id, second[0]]) {
      const { bytes } = await place.ask(`/resources/${path}/content`);
      assertEquals(String(Buffer.from(bytes)), "one\ntwo\n");
      const { transferStatus, numberOfLines } = await place.json(`/resources/${path}`);
      assertEquals([transferStatus, numberOfLines], ["COMPLETED", 2]);
    }
  });

  if (data.stream === null) continue;
  const stream = data.stream;
  test(`a durable stream of ${release} knows the appends of its producers`, async () => {
    await using place = await serve(data);
    const append = async (seq: number, body: string) => {
      const producer = { "Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": String(seq) };
      const headers = { "Content-Type": "text/plain", ...producer };
      return (await place.ask(stream, { method: "POST", headers, body })).status;
    };
    assertEquals([await append(0, "one\n"), await append(1, "two\n")], [204, 200]);
    const { bytes } = await place.ask(`${stream}?offset=-1`);
    assertEquals(String(Buffer.from(bytes)), "one\ntwo\n");
  });
}
