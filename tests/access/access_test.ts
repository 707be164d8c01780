/** Access control on servers that listen: HTTP, WebSocket, browsers, and our client. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import {
  FileTokens,
  framesRuntime,
  type Grant,
  loadRuntime,
  type Scope,
  SignedLinks,
} from "../../mod.ts";
import { createToken, revokeToken } from "../../src/access/token_file.ts";
import {
  deleteResource,
  follow,
  getResource,
  listResources,
  open,
  push,
  type PushOptions,
  resumePush,
  shareResource,
} from "../../src/client.ts";
import { parseReference, SUBPROTOCOL } from "../../src/protocol.ts";
import type { ServerOptions } from "../../src/server.ts";
import { assertFails } from "../helpers/errors.ts";
import { within } from "../helpers/frames/connection.ts";
import { HttpRequest } from "../helpers/peers/http_request.ts";
import { RawClient, rawUpgrade, startServer, type TestServer } from "../helpers/server.ts";
import { StepClient } from "../helpers/step/client.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

/** A server that wants tokens, and what makes them. */
interface Guarded extends AsyncDisposable {
  server: TestServer;
  links: SignedLinks;
  token(grant?: Partial<Parameters<typeof createToken>[1]>): Promise<string>;
}

async function startGuarded(options: Partial<ServerOptions> = {}): Promise<Guarded> {
  const directory = await temporaryDirectory();
  const path = join(directory.path, "tokens");
  let made = 0;
  const token: Guarded["token"] = async (grant = {}) =>
    await createToken(path, {
      name: `token-${++made}`,
      scopes: ["upload", "read", "admin"],
      ...grant,
    });
  await token();
  const links = new SignedLinks();
  const clock = { ms: 0 };
  // Each request looks at the file: that it is looked at once a second has a test of its own.
  const now = () => Date.now() + (clock.ms += 1000);
  const tokens = await FileTokens.open({ path, now });
  const server = await startServer({ access: { tokens, links }, ...options });
  return {
    server,
    links,
    token,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await directory[Symbol.asyncDispose]();
    },
  };
}

async function upload(server: TestServer, options: PushOptions, text = "one\ntwo\n") {
  const pushed = await push(server.url, metadata, options);
  await new Blob([text]).stream().pipeTo(pushed.writable);
  await pushed.done;
  return { reference: pushed.reference, id: parseReference(pushed.reference).id };
}

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

test("a token that allows it uploads, reads, lists and deletes", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const token = await guarded.token();
  const { reference, id } = await upload(server, { token });
  assertEquals(await new Response(follow(reference, { token })).text(), "one\ntwo\n");
  assertEquals((await getResource(reference, { token })).id, id);
  const listed = await Array.fromAsync(listResources(server.url, { token }));
  assertEquals(listed.map((info) => info.id), [id]);
  await deleteResource(reference, { token });
  await assertFails("NOT_FOUND", () => getResource(reference, { token }));
});

test("without a token, with a wrong one or without the scope nothing is retried", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const { reference } = await upload(server, { token: await guarded.token() });
  const readToken = await guarded.token({ scopes: ["read"] });
  const uploadToken = await guarded.token({ scopes: ["upload"] });
  const onRetry = () => {
    throw new Error("it was tried again");
  };
  for (
    const [token, code] of [
      [undefined, "UNAUTHORIZED"],
      ["wrong", "UNAUTHORIZED"],
      [readToken, "FORBIDDEN"],
    ] as const
  ) {
    await assertFails(code, () => push(server.url, metadata, { token, onRetry }));
  }
  for (
    const [token, code] of [
      [undefined, "UNAUTHORIZED"],
      ["wrong", "UNAUTHORIZED"],
      [uploadToken, "FORBIDDEN"],
    ] as const
  ) {
    await assertFails(code, () => open(reference, { token, onRetry }));
    await assertFails(code, () => getResource(reference, { token }));
  }
  await assertFails("FORBIDDEN", () => deleteResource(reference, { token: readToken }));
  await assertFails("BAD_REQUEST", () => open(reference, { token: "a, stream.v2" }));
});

