/** Two servers on a real engine that tests take for one: whatever is asked goes to either, at random. */
import type { ServerOptions, StreamServer } from "../../mod.ts";
import { emptyPlace, knowing } from "../catalog/in_cluster.ts";
import type { TestServer } from "../helpers/server.ts";
import { logsInEngine } from "./logs.ts";

const LEASE_MS = 20_000;

/**
 * Starts two nodes.
 * @param make Makes a server of parts.
 * @returns One server, whose address is another one whenever somebody asks for it.
 */
export async function startTwo(
  make: (parts: Partial<ServerOptions>) => Promise<StreamServer>,
): Promise<TestServer> {
  const [logs, records] = [await logsInEngine(), await emptyPlace()];
  const catalogs = [await records.catalog(), await records.catalog()];
  const servers = await Promise.all(catalogs.map(async (catalog, at) =>
    await make({
      storage: await logs.node(),
      catalog: knowing(catalog, catalogs),
      nodeId: "ab"[at],
      leaseMs: LEASE_MS,
    })
  ));
  const ports = await Promise.all(
    servers.map(async (server) => (await server.listen({ port: 0 })).port),
  );
  const host = () => `127.0.0.1:${ports[Math.floor(Math.random() * ports.length)]}`;
  let closing: Promise<void> | null = null;
  const close = () => closing ??= closeAll();
  async function closeAll(): Promise<void> {
    await Promise.all(servers.map((server) => server.close()));
    await logs[Symbol.asyncDispose]();
    await records[Symbol.asyncDispose]();
  }
  const [server] = servers;
  return {
    server,
    resources: server.resources,
    get host() {
      return host();
    },
    get url() {
      return `http://${host()}`;
    },
    get ws() {
      return `ws://${host()}`;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
