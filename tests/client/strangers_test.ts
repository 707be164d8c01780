/** What answers in the place of a server: pages to log in, other services, redirects. None of it is believed. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  closeContext,
  contextEvents,
  deleteResource,
  follow,
  getContext,
  getResource,
  listContexts,
  listResources,
  push,
  search,
  shareResource,
  statusEvents,
} from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { MoodyProxy, type ProxyAnswer } from "../helpers/frames/moody_proxy.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const ID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

const PAGE: ProxyAnswer = {
  status: 200,
  headers: { "content-type": "text/html" },
  body: "<!doctype html><p>Please log in</p>\n",
};
const STRANGERS: Record<string, ProxyAnswer> = {
  "a page to log in": PAGE,
  "another service": {
    status: 200,
    headers: { "content-type": "application/json" },
    body: '{"ok":true}',
  },
  "a list of another service": {
    status: 200,
    headers: { "content-type": "application/json" },
    body: '[{"ok":true}]',
  },
  "a redirect to a page": { status: 302, headers: { location: "/login" } },
  "nothing": { status: 204 },
  "another service that knows no such path": { status: 404, body: "default backend - 404" },
  "another service that wants a password": { status: 401 },
};

/** A server that is none of ours. */
async function strangeServer(answer: ProxyAnswer) {
  const listener = createServer((incoming, outgoing) => {
    incoming.resume();
    const { status, headers, body } = incoming.url === "/login" ? PAGE : answer;
    outgoing.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Everything that a client may ask. */
const QUESTIONS: Record<string, (server: string) => Promise<unknown>> = {
  listResources: (server) => all(listResources(server)),
  getResource: (server) => getResource(ID, { server }),
  deleteResource: (server) => deleteResource(ID, { server }),
  shareResource: (server) => shareResource(ID, { server }),
  listContexts: (server) => all(listContexts(server)),
  getContext: (server) => getContext(server, "a"),
  closeContext: (server) => closeContext(server, "a"),
  search: (server) => all(search(ID, "x", { server })),
  statusEvents: (server) => all(statusEvents(ID, { server })),
  contextEvents: (server) => all(contextEvents(server, "a")),
  push: async (server) => await push(server, metadata),
  follow: async (server) => await new Response(follow(ID, { server })).text(),
  "follow by HTTP": async (server) =>
    await new Response(follow(ID, { server, transport: "http" })).text(),
};

for (const [what, answer] of Object.entries(STRANGERS)) {
  test(`${what} is no server: whatever is asked is UNREACHABLE, at once, and nothing is done`, async () => {
    await using stranger = await strangeServer(answer);
    for (const [question, ask] of Object.entries(QUESTIONS)) {
      // That is how a deletion is answered.
      if (answer.status === 204 && question === "deleteResource") continue;
      const error = await within(question, assertFails("UNREACHABLE", () => ask(stranger.url)));
      assert(
        / is no stream server| redirects to | is it a stream server/.test(error.message),
        `${question}: ${error}`,
      );
    }
  });
}

test("a page that takes the place of content in the middle is no content", async () => {
  await using server = await startServer();
  await using proxy = await MoodyProxy.open(server.url);
  const upload = await push(server.url, metadata);
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  proxy.answers.push({ ...PAGE, path: /\/content/ });
  const reference = upload.reference.replace(new URL(server.url).port, new URL(proxy.url).port);
  const text = new Response(follow(reference, { transport: "http" })).text();
  await writer.write(utf8("two\n"));
  await writer.close();
  assertEquals(await within("the follower", text), "one\ntwo\n");
  assertEquals(proxy.given, 1);
});