test("401 and 403 say what RFC 6750 wants", async () => {
  await using guarded = await startGuarded();
  const url = `${guarded.server.url}/resources`;
  const told = async (init?: RequestInit) => {
    const response = await fetch(url, init);
    const { code } = await response.json();
    return [response.status, response.headers.get("www-authenticate"), code];
  };
  const realm = `Bearer realm="stream"`;
  assertEquals(await told(), [401, realm, "UNAUTHORIZED"]);
  const invalid = [401, `${realm}, error="invalid_token"`, "UNAUTHORIZED"];
  assertEquals(await told(bearer("wrong")), invalid);
  assertEquals(await told({ headers: { authorization: "Basic YTpi" } }), invalid);
  const insufficient = `${realm}, error="insufficient_scope", scope="read"`;
  const token = await guarded.token({ scopes: ["upload", "admin"] });
  assertEquals(await told(bearer(token)), [403, insufficient, "FORBIDDEN"]);
});

test("a token in a URL is refused with a word on where it belongs, even a right one", async () => {
  await using guarded = await startGuarded();
  const token = await guarded.token();
  for (const [name, status] of [["access_token", 400], ["access", 401]] as const) {
    const response = await fetch(`${guarded.server.url}/resources?${name}=${token}`);
    assertEquals(response.status, status);
    const { detail } = await response.json();
    assertStringIncludes(detail, name === "access" ? "signed links only" : "never stands in a URL");
    assert(!detail.includes(token));
  }
});

test("a WebSocket is refused before it is one, and a token in a subprotocol is not echoed", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const token = await guarded.token({ scopes: ["upload"] });
  for (const runtime of [await loadRuntime(), framesRuntime()]) {
    const { port } = await server.server.listen({ port: 0, runtime });
    const ask = async (protocols: string | null, path = "/ws/streaming/upload") => {
      using answer = await rawUpgrade(`127.0.0.1:${port}`, path, {
        "Sec-WebSocket-Protocol": protocols,
      });
      return [answer.status, answer.headers.get("sec-websocket-protocol")];
    };
    assertEquals(await ask(SUBPROTOCOL), [401, null]);
    assertEquals(await ask(`${SUBPROTOCOL}, stream.bearer.wrong`), [401, null]);
    assertEquals(await ask(`${SUBPROTOCOL}, stream.bearer.${token}`), [101, SUBPROTOCOL]);
    assertEquals(await ask(`stream.bearer.${token},${SUBPROTOCOL}`), [101, SUBPROTOCOL]);
    const download = `/ws/streaming/download/${crypto.randomUUID()}`;
    assertEquals(await ask(`${SUBPROTOCOL}, stream.bearer.${token}`, download), [403, null]);
  }
});

test("the eleventh wrong credential of an address is 429, while a right one still gets in", async () => {
  await using guarded = await startGuarded();
  const url = `${guarded.server.url}/resources`;
  const token = await guarded.token();
  const statuses: number[] = [];
  for (let n = 0; n < 10; n++) statuses.push((await fetch(url, bearer("wrong"))).status);
  assertEquals(statuses, Array(10).fill(401));
  const limited = await fetch(url, bearer("wrong"));
  assertEquals([limited.status, limited.headers.get("retry-after")], [429, "6"]);
  assertEquals((await limited.json()).code, "RATE_LIMITED");
  assertEquals((await fetch(url, bearer(token))).status, 200);
  assertEquals((await fetch(url)).status, 401);
});

test("a token for one context uploads there, sees no others, and they look as if they did not exist", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const all = await guarded.token();
  const token = await guarded.token({ contextId: "run-17" });
  const mine = await upload(server, { token, contextId: "run-17" });
  const other = await upload(server, { token: all, contextId: "run-18" });
  await upload(server, { token: all });
  const listed = await Array.fromAsync(listResources(server.url, { token, pageSize: 1 }));
  assertEquals(listed.map(({ id }) => id), [mine.id]);
  for (const contextId of [undefined, "run-18"]) {
    await assertFails("FORBIDDEN", () => push(server.url, metadata, { token, contextId }));
  }
  await assertFails("FORBIDDEN", async () => {
    await Array.fromAsync(listResources(server.url, { token, contextId: "run-18" }));
  });
  await assertFails("NOT_FOUND", () => open(other.reference, { token }));
  const unknown = crypto.randomUUID();
  const answer = async (id: string) => {
    const response = await fetch(`${server.url}/resources/${id}`, bearer(token));
    return (await response.text()).replaceAll(id, "ID").replace(/urn:request:[\w-]+/, "");
  };
  assertEquals(await answer(other.id), await answer(unknown));
});

