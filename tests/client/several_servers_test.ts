/** Clients of a service that has several servers: they go on at the next one when theirs is gone. */
import { createServer } from "node:http";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  deleteResource,
  follow,
  getLines,
  getResource,
  listContexts,
  listResources,
  open,
  push,
  search,
  SignedLinks,
  statusEvents,
  type Transport,
} from "../../mod.ts";
import { Service } from "../../src/client/connection/service.ts";
import { locate } from "../../src/client/target.ts";
import { MovedError, StreamError } from "../../src/protocol.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { Proxy } from "../helpers/faults/proxy.ts";
import { MoodyProxy } from "../helpers/frames/moody_proxy.ts";
import { within } from "../helpers/frames/connection.ts";
import { Cluster } from "../helpers/nodes.ts";
import { startServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

/** Two servers of one service; the first can be gone. */
async function twoServers() {
  const cluster = new Cluster();
  const [a, b] = [await startServer(cluster.options("a")), await startServer(cluster.options("b"))];
  const first = await Proxy.open(Number(new URL(a.url).port));
  let isGone = false;
  const gone = async () => {
    if (!isGone) await first[Symbol.asyncDispose]();
    isGone = true;
  };
  return {
    first,
    second: b,
    both: `${first.url},${b.url}`,
    gone,
    async [Symbol.asyncDispose]() {
      await gone();
      await a[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

for (const transport of ["ws", "http"] satisfies Transport[]) {
  test(`by ${transport}, a push and a follower go on at the next server, with every byte once`, async () => {
    await using servers = await twoServers();
    const options = { transport, retryForMs: 30_000 };
    const upload = await push(servers.both, metadata, options);
    const id = upload.reference.split("/").at(-1)!;
    const text = new Response(follow(id, { server: servers.both, ...options })).text();
    const writer = upload.writable.getWriter();
    const lines = Array.from({ length: 40 }, (_, at) => `line ${at}\n`);
    for (const [at, line] of lines.entries()) {
      await writer.write(utf8(line));
      if (at === 20) await servers.gone();
    }
    await writer.close();
    assertEquals((await within("the end", upload.done)).size, lines.join("").length);
    assertEquals(await within("the follower", text), lines.join(""));
  });
}

test("a push and a follower that know one server go on where it says when it ends, with the token", async () => {
  await using cluster = new Cluster();
  const everything = { name: "t", contextId: null, resourceId: null, expiresAtMs: null };
  const tokens = {
    authenticate: (token: string) =>
      Promise.resolve(
        token === "t" ? { ...everything, scopes: ["upload", "read"] as const } : null,
      ),
  };
  const access = { tokens, links: new SignedLinks() };
  const start = (node: string) => startServer({ ...cluster.options(node), access });
  await using a = await start("a");
  await using b = await start("b");
  const options = { token: "t", retryForMs: 30_000 };
  const upload = await push(a.url, metadata, options);
  const id = upload.reference.split("/").at(-1)!;
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  const follower = await open(id, { server: a.url, ...options });
  const text = new Response(follower.read()).text();
  await a.server.close([b.url]);
  await writer.write(utf8("two\n"));
  await writer.close();
  assertEquals((await within("the end", upload.done)).size, 8);
  assertEquals(await within("the follower", text), "one\ntwo\n");
});

test("by http, a push that knows one server goes on where the answer to a request says", async () => {
  await using cluster = new Cluster();
  await using a = await startServer(cluster.options("a"));
  await using b = await startServer(cluster.options("b"));
  await using proxy = await MoodyProxy.open(a.url);
  const upload = await push(proxy.url, metadata, { transport: "http", retryForMs: 30_000 });
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  const problem = { title: "SHUTDOWN", status: 503, detail: "it ends", code: "SHUTDOWN" };
  const body = JSON.stringify({ ...problem, servers: [b.url] });
  const headers = { "content-type": "application/problem+json" };
  proxy.answers.push({ status: 503, headers, body, path: /\/uploads\// });
  await writer.write(utf8("two\n"));
  await writer.close();
  assertEquals((await within("the end", upload.done)).size, 8);
  assertEquals(proxy.given, 1);
  const id = upload.reference.split("/").at(-1)!;
  assertEquals((await b.resources.get(id)).status.transferStatus, "COMPLETED");
});

test("requests are answered by the next server, and what was meant is not asked for again", async () => {
  await using servers = await twoServers();
  const upload = await push(servers.second.url, { ...metadata }, { contextId: "run" });
  const id = upload.reference.split("/").at(-1)!;
  await new Blob(["one\ntwo\n"]).stream().pipeTo(upload.writable);
  await upload.done;
  const server = servers.both;
  const nowhere = crypto.randomUUID();
  const [first, before] = [servers.first.url, servers.first.accepted];
  await assertFails("NOT_FOUND", () => getResource(nowhere, { server }));
  assert(servers.first.accepted > before);
  await servers.gone();
  await assertFails("UNREACHABLE", () => getResource(id, { server: first }));
  assertEquals((await getResource(id, { server })).currentSize, 8);
  assertEquals((await Array.fromAsync(listResources(server))).map((info) => info.id), [id]);
  assertEquals((await Array.fromAsync(listContexts(server))).map((context) => context.id), ["run"]);
  assertEquals((await getLines(id, { server })).lines, ["one\n", "two\n"]);
  const download = await open(id, { server });
  assertEquals(download.status.currentSize, 8);
  download.close();
  await deleteResource(id, { server });
  await assertFails("NOT_FOUND", () => getResource(id, { server }));
});

test("a token goes to every server of the service, and to no other", () => {
  const server = "http://a.example,https://b.example/logs";
  const id = crypto.randomUUID();
  const tokenAt = (base: string) => locate(`${base}/resources/${id}`, { server, token: "t" }).token;
  assertEquals(["http://a.example", "https://b.example/logs"].map(tokenAt), ["t", "t"]);
  assertEquals(["http://c.example", "http://b.example"].map(tokenAt), [undefined, undefined]);
});

test("the server of a reference is asked first, and one that is not of the service alone", () => {
  const server = "http://a,http://b,http://c";
  const id = crypto.randomUUID();
  const at = (base: string) => locate(`${base}/resources/${id}`, { server }).service.all;
  assertEquals(at("http://b"), "http://b,http://c,http://a");
  assertEquals(at("http://d"), "http://d");
  assertEquals(locate(id, { server }).service.all, server);
});

test("only a server that may be gone or busy is left, and once for all who ask it", () => {
  const service = Service.at("http://a, http://b/ ,http://a");
  assertEquals(service.all, "http://a,http://b");
  assertEquals(service.leave("http://a", new StreamError("NOT_FOUND", "no")), false);
  assertEquals(service.server, "http://a");
  const gone = new StreamError("UNREACHABLE", "gone");
  assertEquals([service.leave("http://a", gone), service.leave("http://a", gone)], [true, true]);
  assertEquals(service.server, "http://b");
  assertEquals(Service.at("http://a").leave("http://a", gone), false);
});

test("servers that an ending one names are asked first; its own stay, and whoever is named next takes their place", () => {
  const service = Service.at("http://a,http://b");
  const ends = (server: string, ...servers: string[]) =>
    service.leave(server, new MovedError("ends", servers));
  const rest = () => {
    const servers = [service.server];
    for (let at = 1; at < service.count; at++) {
      service.leave(service.server, new StreamError("UNREACHABLE", "gone"));
      servers.push(service.server);
    }
    return servers;
  };
  ends("http://a", "https://c", "http://a");
  assertEquals(rest(), ["https://c", "http://b", "http://a"]);
  ends("https://c", "https://d");
  assertEquals(rest(), ["https://d", "http://a", "http://b"]);
  assertEquals(service.all, "http://b,http://a");
  assertEquals(service.serves("https://d"), false);
});

test("no name is believed that leads from TLS to none, is no address, comes by a reference, or is one too many", () => {
  const named = (service: Service, ...servers: string[]) => {
    service.leave(service.server, new MovedError("ends", servers));
    return service.count - 1;
  };
  const strange = ["http://b", "ws://b", "b", "file:///b", ""];
  assertEquals(named(Service.at("https://a"), ...strange, "https://b"), 1);
  const server = "http://a";
  const id = crypto.randomUUID();
  const foreign = locate(`http://x/resources/${id}`, { server }).service;
  const alone = locate(`http://x/resources/${id}`, {}).service;
  const own = locate(`http://a/resources/${id}`, { server }).service;
  assertEquals([foreign, alone, own].map((service) => named(service, "http://b")), [0, 0, 1]);
  const many = Array.from({ length: 100 }, (_, at) => `http://h${at}`);
  assertEquals(named(Service.at("http://a,http://b"), ...many), 15);
});

test("a named server that refuses for itself is left like one that is not there", () => {
  const service = Service.at("http://a");
  service.leave("http://a", new MovedError("ends", ["http://b"]));
  const codeAt = (server: string, code: "UNAUTHORIZED" | "FENCED") =>
    service.meant(server, new StreamError(code, "no")).code;
  assertEquals(codeAt("http://b", "UNAUTHORIZED"), "UNREACHABLE");
  assertEquals(codeAt("http://b", "FENCED"), "FENCED");
  assertEquals(codeAt("http://a", "UNAUTHORIZED"), "UNAUTHORIZED");
});

test("what is no address, and too many, are named", async () => {
  for (
    const server of [
      "http://a,",
      "http://a,b",
      Array(17).fill(0).map((_, at) => `http://h${at}`).join(),
    ]
  ) {
    await assertFails("BAD_REQUEST", () => push(server, metadata));
  }
});

for (const transport of ["auto", "ws", "http"] as const) {
  test(`one of several that is another service is left for the next: ${transport}`, async () => {
    await using server = await startServer();
    for (const [status, body] of [[200, "<html>"], [404, "no such page"]] as const) {
      const other = createServer((_request, response) => void response.writeHead(status).end(body));
      await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
      try {
        const { port } = other.address() as { port: number };
        const service = `http://127.0.0.1:${port},${server.url}`;
        const upload = await push(service, metadata, { transport });
        await new Blob(["one\n"]).stream().pipeTo(upload.writable);
        const id = upload.resumeToken.split(":")[0];
        const text = new Response(follow(id, { server: service, transport })).text();
        assertEquals(await within("the follower", text), "one\n");
        const at = { server: service };
        assertEquals((await getResource(id, at)).id, id);
        assertEquals((await listResources(service).next()).value?.id, id);
        assertEquals((await getLines(id, at)).lines, ["one\n"]);
        for await (const { line } of search(id, "one", at)) assertEquals(line, 0);
        assertEquals((await statusEvents(id, at).next()).value?.currentSize, 4);
        await deleteResource(id, at);
      } finally {
        other.closeAllConnections();
        await new Promise((resolve) => other.close(resolve));
      }
    }
  });
}
