/**
 * Proxies that the environment names: one rule for `fetch` and for WebSockets, on every runtime.
 *
 * Deno and Bun agree on what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY mean for `fetch`, in either case. Deno's
 * WebSockets follow it, too, Bun's do not by themselves; and neither spares servers on this machine.
 * @module
 */
import { BlockList, isIP, isIPv6 } from "node:net";
import { reasonOf } from "../reasons.ts";

/** Servers on this machine: nothing stands between us and them. */
const LOOPBACK = "localhost,127.0.0.1,127.0.0.0/8,::1";
const PROXY_NAMES = ["http_proxy", "https_proxy", "all_proxy"];

/** Variables of the environment, by name. */
type Environment = Record<string, string | undefined>;

/** The environment as it was found; null while nothing was changed. */
let found: Environment | null = null;

/**
 * Lets this process reach servers through the proxies that its environment names; to be called before the first request.
 * @param env The environment of the process.
 */
export function adoptProxies(env: Environment): void {
  if (PROXY_NAMES.every((name) => valueOf(env, name) === undefined)) return;
  found = { ...env };
  env.NO_PROXY = env.no_proxy = [valueOf(env, "no_proxy"), LOOPBACK]
    .filter((list) => list !== undefined).join(",");
  globalThis.fetch = fetchNaming(env);
  if ("Bun" in globalThis) globalThis.WebSocket = proxiedWebSocket(env);
}

/**
 * The environment for other programs, for which ours decides nothing.
 * @param env The environment of this process.
 */
export function environmentForOthers(env: Environment): Environment {
  return found ?? env;
}

/**
 * The proxy on the way to an address.
 * @param url The address: `http:`, `https:`, `ws:` or `wss:`.
 * @param env The environment.
 * @returns URL of the proxy; null where there is none.
 */
export function proxyFor(url: URL, env: Environment): string | null {
  return wayTo(url, env)?.proxy ?? null;
}

/** The proxy on the way to an address, and the variable that names it. */
function wayTo({ protocol, hostname, port }: URL, env: Environment) {
  const isSecure = protocol === "https:" || protocol === "wss:";
  const names = [isSecure ? "https_proxy" : "http_proxy", "all_proxy"];
  const variable = names.map((name) => variableOf(env, name)).find((name) => name !== undefined);
  if (variable === undefined) return null;
  const host = hostname.replace(/^\[|\]$/g, "").toLowerCase();
  const entries = (valueOf(env, "no_proxy") ?? "").toLowerCase().split(/[\s,]+/);
  if (entries.some((entry) => spares(entry, host, port || (isSecure ? "443" : "80")))) return null;
  const value = env[variable]!;
  return { variable, proxy: value.includes("://") ? value : `http://${value}` };
}

/** Whether an entry of NO_PROXY names a host: all, one, one with its port, a domain, a network. */
function spares(entry: string, host: string, port: string): boolean {
  if (entry === "") return false;
  if (entry === "*" || entry === host || entry === `${host}:${port}`) return true;
  if (isIP(host) === 0) return host.endsWith(`.${entry.replace(/^\*?\./, "")}`);
  const [network, prefix] = entry.split("/");
  const family = isIPv6(host) ? "ipv6" : "ipv4";
  if (!/^\d{1,3}$/.test(prefix ?? "") || isIP(network) === 0) return false;
  if (isIPv6(network) !== isIPv6(host) || Number(prefix) > (family === "ipv6" ? 128 : 32)) {
    return false;
  }
  const block = new BlockList();
  block.addSubnet(network, Number(prefix), family);
  return block.check(host, family);
}

/** A variable in lower or upper case; an empty one is none. */
function variableOf(env: Environment, name: string): string | undefined {
  return [name, name.toUpperCase()].find((spelling) => env[spelling]);
}

function valueOf(env: Environment, name: string): string | undefined {
  return env[variableOf(env, name) ?? name] || undefined;
}

/** The runtime's `fetch`; where a proxy fails that names it, as nobody thinks of one at a server that is not reached. */
function fetchNaming(env: Environment): typeof fetch {
  const { fetch } = globalThis;
  const named: typeof fetch = async (input, init) => {
    const way = wayTo(new URL(input instanceof Request ? input.url : input), env);
    if (way === null) return await fetch(input, init);
    // Who it is there is nobody else's business.
    const proxy = `the proxy ${way.proxy.replace(/\/\/.*@/, "//")} (${way.variable})`;
    const response = await fetch(input, init).catch((error) => {
      if (init?.signal?.aborted) throw error;
      throw new Error(`through ${proxy}: ${reasonOf(error)}`);
    });
    if (response.status !== 407) return response;
    await response.body?.cancel();
    throw new Error(`${proxy} wants a name and a password: http://USER:PASSWORD@HOST:PORT`);
  };
  return Object.assign(named, fetch);
}

/** Bun's WebSocket, which takes a proxy as an option of its own. */
function proxiedWebSocket(env: Environment): typeof WebSocket {
  class Proxied extends WebSocket {
    constructor(url: string | URL, protocols: string | string[] = []) {
      const proxy = proxyFor(new URL(url), env);
      super(url, proxy === null ? protocols : { protocols, proxy } as unknown as string[]);
    }
  }
  return Proxied as unknown as typeof WebSocket;
}