test("a token for one context or resource goes on with no other upload, whoever has the secret", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const all = await guarded.token();
  const running = await push(server.url, metadata, { token: all, contextId: "run-18" });
  const { id } = parseReference(running.reference);
  const { resumeToken } = running;
  const contextId = "run-17";
  const limited = { token: await guarded.token({ contextId }), contextId, retryForMs: 0 };
  await assertFails("NOT_FOUND", () => resumePush(server.url, resumeToken, limited));
  const other = { token: await guarded.token({ resourceId: crypto.randomUUID() }), retryForMs: 0 };
  await assertFails("FORBIDDEN", () => resumePush(server.url, resumeToken, other));
  const own = { token: await guarded.token({ resourceId: id }), retryForMs: 0 };
  await assertFails("FORBIDDEN", () => push(server.url, metadata, own));
  const resumed = await resumePush(server.url, resumeToken, own);
  await resumed.abort();
  await running.abort();
});

test("a token for one context uploads nothing outside it, whatever a connection leaves to be made", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const token = await guarded.token({ contextId: "run-17" });
  const path = "/ws/streaming/upload?streamingUploadContextId=run-17";
  const port = Number(server.host.split(":")[1]);
  using step = await StepClient.open(port, path, { Authorization: `Bearer ${token}` });
  await step.say({ "@": "StartUpload", metadata });
  const { code, reason } = await step.closed();
  assertEquals([code, reason.split(":")[0]], [1008, "CONTEXT_UNKNOWN"]);
  assertEquals(await server.resources.list({ limit: 1 }), []);
});

