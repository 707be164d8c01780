/** Who may use which route: every route × every state of a credential, from one table. */
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Hono } from "hono";
import { createToken, revokeToken } from "../../src/access/token_file.ts";
import { FileTokens, loadRuntime, SignedLinks } from "../../mod.ts";
import { toStreamError } from "../../src/protocol.ts";
import { accessRules, Guard, ROUTE_RULES } from "../../src/server/access.ts";
import { problem } from "../../src/server/problem.ts";
import { References } from "../../src/server/references.ts";
import { allRoutes } from "../helpers/routes.ts";
import { memoryResources } from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const STATES = [
  ...["none", "wrong", "expired", "revoked", "upload", "read", "admin"],
  ...["otherContext", "otherResource", "ownContext", "ownResource"],
  ...["link", "expiredLink", "otherLink"],
];

/** The status in each state, in the order of STATES; 204 is what every handler answers here. */
const TABLE: [routes: string[], statuses: string][] = [
  [
    [
      ...["GET /resources/:id", "HEAD /resources/:id", "GET /ws/streaming/download/:id"],
      ...["GET /resources/:id/content", "HEAD /resources/:id/content", "GET /resources/:id/lines"],
      ...["GET /resources/:id/search", "GET /resources/:id/events"],
    ],
    "401 401 401 401 403 204 403  404 403 204 204  204 401 403",
  ],
  [["POST /resources/:id/share"], "401 401 401 401 403 204 403  404 403 204 204  403 401 403"],
  [["DELETE /resources/:id"], "401 401 401 401 403 403 204  404 403 204 204  403 401 403"],
  [
    [
      ...["GET /uploads/:id/secret", "HEAD /uploads/:id/secret"],
      ...["PATCH /uploads/:id/secret", "DELETE /uploads/:id/secret"],
    ],
    "401 401 401 401 204 403 403  404 403 204 204  403 401 403",
  ],
  [
    ["GET /ws/streaming/upload?streamingUploadContextId=run-17"],
    // Which resource it is about is said on the connection.
    "401 401 401 401 204 403 403  403 204 204 204  403 401 403",
  ],
  [
    [
      ...["POST /resources?context=run-17", "POST /resources/?context=run-17"],
      ...["PUT /resources?context=run-17", "PUT /resources/?context=run-17"],
    ],
    "401 401 401 401 204 403 403  403 403 204 403  403 401 403",
  ],
  [
    ["PUT /resources/:id?context=run-17"],
    "401 401 401 401 204 403 403  403 403 204 204  403 401 403",
  ],
  [
    ["PUT /resources/a.log?context=run-17"],
    "401 401 401 401 204 403 403  403 403 204 403  403 401 403",
  ],
  [["GET /resources?context=run-17"], "401 401 401 401 403 204 403  403 403 204 403  403 401 403"],
  [["GET /contexts"], "401 401 401 401 403 204 403  403 403 403 403  403 401 403"],
  [["PUT /contexts/run-17"], "401 401 401 401 204 403 403  403 403 204 403  403 401 403"],
  [
    ["GET /contexts/run-17", "GET /contexts/run-17/events"],
    "401 401 401 401 403 204 403  403 403 204 403  403 401 403",
  ],
  [["DELETE /contexts/run-17"], "401 401 401 401 403 403 204  403 403 204 403  403 401 403"],
  [["GET /metrics"], "401 401 401 401 403 403 204  403 403 403 403  403 401 403"],
  [
    [
      ...["GET /healthz", "GET /readyz", "GET /openapi.json", "OPTIONS /resources"],
      ...["OPTIONS /resources/:id", "OPTIONS /uploads/:id/secret"],
    ],
    "204 204 204 204 204 204 204  204 204 204 204  204 204 204",
  ],
  [["GET /unlisted", "GET /"], "404 404 404 404 404 404 404  404 404 404 404  404 404 404"],
];

/** The id of a resource in the context run-17. */
async function resourceIn(resources: ReturnType<typeof memoryResources>): Promise<string> {
  const { appender } = await resources.register({
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
    contextId: "run-17",
    makeContext: true,
    resumable: false,
    digests: [],
  });
  await appender.fail(toStreamError("not needed"));
  return appender.resource.id;
}

