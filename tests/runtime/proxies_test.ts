/** Which servers are reached through a proxy of the environment. */
import { test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import { adoptProxies, proxyFor } from "../../src/runtime/proxies.ts";

const proxy = "http://proxy:3128";

/** The proxies on the way to addresses. */
function ways(env: Record<string, string>, addresses: string[]): (string | null)[] {
  return addresses.map((address) => proxyFor(new URL(address), env));
}

test("ws: goes by HTTP_PROXY, wss: by HTTPS_PROXY, both by ALL_PROXY, in either case", () => {
  const addresses = ["ws://a.example", "http://a.example", "wss://a.example", "https://a.example"];
  for (const fold of [(name: string) => name, (name: string) => name.toLowerCase()]) {
    const of = (name: string) => ways({ [fold(name)]: proxy }, addresses);
    assertEquals(of("HTTP_PROXY"), [proxy, proxy, null, null]);
    assertEquals(of("HTTPS_PROXY"), [null, null, proxy, proxy]);
    assertEquals(of("ALL_PROXY"), [proxy, proxy, proxy, proxy]);
  }
  assertEquals(ways({ HTTP_PROXY: "proxy:3128" }, ["ws://a.example"]), [proxy]);
  assertEquals(ways({ HTTP_PROXY: "" }, addresses), [null, null, null, null]);
});

test("NO_PROXY spares hosts, domains, ports, networks, or all", () => {
  const spared: [list: string, address: string, isSpared: boolean][] = [
    ["a.example", "ws://a.example", true],
    ["A.Example", "ws://a.EXAMPLE", true],
    ["example", "ws://a.example", true],
    [".example", "ws://a.example", true],
    ["*.example", "ws://a.example", true],
    ["xample", "ws://a.example", false],
    ["b.example , a.example", "ws://a.example", true],
    ["*", "ws://a.example", true],
    ["a.example:81", "ws://a.example:81", true],
    ["a.example:81", "ws://a.example:82", false],
    ["a.example:80", "ws://a.example", true],
    ["a.example:443", "wss://a.example", true],
    ["10.0.0.0/8", "ws://10.1.2.3", true],
    ["10.0.0.0/8", "ws://11.1.2.3", false],
    ["10.0.0.0/99", "ws://10.1.2.3", false],
    ["fd00::/8", "ws://[fd12::1]", true],
    ["fd00::/8", "ws://10.1.2.3", false],
    ["::1", "ws://[::1]:8090", true],
    ["", "ws://a.example", false],
    [",,", "ws://a.example", false],
  ];
  for (const [NO_PROXY, address, isSpared] of spared) {
    const way = proxyFor(new URL(address), { ALL_PROXY: proxy, NO_PROXY });
    assertEquals(way === null, isSpared, `${NO_PROXY} for ${address}`);
  }
});

/** Puts back what `adoptProxies` changes. */
function restoring(): Disposable {
  const { WebSocket, fetch } = globalThis;
  return { [Symbol.dispose]: () => void Object.assign(globalThis, { WebSocket, fetch }) };
}

test("a proxy that fails is named, with its variable and without what is secret", async () => {
  const env = {
    http_proxy: "http://me:secret@proxy:3128",
    HTTPS_PROXY: "proxy:8080",
    NO_PROXY: "b.example",
  };
  const refused = Object.assign(new Error(), { code: "ECONNREFUSED" });
  using _ = restoring();
  globalThis.fetch = () => Promise.reject(refused);
  adoptProxies(env);
  const told = async (url: string, options?: RequestInit) =>
    (await assertRejects(() => fetch(url, options), Error)).message;
  const why = "the connection was refused: nothing listens there";
  assertEquals(
    await told("http://a.example"),
    `through the proxy http://proxy:3128 (http_proxy): ${why}`,
  );
  assertEquals(
    await told("https://a.example"),
    `through the proxy http://proxy:8080 (HTTPS_PROXY): ${why}`,
  );
  assertEquals(await assertRejects(() => fetch("http://b.example"), Error), refused);
  const signal = AbortSignal.abort();
  assertEquals(await assertRejects(() => fetch("http://a.example", { signal }), Error), refused);
});

test("a proxy that wants a password is told from a server that refuses", async () => {
  using _ = restoring();
  let status = 407;
  globalThis.fetch = () => Promise.resolve(new Response("", { status }));
  adoptProxies({ HTTP_PROXY: proxy });
  await assertRejects(
    () => fetch("http://a.example"),
    Error,
    "the proxy http://proxy:3128 (HTTP_PROXY) wants a name and a password",
  );
  assertEquals((await fetch("http://localhost")).status, 407);
  status = 403;
  assertEquals((await fetch("http://a.example")).status, 403);
});

test("a server on this machine is never reached through a proxy", () => {
  using _ = restoring();
  const loopback = ["ws://localhost:8090", "ws://127.0.0.1", "ws://127.8.9.1", "ws://[::1]:8090"];
  const lists: Record<string, string>[] = [{}, { NO_PROXY: "b.example" }, {
    no_proxy: "b.example",
  }];
  for (const more of lists) {
    const env: Record<string, string> = { HTTP_PROXY: proxy, ...more };
    adoptProxies(env);
    assertEquals(ways(env, loopback), [null, null, null, null]);
    assertEquals(ways(env, ["ws://a.example"]), [proxy]);
    assertEquals(ways(env, ["ws://b.example"]), [Object.keys(more).length > 0 ? null : proxy]);
  }
});

test("an environment without proxies stays as it is", () => {
  const { WebSocket, fetch } = globalThis;
  const env = { NO_PROXY: "a.example", HTTP_PROXY: "" };
  adoptProxies(env);
  assertEquals(env, { NO_PROXY: "a.example", HTTP_PROXY: "" });
  assertEquals([globalThis.WebSocket, globalThis.fetch], [WebSocket, fetch]);
});
