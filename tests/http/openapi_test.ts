/** The OpenAPI document: it is valid, complete, and names nothing that does not exist. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Validator } from "@seriousme/openapi-schema-validator";
import {
  type ContextAttributes,
  type ContextQuery,
  MemoryCatalog,
  MemoryStorage,
  type ResourceQuery,
} from "../../mod.ts";
import { type ErrorCode, ERRORS, StreamError, VERSION } from "../../src/protocol.ts";
import { describeRoutes } from "../../src/server/route/openapi.ts";
import { allRoutes } from "../helpers/routes.ts";
import { startServer } from "../helpers/server.ts";

interface Operation {
  operationId: string;
  responses: Record<string, { description: string; content?: Record<string, unknown> }>;
  parameters?: { name: string; in: string }[];
}
type PathItem = Record<string, Operation>;

const OPENAPI = describeRoutes(await allRoutes());
const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"];
const paths = OPENAPI.paths as Record<string, PathItem>;
const operations = Object.entries(paths).flatMap(([path, item]) =>
  METHODS.filter((method) => method in item)
    .map((method) => ({ path, method, operation: item[method], item }))
);

/** `GET /resources/{}`: neither names of parameters nor a slash at the end matter. */
function shape(method: string, path: string): string {
  return `${method.toUpperCase()} ${
    path.replace(/:\w+(\{[^}]*\})?|\{\w+\}/g, "{}").replace(/\/$/, "")
  }`;
}

async function routes(): Promise<string[]> {
  const described = (await allRoutes())
    .filter(({ method }) => METHODS.includes(method.toLowerCase()));
  return described.map(({ method, path }) => shape(method, path));
}

test("every route is in the document", async () => {
  const described = operations.map(({ method, path }) => shape(method, path));
  // Whoever answers HEAD alone is a route for GET, too.
  const missing = (await routes()).filter((route) =>
    !described.includes(route) && !described.includes(route.replace(/^GET /, "HEAD "))
  );
  assertEquals(missing, []);
});

test("every operation of the document is a route", async () => {
  const there = await routes();
  const missing = operations.map(({ method, path }) => shape(method, path)).filter((described) =>
    // Whoever answers GET answers HEAD.
    !there.includes(described) && !there.includes(described.replace(/^HEAD /, "GET "))
  );
  assertEquals(missing, []);
});

test("the document is valid OpenAPI 3.1", async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(OPENAPI));
  assert(valid, JSON.stringify(errors));
});

test("the document tells the version of the program and where the server is", async () => {
  await using server = await startServer();
  const response = await fetch(`${server.url}/openapi.json`);
  assertEquals(response.status, 200);
  const { openapi, info, servers } = await response.json();
  assertEquals([openapi, info.version], ["3.1.0", VERSION]);
  assertEquals(servers, [{ url: server.url }]);
});

test("all schemas that are used exist, and all that exist are used", () => {
  const schemas = (OPENAPI.components as { schemas: Record<string, unknown> }).schemas;
  const used = [...JSON.stringify(OPENAPI).matchAll(/#\/components\/schemas\/(\w+)/g)];
  const names = new Set(used.map(([, name]) => name));
  assertEquals([...names].toSorted(), Object.keys(schemas).toSorted());
});

test("errors are under the status of their code", () => {
  for (const { path, method, operation } of operations) {
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      if (content === undefined || !("application/problem+json" in content)) continue;
      for (const code of description.split(", ")) {
        assertEquals(ERRORS[code as ErrorCode]?.http, Number(status), `${method} ${path}: ${code}`);
      }
    }
  }
});

test("operations have distinct ids, and every parameter of a path is described", () => {
  const ids = operations.map(({ operation }) => operation.operationId);
  assertEquals(new Set(ids).size, ids.length);
  for (const { path, operation, item } of operations) {
    const described = [
      ...(item.parameters as unknown as { name: string; in: string }[] ?? []),
      ...(operation.parameters ?? []),
    ].filter((parameter) => parameter.in === "path").map(({ name }) => name);
    assertEquals(described, [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name), path);
  }
});

/** A catalog that another process holds, once it is said so. */
class HeldCatalog extends MemoryCatalog {
  isHeld = false;

  override get(id: string) {
    return this.#unlessHeld(() => super.get(id));
  }
  override list(query: ResourceQuery) {
    return this.#unlessHeld(() => super.list(query));
  }
  override delete(id: string, createdAtMs?: number) {
    return this.#unlessHeld(() => super.delete(id, createdAtMs));
  }
  override createContext(id: string, attributes?: ContextAttributes) {
    return this.#unlessHeld(() => super.createContext(id, attributes));
  }
  override getContext(id: string) {
    return this.#unlessHeld(() => super.getContext(id));
  }
  override closeContext(id: string) {
    return this.#unlessHeld(() => super.closeContext(id));
  }
  override listContexts(query: ContextQuery) {
    return this.#unlessHeld(() => super.listContexts(query));
  }

  async #unlessHeld<T>(step: () => Promise<T>): Promise<T> {
    if (this.isHeld) throw new StreamError("NOT_READY", "somebody holds it");
    return await step();
  }
}

test("what is answered while the catalog is held is in the document", async () => {
  const catalog = new HeldCatalog();
  await using server = await startServer({ catalog, storage: new MemoryStorage() });
  catalog.isHeld = true;
  const id = crypto.randomUUID();
  const undescribed: string[] = [];
  for (const { path, method, operation } of operations) {
    if (method === "head") continue;
    const url = server.url + path.replace(/\{\w+\}/g, id);
    const query = path.endsWith("/search") ? "?q=x" : "";
    const response = await fetch(url + query, { method: method.toUpperCase() });
    const told = operation.responses[response.status];
    const isProblem = response.headers.get("content-type") === "application/problem+json";
    const { code } = isProblem ? await response.json() : { code: "" };
    if (!isProblem) await response.body?.cancel();
    if (told?.description.includes(code)) continue;
    undescribed.push(`${operation.operationId}: ${response.status} ${code}`);
  }
  assertEquals(undescribed, []);
});
