/**
 * Routes as an OpenAPI 3.1 document (PROTOCOL.md 6).
 * @module
 */
import { type ErrorCode, ERRORS, VERSION } from "../../protocol.ts";
import type { AccessRule } from "../access.ts";
import type { Parameter } from "./parameters.ts";
import type { Answer, Route } from "../route.ts";
import { PROBLEM, type Schema, TEXT } from "./schemas.ts";

type Json = Record<string, unknown>;

/** Errors that any request may end with. */
const OF_ALL: readonly ErrorCode[] = [
  ...["ORIGIN_REFUSED", "HOST_REFUSED", "LIMIT_REACHED", "INTERNAL"] as const,
];
/** Errors of requests that present a credential, or one where none may stand, and of the catalog behind them. */
const OF_GUARDED: readonly ErrorCode[] = [
  ...["BAD_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "RATE_LIMITED"] as const,
  ...["UNREACHABLE", "NOT_READY"] as const,
];

/**
 * Describes routes.
 * @param routes The routes.
 * @returns The document, without `servers`.
 */
export function describeRoutes(routes: readonly Route[]): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = paths[pathOf(route)] ??= {};
    path[route.method.toLowerCase()] = operation(route);
    if (route.method === "GET" && !(101 in route.answers)) path.head = headOf(route);
  }
  const schemas: Json = {};
  return {
    openapi: "3.1.0",
    info: {
      title: "stream",
      summary: "Moves files that are still being written",
      version: VERSION,
      license: { name: "MIT", identifier: "MIT" },
    },
    paths: shareSchemas(paths, schemas),
    components: {
      schemas,
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        link: { type: "apiKey", in: "query", name: "access" },
      },
    },
  };
}

/** `/resources/{id}`. */
function pathOf({ path }: Route): string {
  return path.replace(/:(\w+)/g, "{$1}");
}

function operation(route: Route): Json {
  const { name, summary, section, parameters, takes, access } = route;
  return {
    operationId: name,
    summary,
    description: `PROTOCOL.md, section ${section}`,
    security: securityOf(access),
    parameters: Object.values(parameters).map(described),
    ...(takes === undefined ? {} : { requestBody: { content: { [takes]: {} } } }),
    responses: { ...responsesOf(route, true), ...problemsOf(route) },
  };
}

/** HEAD: as GET, without bodies. */
function headOf(route: Route): Json {
  return {
    ...operation(route),
    operationId: `head${capitalized(route.name.replace(/^(get|list)/, ""))}`,
    responses: { ...responsesOf(route, false), ...problemsOf(route) },
  };
}

function capitalized(name: string): string {
  return name[0].toUpperCase() + name.slice(1);
}

/** Without any, with a token, or with a link that reads one resource. */
function securityOf(access: AccessRule): Json[] {
  if (access === "everybody") return [];
  const withLink = access.scope === "read" && access.links !== false;
  return [{}, { token: [] }, ...(withLink ? [{ link: [] }] : [])];
}

function described({ in: place, name, description, schema }: Parameter): Json {
  return { name, in: place, description, schema, ...(place === "path" ? { required: true } : {}) };
}

function responsesOf({ answers }: Route, withBodies: boolean): Json {
  return mapped(answers, ({ description, body, headers }: Answer) => ({
    description,
    ...(headers.length === 0 ? {} : {
      headers: Object.fromEntries(headers.map((name) => [name, { schema: TEXT }])),
    }),
    ...(withBodies && Object.keys(body).length > 0
      ? { content: mapped(body, (schema) => schema === null ? {} : { schema }) }
      : {}),
  }));
}

/** Errors by their status; the description has the codes. */
function problemsOf({ errors, access }: Route): Json {
  const codes = new Set([...errors, ...OF_ALL, ...(access === "everybody" ? [] : OF_GUARDED)]);
  const content = { "application/problem+json": { schema: PROBLEM } };
  const byStatus = Map.groupBy(codes, (code) => ERRORS[code].http);
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [status, { description: codes.join(", "), content }]),
  );
}

/** Puts schemas with a title in one place, and references to them in theirs. */
function shareSchemas(value: unknown, shared: Json): unknown {
  if (Array.isArray(value)) return value.map((item) => shareSchemas(item, shared));
  if (typeof value !== "object" || value === null) return value;
  const copy = mapped(value as Json, (item) => shareSchemas(item, shared));
  if (!isShared(value)) return copy;
  shared[value.title] = copy;
  return { $ref: `#/components/schemas/${value.title}` };
}

function isShared(value: object): value is Schema & { title: string } {
  return "title" in value && typeof value.title === "string";
}

function mapped<Value>(
  members: Readonly<Record<string, Value>>,
  change: (value: Value) => unknown,
): Json {
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [name, change(value)]));
}
