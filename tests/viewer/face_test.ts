/** The pages and parts of the viewer, as a server hands them out. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { assetNames } from "../../src/server/viewer/assets.ts";
import { mountServer, startServer } from "../helpers/server.ts";

const asBrowser = { headers: { accept: "text/html,*/*;q=0.8" } };

test("a page runs only what its answer allows, and is framed nowhere", async () => {
  await using server = await startServer();
  const one = await fetch(`${server.url}/view/${crypto.randomUUID()}`, asBrowser);
  const policy = one.headers.get("content-security-policy")!;
  const [, nonce] = /script-src 'nonce-([^']+)'/.exec(policy)!;
  assertStringIncludes(await one.text(), `nonce="${nonce}"`);
  for (const rule of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    assertStringIncludes(policy, rule);
  }
  assert(!/unsafe|script-src[^;]*'self'/.test(policy), policy);
  const other = await fetch(`${server.url}/view?context=run`, asBrowser);
  assert(!other.headers.get("content-security-policy")!.includes(nonce));
});

test("what was uploaded runs nothing, whatever it is", async () => {
  await using server = await startServer();
  const upload = { method: "PUT", body: "<script>alert(1)</script>" };
  const { id } = await (await fetch(`${server.url}/resources/a.html`, upload)).json();
  const content = await fetch(`${server.url}/resources/${id}/content`);
  const policy = content.headers.get("content-security-policy")!;
  assertStringIncludes(policy, "default-src 'none'");
  assertStringIncludes(policy, "sandbox");
});

test("parts are named by what they hold, kept for ever, and compressed for whom wants that", async () => {
  await using server = await startServer();
  for (const name of Object.values(assetNames())) {
    const headers = { "accept-encoding": "gzip" };
    const part = await fetch(`${server.url}/viewer/${name}`, { headers });
    assertEquals(part.status, 200);
    assertMatch(part.headers.get("cache-control")!, /immutable/);
    const text = await part.text();
    const plain = await fetch(`${server.url}/viewer/${name}`, {
      headers: { "accept-encoding": "identity" },
    });
    assertEquals(plain.headers.get("content-encoding"), null);
    assertEquals(await plain.text(), text);
  }
});

test("below a path everything is found where the page says", async () => {
  await using server = await mountServer(
    { basePath: "/logs" },
    (mounted) => (request, env) => mounted.fetch(request, env),
  );
  for (const path of ["/logs", "/logs/", "/logs/view/12345678", "/logs/view?context=run"]) {
    const page = await fetch(server.url + path, asBrowser);
    const [, script] = /src="([^"]+)"/.exec(await page.text())!;
    const part = await fetch(new URL(script, page.url));
    assertEquals(part.status, 200, path);
    await part.body?.cancel();
  }
});

test("a server without the viewer has none of its addresses", async () => {
  await using server = await startServer({ viewer: false });
  for (const path of ["/view/12345678", "/view?context=run", `/viewer/${assetNames().script}`]) {
    const answer = await fetch(server.url + path, asBrowser);
    assertEquals(answer.status, 404, path);
    await answer.body?.cancel();
  }
});
