/** Who may use which route: every route × every state of a credential, from one table. */
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { createToken, revokeToken } from "../../src/access/token_file.ts";
import { FileTokens, loadRuntime, SignedLinks } from "../../mod.ts";
import { toStreamError } from "../../src/protocol.ts";
import { Guard } from "../../src/server/access.ts";
import type { Face } from "../../src/server/face.ts";
import { Faces } from "../../src/server/faces.ts";
import { describeRoutes } from "../../src/server/route/openapi.ts";
import { type Route, shapeOf } from "../../src/server/route.ts";
import type { Router } from "../../src/server/router.ts";
import { allRoutes, makeRouter } from "../helpers/routes.ts";
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
      ...["GET /streams/:id", "HEAD /streams/:id"],
    ],
    "401 401 401 401 403 204 403  404 403 204 204  204 401 403",
  ],
  [["POST /resources/:id/share"], "401 401 401 401 403 204 403  404 403 204 204  403 401 403"],
  [
    ["DELETE /resources/:id", "DELETE /streams/:id"],
    "401 401 401 401 403 403 204  404 403 204 204  403 401 403",
  ],
  [
    [
      ...["GET /uploads/:id/secret", "HEAD /uploads/:id/secret"],
      ...["PATCH /uploads/:id/secret", "DELETE /uploads/:id/secret"],
      ...["GET /tus/:id/secret", "HEAD /tus/:id/secret", "PATCH /tus/:id/secret"],
      ...["DELETE /tus/:id/secret", "POST /tus/:id/secret", "POST /streams/:id"],
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
      ...["POST /tus?context=run-17", "POST /tus/?context=run-17"],
    ],
    "401 401 401 401 204 403 403  403 403 204 403  403 401 403",
  ],
  [
    ["PUT /resources/:id?context=run-17", "PUT /streams/:id?context=run-17"],
    "401 401 401 401 204 403 403  403 403 204 204  403 401 403",
  ],
  [
    ["PUT /resources/a.log?context=run-17", "PUT /streams/a/b.log?context=run-17"],
    "401 401 401 401 204 403 403  403 403 204 403  403 401 403",
  ],
  [
    [
      ...["GET /resources?context=run-17", "GET /resources/?context=run-17"],
      "GET /events?context=run-17",
    ],
    "401 401 401 401 403 204 403  403 403 204 403  403 401 403",
  ],
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
      ...["OPTIONS /resources/", "OPTIONS /resources/:id", "OPTIONS /uploads/:id/secret", "GET /"],
      ...["OPTIONS /tus", "OPTIONS /tus/", "OPTIONS /tus/:id/secret"],
      // Pages without data, which ask for it as any other client.
      ...["GET /view/:id", "GET /view", "GET /viewer/:id"],
      // What a path may be asked is told by the document, too.
      ...["OPTIONS /resources/:id/content", "OPTIONS /metrics"],
    ],
    "204 204 204 204 204 204 204  204 204 204 204  204 204 204",
  ],
  [
    ["PATCH /resources", "POST /resources/:id", "DELETE /metrics", "POST /uploads/:id/secret"],
    "405 405 405 405 405 405 405  405 405 405 405  405 405 405",
  ],
  [["GET /unlisted", "PUT /unlisted"], "404 404 404 404 404 404 404  404 404 404 404  404 404 404"],
];

