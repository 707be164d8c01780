import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type ContextEvent,
  contextEvents,
  getLines,
  getResource,
  listContexts,
  listResources,
  push,
  resourceEvents,
  search,
  type SearchMatch,
  statusEvents,
  StreamError,
} from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { Proxy } from "../helpers/faults/proxy.ts";
import { startServer } from "../helpers/server.ts";

const text = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

/** Uploads a text; its reference. */
async function pushed(server: string, content: string, contextId?: string): Promise<string> {
  const upload = await push(server, text, { contextId });
  const writer = upload.writable.getWriter();
  await writer.write(utf8(content));
  await writer.close();
  await upload.done;
  return upload.reference;
}

test("getLines gives a window of lines, and where the next one begins", async () => {
  await using server = await startServer();
  const long = "x".repeat(300 * 1024);
  const reference = await pushed(server.url, `one\ntwo\n${long}\nlast`);
  const { life, ...window } = await getLines(reference, { start: 1, count: 1 });
  assertMatch(life, /^[0-9a-z]+$/);
  assertEquals(window, {
    startingLineIndex: 1,
    linesCount: 1,
    startOffset: 4,
    endOffset: 8,
    lines: ["two\n"],
    next: null,
    numberOfLines: 4,
    transferStatus: "COMPLETED",
  });
  const first = await getLines(reference, { start: -2, count: 2 });
  assertEquals(first.next, { lineIndex: 2, byteOffset: 256 * 1024 });
  const { lineIndex, byteOffset } = first.next!;
  const rest = await getLines(reference, { start: lineIndex, byteOffset, count: 2 });
  assertEquals(first.lines.concat(rest.lines).join(""), `${long}\nlast`);
});

test("getLines fails with the server's reason, and with that of its signal", async () => {
  await using server = await startServer();
  const reference = await pushed(server.url, "one\n");
  await assertFails("LINES_NOT_AVAILABLE", () => getLines(reference, { start: 5 }));
  const signal = AbortSignal.abort(new StreamError("ABORTED", "enough"));
  await assertFails("ABORTED", () => getLines(reference, { signal }));
});