test("a token for a resource makes no other, whatever its id looks like", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  // Adopted resources have such ids; where a name may stand they are names.
  for (const resourceId of ["20261128", "deadbeef-01"]) {
    const headers = { authorization: `Bearer ${await guarded.token({ resourceId })}` };
    for (const method of ["PUT", "POST"]) {
      const url = `${server.url}/resources/${method === "PUT" ? resourceId : "?name=a"}`;
      const response = await fetch(url, { method, headers, body: "one\n" });
      assertEquals([response.status, (await response.json()).code], [403, "FORBIDDEN"], url);
    }
  }
  const resourceId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await guarded.token({ resourceId })}` };
  const url = `${server.url}/resources/${resourceId.toUpperCase()}`;
  const made = await fetch(url, { method: "PUT", headers, body: "one\n" });
  assertEquals([made.status, (await made.json()).id], [201, resourceId]);
  assertEquals(await server.resources.list({ limit: 9 }).then((list) => list.length), 1);
});

test("sessions end with their token; the upload goes on with another one", async () => {
  const grant = (expiresAtMs: number | null): Grant => ({
    name: "ann",
    scopes: ["upload", "read"],
    contextId: null,
    resourceId: null,
    expiresAtMs,
  });
  const expiresAtMs = Date.now() + 1000;
  const authenticate = (token: string) =>
    Promise.resolve(grant(token === "short" ? expiresAtMs : null));
  await using server = await startServer({
    access: { tokens: { authenticate }, links: new SignedLinks() },
  });
  const running = await push(server.url, metadata, { token: "short" });
  const writer = running.writable.getWriter();
  await writer.write(new TextEncoder().encode("one\n"));
  const { id } = parseReference(running.reference);
  using reader = await RawClient.open(
    `${server.ws}/ws/streaming/download/${id}`,
    ...[SUBPROTOCOL, "stream.bearer.short"],
  );
  const { code, reason } = await reader.inbox.close();
  assertEquals([code, reason.split(":")[0]], [1008, "UNAUTHORIZED"]);
  await assertFails("UNAUTHORIZED", () => running.done);
  assertEquals(running.status.transferStatus, "IN_PROGRESS");
  const resumed = await resumePush(server.url, running.resumeToken, { token: "long" });
  await new Blob(["one\ntwo\n"]).stream().pipeTo(resumed.writable);
  assertEquals((await resumed.done).size, 8);
});

/** What takes a token and lasts: name by name, what opens it and waits for its end. */
const LASTING: Record<string, (server: TestServer, id: string, token: string) => Promise<unknown>> =
  {
    "a live body": async ({ url }, id, token) =>
      await assertRejects(async () => {
        const response = await fetch(`${url}/resources/${id}/content`, bearer(token));
        assertEquals(response.status, 200);
        await response.text();
      }),
    "events of a resource": async ({ url }, id, token) => {
      const response = await fetch(`${url}/resources/${id}/events`, bearer(token));
      assertEquals(response.status, 200);
      await response.text().catch(() => {});
    },
    "events of a context": async ({ url }, _, token) => {
      const response = await fetch(`${url}/contexts/run/events`, bearer(token));
      assertEquals(response.status, 200);
      await response.text().catch(() => {});
    },
    "a download": async ({ ws }, id, token) => {
      using client = await RawClient.open(
        `${ws}/ws/streaming/download/${id}`,
        ...[SUBPROTOCOL, `stream.bearer.${token}`],
      );
      const { code, reason } = await client.inbox.close();
      assertEquals([code, reason.split(":")[0]], [1008, "UNAUTHORIZED"]);
    },
    "an upload by HTTP": async ({ url, resources }, _, token) => {
      const headers = { authorization: `Bearer ${token}` };
      using request = new HttpRequest(`${url}/resources/live.log`, "PUT", headers);
      request.send("one\n");
      const answer = await request.answer();
      assertEquals([answer.status, JSON.parse(answer.body).code], [401, "UNAUTHORIZED"]);
      const failed = (await resources.list({ limit: 9 })).find(({ metadata }) =>
        metadata.filename === "live.log"
      );
      assertEquals([failed?.status.transferStatus, failed?.status.currentSize], ["FAILED", 4]);
    },
    "a part of an upload by HTTP": async ({ url, resources }, _, token) => {
      const headers = { authorization: `Bearer ${token}` };
      using request = new HttpRequest(`${url}/resources/part.log`, "PUT", {
        ...headers,
        "Upload-Complete": "?0",
      });
      request.send("one\n");
      assertEquals((await request.answer()).status, 401);
      const waiting = (await resources.list({ limit: 9 })).find(({ metadata }) =>
        metadata.filename === "part.log"
      );
      assertEquals(waiting?.status.transferStatus, "IN_PROGRESS");
    },
  };

for (const [what, last] of Object.entries(LASTING)) {
  test(`${what} ends when its token has expired`, async () => {
    const grant = (expiresAtMs: number | null): Grant => ({
      name: "ann",
      scopes: ["upload", "read"],
      contextId: null,
      resourceId: null,
      expiresAtMs,
    });
    const expiresAtMs = Date.now() + 500;
    const authenticate = (token: string) =>
      Promise.resolve(grant(token === "short" ? expiresAtMs : null));
    const access = { tokens: { authenticate }, links: new SignedLinks() };
    await using server = await startServer({ access, resumeWindowMs: 60_000 });
    const running = await push(server.url, metadata, { token: "long", contextId: "run" });
    const { id } = parseReference(running.reference);
    await within(what, last(server, id, "short"));
    assert(Date.now() >= expiresAtMs);
    await running.abort();
  });

  test(`${what} ends when its token was revoked, and others go on`, async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, "tokens");
    const scopes: Scope[] = ["upload", "read"];
    const long = await createToken(path, { name: "long", scopes });
    const short = await createToken(path, { name: "short", scopes });
    const access = { tokens: await FileTokens.open({ path }), links: new SignedLinks() };
    await using server = await startServer({ access, resumeWindowMs: 60_000 });
    const running = await push(server.url, metadata, { token: long, contextId: "run" });
    const { id } = parseReference(running.reference);
    const ended = last(server, id, short);
    const unrelated = await createToken(path, { name: "unrelated", scopes });
    assertNotEquals(unrelated, short);
    await revokeToken(path, "short");
    await within(what, ended);
    await new Blob(["one\n"]).stream().pipeTo(running.writable);
    assertEquals((await running.done).size, 4);
  });
}

test("a link reads its one resource, by HTTP and by WebSocket, and does nothing else", async () => {
  await using guarded = await startGuarded();
  const { server } = guarded;
  const token = await guarded.token({ scopes: ["upload", "read"] });
  const { reference, id } = await upload(server, { token });
  const other = await upload(server, { token });
  const shared = await shareResource(reference, { token, expiresInS: 60 });
  const leftMs = Date.parse(shared.expiresAt) - Date.now();
  assert(leftMs > 58_000 && leftMs <= 60_000, shared.expiresAt);
  assert(!JSON.stringify(shared).includes(token));
  for (const link of [shared.url, shared.reference]) {
    assertEquals(parseReference(link).id, id);
    assertEquals(await new Response(follow(link)).text(), "one\ntwo\n");
    assertEquals((await getResource(link)).id, id);
    await assertFails("FORBIDDEN", () => deleteResource(link));
  }
  assertEquals(await (await fetch(shared.url)).text(), "one\ntwo\n");
  const { access } = parseReference(shared.url);
  await assertFails("FORBIDDEN", () => open(`${other.reference}?access=${access}`));
  const again = await fetch(`${server.url}/resources/${id}/share?access=${access}`, {
    method: "POST",
  });
  assertEquals(again.status, 403);
});

test("a link ends after a week at the latest, and with the token that made it", async () => {
  await using guarded = await startGuarded();
  const { reference } = await upload(guarded.server, { token: await guarded.token() });
  const expiresAt = new Date(Date.now() + 100_000_000).toISOString();
  const token = await guarded.token({ expiresAt });
  const share = (expiresInS: number) => shareResource(reference, { token, expiresInS });
  const { expiresAt: end } = await share(604_800);
  assertEquals(Date.parse(end), Math.floor(Date.parse(expiresAt) / 1000) * 1000);
  for (const seconds of [604_801, 0, -1, 1.5, NaN]) {
    await assertFails("BAD_REQUEST", () => share(seconds));
  }
});

test("a server without access control makes no links, and says why", async () => {
  await using server = await startServer();
  const { reference } = await upload(server, {});
  const error = await assertFails("WRONG_STATE", () => shareResource(reference));
  assertStringIncludes(error.message, "wants no tokens");
});

/** A stranger's server that keeps what it is sent. */
async function startStranger(location = "http://127.0.0.1:9/") {
  const heard: string[] = [];
  const server = createServer((request, response) => {
    heard.push(JSON.stringify([request.url, request.headers]));
    response.writeHead(302, { location }).end();
  });
  server.on("upgrade", (request, socket) => {
    heard.push(JSON.stringify([request.url, request.headers]));
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    heard,
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

test("a token goes to the server it is for, and to no other that a reference names", async () => {
  await using stranger = await startStranger();
  const reference = `${stranger.url}/resources/${crypto.randomUUID()}`;
  const options = { server: "http://logs.example.org", token: "hush-hush", retryForMs: 0 };
  for (const ask of [open, getResource, deleteResource, shareResource]) {
    await ask(reference, options).catch(() => {});
  }
  const link = `${reference}?access=a.b.c`;
  await getResource(link, { ...options, server: stranger.url }).catch(() => {});
  assert(stranger.heard.length >= 5);
  assert(!stranger.heard.join().includes("hush-hush"), stranger.heard.join("\n"));
});

test("a token follows no redirect", async () => {
  await using stranger = await startStranger();
  await using named = await startStranger(stranger.url);
  const reference = `${named.url}/resources/${crypto.randomUUID()}`;
  await assertFails("UNREACHABLE", () => getResource(reference, { token: "hush-hush" }));
  assertStringIncludes(named.heard.join(), "Bearer hush-hush");
  assertEquals(stranger.heard, []);
});

test("a signed link follows no redirect, and no error shows it; without a secret one is followed", async () => {
  await using stranger = await startStranger();
  await using named = await startStranger(stranger.url);
  const reference = `${named.url}/resources/${crypto.randomUUID()}`;
  const link = `${reference}?access=hush-hush`;
  for (const ask of [getResource, deleteResource, open]) {
    const error = await assertFails("UNREACHABLE", () => ask(link, { retryForMs: 0 }));
    assert(!inspect(error).includes("hush-hush"), inspect(error));
  }
  assertStringIncludes(named.heard.join(), "access=hush-hush");
  assertEquals(stranger.heard, []);
  await assertFails("UNREACHABLE", () => getResource(reference));
  assertEquals(stranger.heard.length, 1);
});

test("where every origin is allowed, connections are upgraded as everywhere", async () => {
  await using guarded = await startGuarded({ allowOrigins: ["*"] });
  const token = await guarded.token();
  const { reference } = await upload(guarded.server, { token, retryForMs: 0 });
  assertEquals(await new Response(follow(reference, { token })).text(), "one\ntwo\n");
});

test("inside another app the rules hold below the base path", async () => {
  await using guarded = await startGuarded({ basePath: "/logs" });
  const { server } = guarded;
  const token = await guarded.token({ scopes: ["read"] });
  const ask = async (path: string, init?: RequestInit) => {
    const response = await server.server.fetch(new Request(`http://host${path}`, init));
    return response.status;
  };
  assertEquals(await ask("/logs/resources"), 401);
  assertEquals(await ask("/logs/resources", bearer("wrong")), 401);
  assertEquals(await ask("/logs/resources", bearer(token)), 200);
  assertEquals(await ask("/resources", bearer(token)), 404);
});

