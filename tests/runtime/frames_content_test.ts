/** Requests at frame level: of clients that offer another protocol, that leave, and that do not wait for answers. */
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { framesRuntime } from "../../src/runtime/frames.ts";
import { within } from "../helpers/frames/connection.ts";
import { RawPeer } from "../helpers/frames/frames.ts";

type Fetch = (request: Request) => Promise<Response>;

/** A listener, and a client that has sent the head of a request. */
async function begin(fetch: Fetch, fields: string[]) {
  const listener = await framesRuntime().listen({ hostname: "127.0.0.1", port: 0, fetch });
  const peer = new RawPeer(listener.port);
  const head = ["PUT / HTTP/1.1", "Host: a", ...fields, "", ""].join("\r\n");
  await peer.write(head);
  const close = async () => {
    peer[Symbol.dispose]();
    await listener.close();
  };
  return { peer, [Symbol.asyncDispose]: close };
}

/** Everything that a body has, and whether it ended well. */
async function readAll(body: ReadableStream<Uint8Array>): Promise<[number, string]> {
  let length = 0;
  try {
    for await (const chunk of body) length += chunk.length;
  } catch {
    return [length, "broke off"];
  }
  return [length, "whole"];
}

test("content arrives from clients that offer h2c with it, as Java's HttpClient and curl do", async () => {
  for (const protocol of ["h2c", "websocket"]) {
    const begun = Promise.withResolvers<void>();
    await using server = await begin(async (request) => {
      begun.resolve();
      return new Response(await request.text());
    }, [`Connection: Upgrade, HTTP2-Settings, close`, `Upgrade: ${protocol}`, "Content-Length: 5"]);
    // By then the head was read alone.
    await within("a request", begun.promise);
    await server.peer.write("hello");
    assertEquals((await within("an answer", server.peer.readHead())).status, 200);
    assertEquals((await within("its body", server.peer.readAll())).toString(), "hello");
  }
});

test("what arrived before its client left is there for who takes it later", async () => {
  const size = 100_000;
  const chunk = `3e8\r\n${"x".repeat(1000)}\r\n`;
  const contents: [fields: string, content: string, end: string][] = [
    [`Content-Length: ${size}`, "x".repeat(size), "whole"],
    [`Content-Length: ${size + 1}`, "x".repeat(size), "broke off"],
    ["Transfer-Encoding: chunked", chunk.repeat(size / 1000) + "0\r\n\r\n", "whole"],
    ["Transfer-Encoding: chunked", chunk.repeat(size / 1000), "broke off"],
  ];
  for (const [field, content, end] of contents) {
    const begun = Promise.withResolvers<void>();
    const read = Promise.withResolvers<[number, string]>();
    await using server = await begin(async (request) => {
      begun.resolve();
      const left = new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      const reader = request.body!.getReader();
      // So much that the client has to be slowed down, before anything is taken.
      const { value } = await reader.read();
      reader.releaseLock();
      await left;
      const [length, how] = await readAll(request.body!);
      read.resolve([value!.length + length, how]);
      return new Response();
    }, [field]);
    await within("a request", begun.promise);
    server.peer.socket.end(Buffer.from(content));
    assertEquals(await within("the content", read.promise), [size, end], field);
  }
});

test("a request that comes with the one before it is looked at when that was answered", async () => {
  const steps: string[] = [];
  await using server = await begin(async (request) => {
    const { pathname } = new URL(request.url);
    steps.push(`${pathname} begins`);
    await request.text();
    await new Promise((resolve) => setTimeout(resolve));
    steps.push(`${pathname} ends`);
    return new Response(pathname);
  }, ["Content-Length: 1"]);
  await server.peer.write("xGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const answers = (await within("the answers", server.peer.readAll())).toString();
  assertEquals(steps, ["/ begins", "/ ends", "/2 begins", "/2 ends"]);
  assertEquals(answers.match(/^\/2?(?=HTTP|$)/gm), ["/", "/2"]);
});