test("an answer to getLines that breaks off is one of a server that cannot be reached", async () => {
  const server = createServer((socket) => {
    socket.once("data", () => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"lines":[');
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  await assertFails("UNREACHABLE", () => {
    return getLines(`http://127.0.0.1:${port}/resources/${crypto.randomUUID()}`);
  });
  await new Promise((resolve) => server.close(resolve));
});

test("search gives matches as they are found, and where to go on", async () => {
  await using server = await startServer();
  const reference = await pushed(server.url, "an error\nfine\nan Error\n");
  const found: SearchMatch[] = [];
  const matches = search(reference, "ERROR", { ignoreCase: true, limit: 1 });
  for (;;) {
    const { done, value } = await matches.next();
    if (done) {
      assertEquals(value, { nextLine: 1, truncated: true, partialLines: 0 });
      break;
    }
    found.push(value);
  }
  assertEquals(found.map(({ line, offset, length }) => [line, offset, length]), [[0, 3, 5]]);
  await assertFails("BAD_REQUEST", () => search(reference, "(", { regex: true }).next());
});

test("a search tells how far it has come, if somebody wants to know", async () => {
  await using server = await startServer();
  const lines = 400_000;
  const reference = await pushed(server.url, `${"x".repeat(98)}\n`.repeat(lines));
  const seen: number[] = [];
  // Nothing but a slow expression takes longer than the pause between two words.
  const matches = search(reference, "(x?){40}[yz]", {
    regex: true,
    onProgress: (searchedLines) => seen.push(searchedLines),
  });
  assertEquals((await matches.next()).value, {
    nextLine: lines,
    truncated: false,
    partialLines: 0,
  });
  assert(seen.length > 0 && seen.every((line) => line > 0 && line <= lines), seen.join());
  assertEquals(seen, seen.toSorted((a, b) => a - b));
});

test("events give the status at once, at every change, and end with the last", async () => {
  await using server = await startServer();
  const upload = await push(server.url, text);
  const statuses = statusEvents(upload.reference);
  assertEquals((await statuses.next()).value?.transferStatus, "INITIATED");
  const writer = upload.writable.getWriter();
  await writer.write(utf8("one\n"));
  let last = await statuses.next();
  assertEquals(last.value?.numberOfLines, 1);
  await writer.close();
  for (let next = last; !next.done; next = await statuses.next()) last = next;
  assertEquals(last.value?.transferStatus, "COMPLETED");
});

test("events of an unknown resource fail with NOT_FOUND", async () => {
  await using server = await startServer();
  const missing = `${server.url}/resources/${crypto.randomUUID()}`;
  await assertFails("NOT_FOUND", () => statusEvents(missing).next());
});

test("events that are given up fail with the reason of their signal", async () => {
  await using server = await startServer();
  const upload = await push(server.url, text);
  const stop = new AbortController();
  const statuses = statusEvents(upload.reference, { signal: stop.signal });
  await statuses.next();
  const next = statuses.next();
  stop.abort(new StreamError("ABORTED", "enough"));
  const error = await assertRejects(() => next, StreamError);
  assertEquals(error.code, "ABORTED");
});

test("whoever listens to events hears when a connection stands, and when it stands again", async () => {
  await using server = await startServer();
  await using proxy = await Proxy.open(Number(new URL(server.url).port));
  const upload = await push(server.url, text);
  const heard: string[] = [];
  const statuses = statusEvents(upload.reference.slice(-36), {
    server: proxy.url,
    onOpen: () => heard.push("open"),
    onRetry: () => heard.push("lost"),
    onReconnect: () => heard.push("again"),
  });
  await statuses.next();
  proxy.cut();
  await statuses.next();
  assertEquals(heard, ["open", "lost", "again", "open"]);
  await statuses.return();
  await upload.writable.close();
});

test("events of a context begin with what is there, then tell what happens", async () => {
  await using server = await startServer();
  await pushed(server.url, "one\n", "run");
  const stop = new AbortController();
  const seen: ContextEvent[] = [];
  const listening = (async () => {
    for await (const event of contextEvents(server.url, "run", { signal: stop.signal })) {
      seen.push(event);
      if (seen.length === 1) void pushed(server.url, "two\n", "run");
      if (event.type === "status" && event.status.transferStatus === "COMPLETED") stop.abort();
    }
  })();
  await listening.catch(() => {});
  assertEquals(seen[0].type, "resource");
  assert(seen.some(({ type }) => type === "created"));
  assert(stop.signal.aborted);
});

test("listContexts gives all of them, page by page", async () => {
  await using server = await startServer();
  for (const id of ["a", "b", "c"]) await server.resources.createContext(id);
  const ids: string[] = [];
  for await (const { id } of listContexts(server.url, { pageSize: 2 })) ids.push(id);
  assertEquals(ids.sort(), ["a", "b", "c"]);
});

test("resourceEvents tell what happens to all resources, and name their pages", async () => {
  await using server = await startServer();
  const stop = new AbortController();
  const seen: string[] = [];
  const opened = Promise.withResolvers<void>();
  const options = { signal: stop.signal, onOpen: opened.resolve };
  const listening = (async () => {
    for await (const event of resourceEvents(server.url, options)) {
      seen.push(event.type === "status" ? event.status.transferStatus : event.type);
      if (seen.includes("COMPLETED")) stop.abort();
    }
  })();
  await opened.promise;
  const reference = await pushed(server.url, "one\n");
  await listening.catch(() => {});
  assertEquals(seen, ["created", "COMPLETED"]);
  const { id, view } = await getResource(reference);
  assertEquals(view, `${server.url}/view/${id}`);
});

test("a list holds only names with a part", async () => {
  await using server = await startServer();
  await pushed(server.url, "one\n");
  const named = async (filenamePart: string) => {
    const found: string[] = [];
    for await (const { filename } of listResources(server.url, { filenamePart })) {
      found.push(filename);
    }
    return found;
  };
  assertEquals([await named("A.L"), await named("b")], [["a.log"], []]);
});
