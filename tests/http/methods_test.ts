/** Methods that a path does not take, HEAD, and answers for terminals and browsers. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { framesRuntime, type ServerOptions } from "../../mod.ts";
import { VERSION } from "../../src/protocol.ts";
import { assetNames } from "../../src/server/viewer/assets.ts";
import { shapeOf } from "../../src/server/route.ts";
import { allRoutes } from "../helpers/routes.ts";
import { mountServer, type Problem, startServer, type TestServer } from "../helpers/server.ts";

/** One behaviour of every listener. */
function both(
  behaviour: string,
  check: (server: TestServer) => Promise<void>,
  options: Partial<ServerOptions> = {},
) {
  test(behaviour, async () => {
    await using server = await startServer(options);
    await check(server);
  });
  test(`over node:http: ${behaviour}`, async () => {
    await using server = await startServer({ ...options, runtime: framesRuntime() });
    await check(server);
  });
}

async function upload({ url }: TestServer, content = "one\ntwo\n"): Promise<string> {
  const response = await fetch(`${url}/resources/a.log`, { method: "PUT", body: content });
  return (await response.json()).id;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];

both("a method that a path does not take is 405, and Allow has those it takes", async ({ url }) => {
  const byShape = Map.groupBy(await allRoutes(), ({ path }) => shapeOf(path));
  for (const routes of byShape.values()) {
    const taken = new Set<string>(routes.map(({ method }) => method)).add("OPTIONS");
    if (taken.has("GET")) taken.add("HEAD");
    const allow = [...taken].toSorted().join(", ");
    const path = routes[0].path.replace(/:(\w+)/g, "x");
    for (const method of METHODS.filter((method) => !taken.has(method))) {
      const response = await fetch(url + path, { method });
      assertEquals([response.status, response.headers.get("allow")], [405, allow], path);
      const text = await response.text();
      if (method === "HEAD") continue;
      const { code, detail }: Problem = JSON.parse(text);
      assertEquals(code, "METHOD_NOT_ALLOWED");
      assertStringIncludes(detail, method);
    }
    const options = await fetch(url + path, { method: "OPTIONS" });
    assertEquals([options.status, options.headers.get("allow")], [204, allow], path);
  }
});

test("a method that a path does not take is 405 under its other name, too", async () => {
  await using server = await startServer();
  for (const path of ["/resources", "/resources/"]) {
    const response = await fetch(server.url + path, { method: "DELETE" });
    assertEquals([response.status, response.headers.get("allow")], [
      405,
      "GET, HEAD, OPTIONS, POST, PUT",
    ]);
    await response.body?.cancel();
  }
});

test("a wrong method on the address of an upload does not tell its secret", async () => {
  await using server = await startServer();
  const response = await fetch(`${server.url}/uploads/12345678/geheim`, { method: "PUT" });
  assertEquals(response.status, 405);
  assert(!(await response.text()).includes("geheim"));
});

both("HEAD tells the length that GET has, or none", async (server) => {
  const id = await upload(server);
  const paths = [
    ...[`/resources/${id}`, `/resources/${id}/content`, `/resources/${id}/lines`, "/resources"],
    ...["/resources?limit=1", "/openapi.json", "/metrics", "/healthz", "/readyz", "/"],
    ...["/nowhere", `/resources/${crypto.randomUUID()}`, `/resources/${id}/search?q=o`],
    ...[`/resources/${id}/events`, `/resources/${id}/lines?locate=true`],
  ];
  for (const path of paths) {
    const head = await fetch(server.url + path, { method: "HEAD" });
    const get = await fetch(server.url + path);
    const { length } = await get.bytes();
    assertEquals(head.status, get.status, path);
    assertEquals(head.headers.get("content-type"), get.headers.get("content-type"), path);
    assertEquals((await head.bytes()).length, 0);
    const told = head.headers.get("content-length");
    const isStream = /search|events/.test(path);
    // Numbers in metrics change from request to request.
    if (path === "/metrics") assertEquals(Math.abs(Number(told) - length) < 100, true, told!);
    else assertEquals(told, isStream ? null : String(length), path);
  }
});