test("pages of allowed origins ask first and read every header of an answer", async () => {
  const origin = "https://app.example.org";
  await using guarded = await startGuarded({ allowOrigins: [origin] });
  const { server } = guarded;
  const url = `${server.url}/resources`;
  const preflight = await fetch(`${url}/a.log`, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "PUT",
      "access-control-request-headers": "authorization,upload-offset",
    },
  });
  const header = (name: string) => preflight.headers.get(`access-control-${name}`);
  assertEquals([preflight.status, header("allow-origin")], [204, origin]);
  assertStringIncludes(header("allow-methods")!, "PUT");
  assertStringIncludes(header("allow-headers")!, "authorization");
  const token = await guarded.token();
  for (const [init, status] of [[bearer(token), 200], [bearer("wrong"), 401]] as const) {
    const response = await fetch(url, { headers: { ...init.headers, origin } });
    assertEquals(response.status, status);
    assertEquals(response.headers.get("access-control-allow-origin"), origin);
    assertEquals(response.headers.get("access-control-expose-headers"), "*");
    await response.body?.cancel();
  }
  const { headers } = await fetch(url, { method: "OPTIONS", headers: { origin } });
  assertEquals(headers.get("access-control-allow-methods"), null, "that was no preflight");
  const refused = await fetch(url, { headers: { origin: "https://evil.example.org" } });
  assertEquals(refused.status, 403);
  assertEquals(refused.headers.get("access-control-allow-origin"), null);
  const path = "/ws/streaming/upload";
  using upgraded = await rawUpgrade(server.host, path, {
    "Origin": origin,
    "Sec-WebSocket-Protocol": `${SUBPROTOCOL}, stream.bearer.${token}`,
  });
  assertEquals(upgraded.status, 101);
});

test("answers tell browsers to run nothing, sniff nothing and pass no address on", async () => {
  await using guarded = await startGuarded();
  const { headers } = await fetch(`${guarded.server.url}/resources`);
  assertEquals(headers.get("x-content-type-options"), "nosniff");
  assertEquals(headers.get("referrer-policy"), "no-referrer");
  assertEquals(headers.get("x-frame-options"), "DENY");
  assertStringIncludes(headers.get("content-security-policy")!, "sandbox");
  assertEquals(headers.get("strict-transport-security"), null);
});

test("a signed link is a reference in each of its forms", () => {
  const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
  const location = { server: "https://host/logs", id, access: `${id}.17.a_-b` };
  const query = `?access=${id}.17.a_-b`;
  for (const form of ["/resources/ID", "/resources/ID/content", "/ws/streaming/download/ID"]) {
    const text = `https://host/logs${form.replace("ID", id)}`;
    assertEquals(parseReference(text + query), location, form);
  }
});
