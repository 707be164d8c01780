/** Which servers are reached through a proxy of the environment. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
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

test("a server on this machine is never reached through a proxy", () => {
  const socket = globalThis.WebSocket;
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
  globalThis.WebSocket = socket;
});

test("an environment without proxies stays as it is", () => {
  const socket = globalThis.WebSocket;
  const env = { NO_PROXY: "a.example", HTTP_PROXY: "" };
  adoptProxies(env);
  assertEquals(env, { NO_PROXY: "a.example", HTTP_PROXY: "" });
  assertEquals(globalThis.WebSocket, socket);
});
