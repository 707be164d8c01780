/** What the viewer's model knows across connections that break: the resources of a context, and searches. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { deleteResource, push, type PushedUpload } from "../../mod.ts";
import type { ResourceStatus } from "../../src/client.ts";
import { ContextFeed } from "../../src/viewer/model/context.ts";
import { ResourceSource } from "../../src/viewer/model/source.ts";
import { assertFails } from "../helpers/errors.ts";
import { Proxy } from "../helpers/faults/proxy.ts";
import { within } from "../helpers/frames/connection.ts";
import { startServer } from "../helpers/server.ts";

const CONTEXT = "run";

function begin(server: string, filename: string): Promise<PushedUpload> {
  const metadata = { filename, mimeType: "text/plain", supportsLineAccess: true };
  return push(server, metadata, { contextId: CONTEXT });
}

const idOf = ({ reference }: PushedUpload) => reference.split("/").at(-1)!;

test("a context knows after a lost connection what was deleted meanwhile, and that it is connected", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const [stays, goes] = [await begin(server.url, "stays.log"), await begin(server.url, "goes.log")];
  goes.done.catch(() => {});
  let look = () => {};
  const feed = new ContextFeed(proxy.url, CONTEXT, undefined, () => look());
  const until = (what: string, isTrue: () => boolean) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    look = () => isTrue() && resolve();
    look();
    return within(what, promise);
  };
  void feed.open();
  await until("two resources", () => feed.members.size === 2);
  const stop = new AbortController();
  const lost = Promise.withResolvers<void>();
  const follow = (upload: PushedUpload) =>
    feed.statuses(idOf(upload), stop.signal, () => lost.resolve());
  const [stayed, gone] = [follow(stays), follow(goes)];
  const told = (await within("a status", stayed.next())).value as ResourceStatus;
  await within("a status", gone.next());
  proxy.refusing = true;
  proxy.cut();
  await within("the loss", lost.promise);
  await deleteResource(idOf(goes), { server: server.url, force: true });
  proxy.refusing = false;
  // Who was told that the connection is lost hears a status again, though it is the same.
  await within("a status", gone.next());
  await assertFails("DELETED", () => within("the end", gone.next()));
  await until("one resource", () => feed.members.size === 1);
  const again = (await within("a status", stayed.next())).value as ResourceStatus;
  assertEquals([again.epoch, again.sequence], [told.epoch, told.sequence]);
  assertEquals([...feed.members.values()].map(({ filename }) => filename), ["stays.log"]);
  stop.abort();
  feed.sleep();
  await stays.writable.close();
});

test("a search that breaks off goes on where it was", async () => {
  const asked: string[] = [];
  const heard = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    const query = new URL(request.url!, "http://x").searchParams;
    asked.push(`from ${query.get("from")}, at most ${query.get("limit")}`);
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    const say = (answer: unknown) => response.write(`${JSON.stringify(answer)}\n`);
    const isFirst = asked.length === 1;
    say({ line: isFirst ? 5 : 900, text: "hit" });
    if (isFirst) {
      say({ searchedLines: 700 });
      void heard.promise.then(() => response.destroy());
    } else {
      say({ end: true, nextLine: 1000, truncated: false, partialLines: 0 });
      response.end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const reference = `http://127.0.0.1:${port}/resources/${crypto.randomUUID()}`;
    const source = new ResourceSource({ reference, token: undefined }, () => Promise.reject());
    const { signal } = new AbortController();
    const query = { pattern: "hit", regex: false, ignoreCase: false };
    const found = source.find(query, 0, 10, signal, () => heard.resolve());
    const hits: number[] = [];
    for (;;) {
      const { done, value } = await within("a hit", found.next());
      if (done) {
        assertEquals(value.nextLine, 1000);
        break;
      }
      hits.push(value.line);
    }
    assertEquals(hits, [5, 900]);
    assertEquals(asked, ["from 0, at most 10", "from 700, at most 9"]);
  } finally {
    server.close();
  }
});