both("JSON ends with a line break", async (server) => {
  const id = await upload(server);
  const { url } = server;
  const answers = [
    ...await Promise.all(
      ["/resources", `/resources/${id}`, "/openapi.json", "/contexts", "/", "/nowhere"].map((
        path,
      ) => fetch(url + path)),
    ),
    await fetch(`${url}/resources/${id}/lines?locate=true`),
    await fetch(`${url}/resources/${id}/lines`, { headers: { accept: "application/json" } }),
    await fetch(`${url}/contexts/run-17`, { method: "PUT" }),
    await fetch(`${url}/resources/b.log`, { method: "PUT", body: "x" }),
  ];
  for (const answer of answers) {
    assertMatch(answer.headers.get("content-type")!, /^application\/(problem\+)?json$/);
    const text = await answer.text();
    assertMatch(text, /[^\n]\n$/, answer.url);
    JSON.parse(text);
  }
});

/** What a browser sends. */
const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

both("without the viewer / is a page for browsers, and JSON for all others", async ({ url }) => {
  const page = await fetch(`${url}/`, { headers: { accept: BROWSER } });
  assertEquals(page.status, 200);
  assertMatch(page.headers.get("content-type")!, /^text\/html; charset=utf-8$/i);
  assertStringIncludes(page.headers.get("content-security-policy")!, "default-src 'none'");
  assertStringIncludes(page.headers.get("vary")!, "accept");
  const html = await page.text();
  for (const text of ["stream", VERSION, `${url}/openapi.json`, `${url}/readyz`]) {
    assertStringIncludes(html, text);
  }
  for (const accept of ["*/*", "application/json"]) {
    const about = await fetch(`${url}/`, { headers: { accept } });
    assertEquals(await about.json(), {
      name: "stream",
      version: VERSION,
      description: `${url}/openapi.json`,
      health: `${url}/readyz`,
    });
  }
}, { viewer: false });

both("/ is the viewer for browsers, and JSON for all others", async ({ url }) => {
  const page = await fetch(`${url}/`, { headers: { accept: BROWSER } });
  assertMatch(page.headers.get("content-type")!, /^text\/html; charset=utf-8$/i);
  assertStringIncludes(page.headers.get("vary")!, "accept");
  assertStringIncludes(await page.text(), `src="./viewer/${assetNames().script}"`);
  assertEquals((await (await fetch(`${url}/`)).json()).name, "stream");
});

test("the page shows addresses as text", async () => {
  await using server = await startServer({ baseUrl: "http://host/a&lt;b'c", viewer: false });
  const response = await fetch(`${server.url}/`, { headers: { accept: "text/html" } });
  assertStringIncludes(await response.text(), `href="http://host/a&amp;lt;b&#39;c/readyz"`);
});

test("a mounted server names itself at its path, with and without a slash", async () => {
  await using server = await mountServer(
    { basePath: "/logs" },
    (mounted) => (request, env) => mounted.fetch(request, env),
  );
  for (const path of ["/logs", "/logs/"]) {
    const { description } = await (await fetch(server.url + path)).json();
    assertEquals(description, `${server.url}/logs/openapi.json`);
    assertEquals((await fetch(description)).status, 200);
  }
  assertEquals((await fetch(`${server.url}/`)).status, 404);
});

both("a repeated parameter has a limit", async ({ url }) => {
  const ask = async (times: number) => {
    const query = Array(times).fill("status=COMPLETED").join("&");
    const response = await fetch(`${url}/resources?${query}`);
    return { status: response.status, body: await response.json() };
  };
  assertEquals(await ask(4), { status: 200, body: [] });
  for (const times of [5, 385]) {
    const { status, body } = await ask(times);
    assertEquals([status, body.code], [400, "BAD_REQUEST"]);
    assertStringIncludes(body.detail, "status");
  }
});
