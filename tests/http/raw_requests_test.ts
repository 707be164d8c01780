/** Requests as no library sends them: without a Host, with one that is none, with trailers. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { AccessEntry } from "../../mod.ts";
import { isFinal } from "../../src/protocol.ts";
import { within } from "../helpers/frames/connection.ts";
import { RawPeer } from "../helpers/frames/frames.ts";
import { startServer, type TestServer } from "../helpers/server.ts";

/** All that is answered until the server hangs up. */
async function ask({ url }: TestServer, request: string): Promise<string> {
  using peer = new RawPeer(Number(new URL(url).port));
  await peer.write(request);
  return (await within("an answer", peer.readAll())).toString("latin1");
}

const statusOf = (answer: string) => Number(answer.split(" ")[1]);

test("the secret of an upload is in no log, whether or not a request names a host", async () => {
  const entries: AccessEntry[] = [];
  await using server = await startServer({ accessLog: (entry) => entries.push(entry) });
  const secret = "0123456789abcdef".repeat(4);
  const path = `/uploads/${crypto.randomUUID()}/${secret}`;
  for (const host of ["", "Host: 127.0.0.1\r\nConnection: close\r\n"]) {
    const version = host === "" ? "1.0" : "1.1";
    assertEquals(
      statusOf(await ask(server, `GET ${path} HTTP/${version}\r\n${host}\r\n`)),
      404,
    );
  }
  assertEquals(entries.length, 2);
  for (const entry of entries) assert(!JSON.stringify(entry).includes(secret), entry.path);
});

test("a Host that is none is the client's fault", async () => {
  const faults: string[] = [];
  const log = { info() {}, error: (event: string) => faults.push(event) };
  await using server = await startServer({ log });
  for (const host of ["[::1", "a b", "x:y:z"]) {
    const answer = await ask(
      server,
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    assertEquals(statusOf(answer), 400, host);
  }
  assertEquals(faults, []);
});

test("an upload with trailers is COMPLETED and said so, or refused and nowhere", async () => {
  await using server = await startServer();
  const id = crypto.randomUUID();
  const answer = await ask(
    server,
    `PUT /resources/${id}?name=a.log HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTrailer: x-a\r\n` +
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-a: 1\r\n\r\n",
  );
  const { status } = await fetch(`${server.url}/resources/${id}`);
  assertEquals([statusOf(answer), status], statusOf(answer) === 201 ? [201, 200] : [400, 404]);
});

test("an upload of a transfer coding that is not decoded is refused, and nowhere", async () => {
  await using server = await startServer();
  const answer = await ask(
    server,
    "PUT /resources/a.log HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" +
      "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  );
  assertEquals(statusOf(answer), 400);
  assertEquals(await server.resources.list({ limit: 1 }), []);
});

test("an append to a stream is there if its sender hears that, and only then", async () => {
  await using server = await startServer();
  const stream = `${server.url}/streams/a`;
  const type = { "content-type": "text/plain" };
  await fetch(stream, { method: "PUT", headers: type });
  const answer = await ask(
    server,
    "POST /streams/a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: text/plain\r\n" +
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-a: 1\r\n\r\n",
  );
  const isThere = await (await fetch(stream)).text() === "abc";
  assertEquals([statusOf(answer), isThere], isThere ? [204, true] : [400, false]);
});

test("an upload whose trailers nobody announced is COMPLETED if its client hears that, and else FAILED", async () => {
  await using server = await startServer();
  const atOnce = ["3\r\nabc\r\n0\r\nx-a: 1\r\n\r\n"];
  const inPieces = ["3\r\nabc\r\n", "0\r\nx-a", ": 1\r\n\r\n"];
  for (const content of [atOnce, inPieces]) {
    const ended = Promise.withResolvers<string>();
    const stop = server.resources.listen((event) => {
      if (event.type !== "status" || !isFinal(event.status.transferStatus)) return;
      ended.resolve(event.status.transferStatus);
    });
    using peer = new RawPeer(Number(new URL(server.url).port));
    await peer.write(
      "PUT /resources/a.log HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" +
        "Transfer-Encoding: chunked\r\n\r\n",
    );
    for (const piece of content) await peer.write(piece);
    const answer = (await within("an answer", peer.readAll())).toString("latin1");
    const status = await within("an end", ended.promise);
    assertEquals(
      [statusOf(answer), status],
      statusOf(answer) === 201 ? [201, "COMPLETED"] : [400, "FAILED"],
    );
    stop();
  }
});