/** What a request presents. */
interface Presented {
  headers?: Record<string, string>;
  query?: string;
}

/** What is presented in each state. */
async function credentials(
  directory: string,
  id: string,
): Promise<{ guard: Guard; of: Record<string, Presented> }> {
  const path = join(directory, "tokens");
  const all = ["upload", "read", "admin"] as const;
  const make = async (name: string, grant: Partial<Parameters<typeof createToken>[1]> = {}) => {
    const token = await createToken(path, { name, scopes: [...all], ...grant });
    return { headers: { authorization: `Bearer ${token}` } };
  };
  const other = crypto.randomUUID();
  const of = {
    none: {},
    wrong: { headers: { authorization: "Bearer 0123456789" } },
    expired: await make("expired", { expiresAt: new Date(Date.now() - 1).toISOString() }),
    revoked: await make("revoked"),
    upload: await make("upload", { scopes: ["upload"] }),
    read: await make("read", { scopes: ["read"] }),
    admin: await make("admin", { scopes: ["admin"] }),
    otherContext: await make("other-context", { contextId: "run-18" }),
    otherResource: await make("other-resource", { resourceId: other }),
    ownContext: await make("own-context", { contextId: "run-17" }),
    ownResource: await make("own-resource", { resourceId: id }),
  };
  await revokeToken(path, "revoked");
  const links = new SignedLinks();
  const link = async (id: string, inMs: number) => ({
    query: `access=${await links.create(id, Date.now() + inMs)}`,
  });
  const guard = new Guard({ tokens: await FileTokens.open({ path }), links });
  return {
    guard,
    of: {
      ...of,
      link: await link(id, 60_000),
      expiredLink: await link(id, -1000),
      otherLink: await link(other, 60_000),
    },
  };
}

test("every route in every state of a credential has the status of the table", async () => {
  const resources = memoryResources();
  const id = await resourceIn(resources);
  await using directory = await temporaryDirectory();
  const { guard, of } = await credentials(directory.path, id);
  let request = 0;
  const app = new Hono();
  app.onError((error, c) => problem(c, toStreamError(error)));
  // Each request from another address: what is limited by address has tests of its own.
  const runtime = { ...await loadRuntime(), remoteAddress: () => `10.0.0.${request++}` };
  accessRules(app, { guard, resources, references: new References({ runtime }) });
  for (const route of [...Object.keys(ROUTE_RULES), "GET /unlisted"]) {
    const [method, path] = route.split(" ");
    app.on(method, path, (c) => c.body(null, 204));
  }
  for (const [routes, statuses] of TABLE) {
    for (const route of routes) {
      const [method, path] = route.replace(":id", id).split(" ");
      const found: Record<string, number> = {};
      for (const state of STATES) {
        const { query = "", headers } = of[state];
        const url = query === "" ? path : path + (path.includes("?") ? "&" : "?") + query;
        found[state] = (await app.request(url, { method, headers })).status;
      }
      const wanted = statuses.split(/ +/).map((status, at) => [STATES[at], Number(status)]);
      assertEquals(found, Object.fromEntries(wanted), route);
    }
  }
  await resources.close();
});

/** A route as rules and handlers share it, whatever its parameters are called. */
function shapeOf(route: string): string {
  return route.replace(/:\w+(\{[^}]*\})?/g, ":");
}

test("the table has a row for every rule", () => {
  const rows = new Set(
    TABLE.flatMap(([routes]) => routes).map((route) =>
      shapeOf(route.split("?")[0].replace(/(contexts\/)run-17/, "$1:id").replace("/secret", "/:s"))
    ),
  );
  const missing = Object.keys(ROUTE_RULES).filter((route) => !rows.has(shapeOf(route)));
  assertEquals(missing, []);
});

test("every route of the server has a rule", async () => {
  const handlers = (await allRoutes())
    .filter(({ method, path }) => method !== "ALL" || path !== "/*");
  assert(handlers.length > 0);
  const rules = new Set(Object.keys(ROUTE_RULES).map(shapeOf));
  const without = handlers.map(({ method, path }) => `${method} ${path}`)
    .filter((route) => !rules.has(shapeOf(route)));
  assertEquals(without, []);
});