/** The id of a resource in the context run-17. */
async function resourceIn(resources: ReturnType<typeof memoryResources>): Promise<string> {
  const { appender } = await resources.register({
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
    contextId: "run-17",
    makeContext: true,
    ownedBy: "CONNECTION",
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

/** All routes, whose handlers do nothing but answer. */
const admitted: Face = (parts) =>
  new Faces({}, parts.resources).all.flatMap((face) => face(parts)).map((route) => ({
    ...route,
    handle: (c) => c.body(null, 204),
  }));

test("every route in every state of a credential has the status of the table", async () => {
  const resources = memoryResources();
  const id = await resourceIn(resources);
  await using directory = await temporaryDirectory();
  const { guard, of } = await credentials(directory.path, id);
  let request = 0;
  // Each request from another address: what is limited by address has tests of its own.
  const runtime = { ...await loadRuntime(), remoteAddress: () => `10.0.0.${request++}` };
  const router = await makeRouter({ faces: [admitted], guard, resources, runtime });
  for (const [routes, statuses] of TABLE) {
    for (const route of routes) {
      const [method, path] = route.replace(":id", id).split(" ");
      const found: Record<string, number> = {};
      for (const state of STATES) {
        const { query = "", headers } = of[state];
        const url = query === "" ? path : path + (path.includes("?") ? "&" : "?") + query;
        const answer = await router.fetch(
          new Request(`http://host${url}`, { method, headers }),
          null,
        );
        found[state] = answer.status;
      }
      const wanted = statuses.split(/ +/).map((status, at) => [STATES[at], Number(status)]);
      assertEquals(found, Object.fromEntries(wanted), route);
    }
  }
  await resources.close();
});

/** Methods and paths of routes, whatever their parameters are called. */
function shapesOf(routes: readonly Route[]): string[] {
  return routes.flatMap(({ method, path, alias }) =>
    (alias ? [path, alias] : [path]).map((path) => `${method} ${shapeOf(path)}`)
  );
}

test("the table has a row for every rule", async () => {
  const rows = new Set(
    TABLE.flatMap(([routes]) => routes).map((route) =>
      shapeOf(route.split("?")[0].replace(/(contexts\/)run-17/, "$1:id").replace("/secret", "/:s"))
    ),
  );
  const missing = shapesOf(await allRoutes()).filter((route) => !rows.has(route));
  assertEquals(missing, []);
});

test("every route of the server has a rule", async () => {
  const routes = await allRoutes();
  assert(routes.length > 0);
  const open = routes.filter(({ access }) => access === "everybody");
  assertEquals(
    new Set(shapesOf(open)),
    new Set([
      ...["GET /", "GET /healthz", "GET /readyz", "GET /openapi.json", "OPTIONS /resources"],
      ...["OPTIONS /resources/", "OPTIONS /resources/:", "OPTIONS /uploads/:/:"],
      ...["GET /view/:", "GET /view", "GET /viewer/:"],
      ...["OPTIONS /tus", "OPTIONS /tus/", "OPTIONS /tus/:/:"],
    ]),
  );
  for (const { access } of routes) {
    if (access !== "everybody") assert(["upload", "read", "admin"].includes(access.scope));
  }
});

/** The operations of a router's document. */
function namesOf({ routes }: Router): string[] {
  return [...JSON.stringify(describeRoutes(routes)).matchAll(/"operationId":"(\w+)"/g)]
    .map(([, name]) => name);
}

test("a route that is taken out of the list is gone from routing, access and the document", async () => {
  await using directory = await temporaryDirectory();
  const resources = memoryResources();
  const id = await resourceIn(resources);
  const { guard, of } = await credentials(directory.path, id);
  for (const name of (await allRoutes()).map(({ name }) => name)) {
    const all = await makeRouter({ faces: [admitted], guard, resources });
    const without = (parts: Parameters<Face>[0]) =>
      admitted(parts).filter((route) => route.name !== name);
    const left = await makeRouter({ faces: [without], guard, resources });
    const { method, path } = all.routes.find((route) => route.name === name)!;
    const isAlone = !left.routes.some((route) => shapeOf(route.path) === shapeOf(path));
    const gone = isAlone ? 404 : method === "OPTIONS" ? 204 : 405;
    const url = `http://host${path.replace(":id", id)}`;
    for (const state of ["none", "read", "upload", "admin"]) {
      const { headers } = of[state];
      const answer = await left.fetch(new Request(url, { method, headers }), null);
      assertEquals(answer.status, gone, `${method} ${path}`);
      // Nobody is asked for a token where nothing is, and no method is named that is not there.
      assertEquals(answer.headers.get("www-authenticate"), null);
      const allowed = answer.headers.get("allow")?.split(", ") ?? [];
      assertEquals(allowed.includes(method), method === "OPTIONS" && !isAlone);
    }
    assert(namesOf(all).includes(name));
    assert(!namesOf(left).includes(name));
  }
  await resources.close();
});
