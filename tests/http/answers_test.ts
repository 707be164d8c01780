/** The OpenAPI document tells the truth: real answers are held against it. */
import { createHash } from "node:crypto";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import ajvFormats from "ajv-formats";
import { SignedLinks } from "../../mod.ts";
import type { Grant } from "../../src/access.ts";
import { describeRoutes } from "../../src/server/route/openapi.ts";
import { assetNames } from "../../src/server/viewer/assets.ts";
import { allRoutes } from "../helpers/routes.ts";
import { startServer } from "../helpers/server.ts";

type Schema = Record<string, unknown>;

interface Operation {
  operationId: string;
  parameters: { name: string; in: string; schema: Schema }[];
  responses: Record<string, {
    description: string;
    headers?: Record<string, unknown>;
    content?: Record<string, { schema?: Schema }>;
  }>;
}

const routes = await allRoutes();
const openApi = describeRoutes(routes) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

/** No object has a member that its schema does not name. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== "object" || value === null) return value;
  const copy = Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, closed(member)]),
  );
  return "properties" in value ? { ...copy, additionalProperties: false } : copy;
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
// The module is CommonJS, whose default export Deno and Bun see differently.
const addFormats = (ajvFormats as unknown as { default?: typeof ajvFormats }).default ?? ajvFormats;
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addSchema(closed({ ...openApi, $id: "openapi" }) as Schema);

function assertFits(schema: Schema, value: unknown, what: string): void {
  const local = JSON.parse(JSON.stringify(closed(schema)).replaceAll(`"#/`, `"openapi#/`));
  const validate: ValidateFunction = ajv.compile(local);
  assert(validate(value), `${what}: ${JSON.stringify(value)}: ${ajv.errorsText(validate.errors)}`);
}

/** Fields that clients are told of; all others are of no concern to a single route. */
const TOLD = /^(upload-|stream-|location$|link$|etag$|content-range$|repr-digest$|accept-patch$)/;

/** What is done when a text has come. */
type Step = [text: string, act: () => Promise<unknown>];

/** What a stream says until all has come that is waited for; then it is given up. */
async function follow({ body }: Response, steps: Step[]): Promise<string> {
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  let heard = "";
  for (const [text, act] of steps) {
    while (!heard.includes(text)) {
      const { done, value } = await reader.read();
      assert(!done, `the stream ended before ${text}: ${heard}`);
      heard += value;
    }
    await act();
  }
  await reader.cancel();
  return heard;
}

/** Requests, each of which must be answered as the document says. */
class Asker {
  readonly asked = new Set<string>();
  readonly codes = new Set<string>();

  constructor(private readonly url: string) {}

  /** Asks; `{name}` in the path stands for what `values` has. */
  async ask(
    method: string,
    path: string,
    values: Record<string, string> = {},
    query = "",
    init: RequestInit = {},
    steps?: Step[],
  ): Promise<{ status: number; headers: Headers; body: string }> {
    const operation = openApi.paths[path]?.[method.toLowerCase()];
    assert(operation !== undefined, `${method} ${path} is not described`);
    const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values[name]));
    const response = await fetch(this.url + filled + query, { method, ...init });
    const { status, headers } = response;
    const body = steps === undefined ? await response.text() : await follow(response, steps);
    const what = `${method} ${filled}${query} → ${status}`;
    this.asked.add(operation.operationId);
    const described = operation.responses[status];
    assert(described !== undefined, `${what} is not described: ${body}`);
    if (status < 400) {
      const names = Object.keys(described.headers ?? {}).map((name) => name.toLowerCase());
      const untold = [...headers.keys()].filter((name) => TOLD.test(name) && !names.includes(name));
      assertEquals(untold, [], `headers of ${what}`);
    }
    if (method !== "HEAD") this.#checkBody(described, headers, body, what);
    return { status, headers, body };
  }

  #checkBody(
    { description, content = {} }: Operation["responses"][string],
    headers: Headers,
    body: string,
    what: string,
  ): void {
    const type = headers.get("content-type")?.split(";")[0] ?? "";
    if (Object.keys(content).length === 0) return assertEquals(body, "", what);
    const media = content[type] ?? content["*/*"];
    assert(media !== undefined, `${what} is ${type}, not ${Object.keys(content)}`);
    const schema = media.schema ?? {};
    if (type === "application/x-ndjson") {
      for (const line of body.trimEnd().split("\n")) assertFits(schema, JSON.parse(line), what);
    } else if (type === "text/event-stream") {
      const types = schema["x-event-data"] as Record<string, Schema>;
      for (const [, name, data] of body.matchAll(/^event: (\w+)\n(?:id: .*\n)?data: (.*)$/gm)) {
        assert(name in types, `${what}: event ${name} is not described`);
        assertFits(types[name], JSON.parse(data), `${what}: event ${name}`);
      }
    } else if (type.endsWith("json") && !("*/*" in content)) {
      const value = JSON.parse(body);
      assertFits(schema, value, what);
      if (type !== "application/problem+json") return;
      this.codes.add(value.code);
      const { code } = value;
      assert(description.split(", ").includes(code), `${what}: ${code} is not described`);
    }
  }
}

const ONE = "/resources/{id}";
const CONTENT = `${ONE}/content`;
const LINES = `${ONE}/lines`;
const SEARCH = `${ONE}/search`;
const UPLOAD = "/uploads/{id}/{secret}";
const CONTEXT = "/contexts/{id}";
const nobody = { id: crypto.randomUUID() };
const md5 = (text: string) => `md5=:${createHash("md5").update(text).digest("base64")}:`;
const partial = { "content-type": "application/partial-upload" };

async function askOfUploads(asker: Asker): Promise<string> {
  const put = (id: string, headers: Record<string, string> = {}, query = "", body = "one\ntwo\n") =>
    asker.ask("PUT", ONE, { id }, query, { body, headers });
  const made = await put("a.log", { "repr-digest": md5("one\ntwo\n") }, "?context=run-17");
  const { id } = JSON.parse(made.body);
  await put(id);
  await put("a.log", {}, "?type=wrong");
  await put("a.log", {}, "?lines=yes");
  await put("a.log", { "repr-digest": md5("other") });
  await put("a.log", { "content-encoding": "gzip" });
  const init = { body: "one" };
  for (const method of ["POST", "PUT"]) {
    await asker.ask(method, "/resources", {}, "?name=a.log&lines=false", init);
    await asker.ask(method, "/resources", {}, "", init);
  }
  const begin = async () => {
    const headers = { "upload-complete": "?0", "upload-length": "6" };
    const { headers: { location } } = await put("b.log", headers, "", "one")
      .then(({ headers }) => ({ headers: { location: headers.get("location")! } }));
    const [, id, secret] = /\/uploads\/([^/]+)\/([^/]+)$/.exec(location)!;
    return { id, secret };
  };
  const upload = await begin();
  const append = (offset: string, body: string, headers: Record<string, string> = {}) =>
    asker.ask("PATCH", UPLOAD, upload, "", {
      body,
      headers: { ...partial, "upload-offset": offset, "upload-complete": "?0", ...headers },
    });
  await asker.ask("HEAD", UPLOAD, upload);
  await asker.ask("GET", UPLOAD, upload);
  await asker.ask("GET", UPLOAD, { ...upload, secret: "wrong" });
  await asker.ask("GET", UPLOAD, { ...upload, ...nobody });
  await append("3", "t");
  await append("4", "w", { prefer: "return=representation" });
  await append("-1", "x");
  await append("5", "o", { "upload-complete": "?1" });
  await asker.ask("GET", UPLOAD, upload);
  await asker.ask("HEAD", UPLOAD, upload);
  await asker.ask("DELETE", UPLOAD, upload);
  await asker.ask("DELETE", UPLOAD, await begin(), "?reason=enough");
  return id;
}

async function askOfReading(asker: Asker, id: string): Promise<void> {
  const of = (path: string, query = "", headers: Record<string, string> = {}) =>
    asker.ask("GET", path, { id }, query, { headers });
  const { headers } = await of(CONTENT);
  await asker.ask("HEAD", CONTENT, { id });
  await of(CONTENT, "?download", { range: "bytes=1-2" });
  await of(CONTENT, "", { range: "bytes=99-" });
  await of(CONTENT, "", { "if-none-match": headers.get("etag")! });
  await of(LINES);
  await of(LINES, "?start=-1&offset=1", { accept: "application/json" });
  await of(LINES, "?count=1", { accept: "application/json" });
  await of(LINES, "?count=0", { accept: "application/json" });
  await of(LINES, "?locate=true&start=-5&count=100000");
  await of(LINES, "?start=99");
  await of(LINES, "?tail=1&count=2");
  await of(LINES, "?count=10001");
  await of(SEARCH, "?q=o");
  await of(SEARCH, "?q=o&limit=1&from=-2&to=99");
  await of(SEARCH, "?q=(&regex=true");
  await of(`${ONE}/events`);
  await of(`${ONE}/events`, "?text=100");
  await of(ONE, "?start=-1&count=5");
  await of(ONE, "?count=0");
  const { epoch, sequence } = JSON.parse((await of(ONE)).body);
  await of(`${ONE}/events`, "", { "last-event-id": `${epoch}.${sequence}` });
  await of(`${ONE}/events`, "", { "last-event-id": "x" });
  await asker.ask("POST", `${ONE}/share`, { id }, "?expires=60");
  for (const path of [ONE, CONTENT, LINES, `${ONE}/events`]) await asker.ask("GET", path, nobody);
  await asker.ask("GET", SEARCH, nobody, "?q=x");
  await asker.ask("POST", `${ONE}/share`, nobody);
  for (const path of [ONE, LINES, SEARCH, `${ONE}/events`]) {
    await asker.ask("HEAD", path, { id }, "?q=x");
  }
  const { body } = await asker.ask("GET", "/resources", {}, "?limit=1&status=COMPLETED");
  assertEquals(JSON.parse(body).length, 1);
  await asker.ask("GET", "/resources", {}, "?limit=0");
  await asker.ask("GET", "/resources", {}, "?after=x");
  await asker.ask("HEAD", "/resources");
}

async function askOfContexts(asker: Asker): Promise<void> {
  const id = "run-17";
  const uploaded = await asker.ask("PUT", ONE, { id: "c.log" }, `?context=${id}`, { body: "x" });
  const { id: first } = JSON.parse(uploaded.body);
  const second = crypto.randomUUID();
  const put = (name: string) =>
    asker.ask("PUT", ONE, { id: name }, `?context=${id}`, { body: "x" });
  await asker.ask("GET", `${CONTEXT}/events`, { id }, "", {}, [
    ["event: resource", () => put(second)],
    ["event: created", async () => {}],
    ["event: status", () => asker.ask("DELETE", ONE, { id: first })],
    ["event: deleted", () => asker.ask("DELETE", CONTEXT, { id })],
    ["event: deleted", () => put("late.log")],
    ["event: refused", async () => {}],
  ]);
  for (const id of ["run-17", "run-18"]) await asker.ask("PUT", CONTEXT, { id });
  await asker.ask("PUT", CONTEXT, { id: "\0" });
  for (const method of ["GET", "HEAD"]) {
    await asker.ask(method, CONTEXT, { id });
    await asker.ask(method, "/contexts", {}, "?limit=1");
    await asker.ask(method, CONTEXT, nobody);
  }
  await asker.ask("GET", "/events", {}, `?context=${id}`, {}, [
    ["what happens", () => asker.ask("DELETE", ONE, { id: second })],
    ["event: deleted", async () => {}],
  ]);
  await asker.ask("HEAD", "/events");
  await asker.ask("GET", `${CONTEXT}/events`, nobody);
  await asker.ask("HEAD", `${CONTEXT}/events`, { id });
  await asker.ask("DELETE", CONTEXT, nobody);
}

async function askOfServer(asker: Asker): Promise<void> {
  for (const method of ["GET", "HEAD"]) {
    for (const path of ["/metrics", "/healthz", "/readyz", "/openapi.json", "/"]) {
      await asker.ask(method, path);
    }
  }
  await asker.ask("GET", "/", {}, "", { headers: { accept: "text/html" } });
  for (const method of ["GET", "HEAD"]) {
    await asker.ask(method, "/view/{id}", nobody);
    await asker.ask(method, "/view", {}, "?context=run");
    for (const name of Object.values(assetNames())) {
      await asker.ask(method, "/viewer/{name}", { name });
    }
  }
  await asker.ask("GET", "/viewer/{name}", { name: "missing.js" });
  await asker.ask("OPTIONS", "/resources");
  await asker.ask("OPTIONS", ONE, nobody);
  await asker.ask("OPTIONS", UPLOAD, { ...nobody, secret: "x" });
}

const grant: Grant = {
  name: "test",
  scopes: ["upload", "read", "admin"],
  contextId: null,
  resourceId: null,
  expiresAtMs: null,
};

async function askOfTus(asker: Asker): Promise<void> {
  const [endpoint, one] = ["/tus", "/tus/{id}/{secret}"];
  const version = { "tus-resumable": "1.0.0" };
  await asker.ask("OPTIONS", endpoint);
  await asker.ask("POST", endpoint, {}, "", { headers: { "upload-length": "1" } });
  const headers = { ...version, "upload-length": "3", "upload-metadata": "filename YQ==" };
  const created = await asker.ask("POST", endpoint, {}, "", { headers });
  const [id, secret] = new URL(created.headers.get("location")!).pathname.split("/").slice(-2);
  const content = { ...version, "content-type": "application/offset+octet-stream" };
  const patch = { headers: { ...content, "upload-offset": "0" }, body: "1" };
  await asker.ask("OPTIONS", one, { id, secret });
  await asker.ask("PATCH", one, { id, secret }, "", patch);
  await asker.ask("PATCH", one, { id, secret }, "", patch);
  await asker.ask("PATCH", one, { id, secret }, "", { headers: version, body: "1" });
  const override = { ...content, "upload-offset": "1", "x-http-method-override": "PATCH" };
  await asker.ask("POST", one, { id, secret }, "", { headers: override, body: "2" });
  await asker.ask("HEAD", one, { id, secret }, "", { headers: version });
  await asker.ask("GET", one, { id, secret });
  await asker.ask("DELETE", one, { id, secret: "wrong" }, "", { headers: version });
  await asker.ask("DELETE", one, { id, secret }, "", { headers: version });
  await asker.ask("DELETE", one, { id, secret }, "", { headers: version });
}

async function askOfStreams(asker: Asker): Promise<void> {
  const path = Object.keys(openApi.paths).find((path) => path.startsWith("/streams/"))!;
  const values = { path: "answers" };
  const ask = (method: string, query = "", init: RequestInit = {}) =>
    asker.ask(method, path, values, query, init);
  const headers = { "content-type": "text/plain" };
  const producer = { ...headers, "producer-id": "p", "producer-epoch": "0" };
  await ask("HEAD");
  await ask("POST", "", { headers, body: "nowhere" });
  for (const type of ["text/plain", "text/plain", "text/html"]) {
    await ask("PUT", "", { headers: { "content-type": type } });
  }
  await ask("POST", "", { headers, body: "one\n" });
  for (const seq of ["0", "0", "2"]) {
    await ask("POST", "", { headers: { ...producer, "producer-seq": seq }, body: "two\n" });
  }
  for (const query of ["", "?offset=-1", "?offset=now", "?offset=nonsense"]) {
    await ask("GET", query);
  }
  const { headers: read } = await ask("GET", "?offset=-1");
  await ask("GET", "?offset=-1", { headers: { "if-none-match": read.get("etag")! } });
  await ask("POST", "", { headers: { "stream-closed": "true" } });
  await ask("POST", "", { headers, body: "late" });
  await ask("GET", `?offset=${read.get("stream-next-offset")}&live=long-poll`);
  await ask("GET", "?offset=-1&live=sse");
  await ask("HEAD");
  await ask("DELETE");
  await ask("DELETE");
}

test("every answer of every operation is as the document describes it", async () => {
  await using server = await startServer();
  const asker = new Asker(server.url);
  const id = await askOfUploads(asker);
  await askOfReading(asker, id);
  await askOfServer(asker);
  await asker.ask("DELETE", ONE, { id });
  await asker.ask("DELETE", ONE, { id });
  await asker.ask("HEAD", ONE, { id });
  await askOfContexts(asker);
  await askOfTus(asker);
  await askOfStreams(asker);
  const all = Object.values(openApi.paths).flatMap((path) => Object.values(path))
    .filter(({ responses }) => !("101" in responses));
  const missing = all.map(({ operationId }) => operationId).filter((id) => !asker.asked.has(id));
  assertEquals(missing, []);
  // Errors were among them, or the test would say little.
  assert(asker.codes.size >= 10, [...asker.codes].join(", "));
});

test("links that are made, and refusals, are as the document describes them", async () => {
  const tokens = {
    authenticate: (token: string) => Promise.resolve(token === "right" ? grant : null),
  };
  await using server = await startServer({ access: { tokens, links: new SignedLinks() } });
  const asker = new Asker(server.url);
  const headers = { authorization: "Bearer right" };
  const { body } = await asker.ask("PUT", ONE, { id: "a.log" }, "", { headers, body: "x" });
  const { id } = JSON.parse(body);
  assertEquals((await asker.ask("POST", `${ONE}/share`, { id }, "", { headers })).status, 201);
  for (const [path, values] of [[ONE, { id }], ["/resources", {}], ["/metrics", {}]] as const) {
    assertEquals((await asker.ask("GET", path, values)).status, 401);
    const wrong = { headers: { authorization: "Bearer wrong" } };
    assertEquals((await asker.ask("GET", path, values, "", wrong)).status, 401);
    assertEquals((await asker.ask("GET", path, values, "?access_token=right")).status, 400);
  }
});

test("what a parameter's schema allows is taken, and what it does not is BAD_REQUEST", async () => {
  await using server = await startServer();
  const response = await fetch(`${server.url}/resources/a.log`, { method: "PUT", body: "one\n" });
  const { id } = await response.json();
  for (const { method, path, parameters, name } of routes) {
    for (const parameter of Object.values(parameters)) {
      const { minimum, maximum } = parameter.schema;
      if (parameter.in !== "query" || typeof minimum !== "number" || method !== "GET") continue;
      const url = server.url + path.replace(":id", id);
      const ask = async (value: number | string) => {
        const response = await fetch(`${url}?q=x&${parameter.name}=${value}`);
        const text = await response.text();
        return response.ok || JSON.parse(text).code !== "BAD_REQUEST";
      };
      const what = `${name} ${parameter.name}`;
      assert(await ask(minimum), `${what} ${minimum}`);
      const isLinesCount = name === "getLines" && parameter.name === "count";
      assert(await ask(isLinesCount ? `${maximum}&locate=true` : maximum as number), what);
      assert(!await ask(minimum - 1 === minimum ? "-9007199254740993" : minimum - 1), what);
      assert(!await ask("9007199254740993"), what);
      assert(!await ask("1.5"), what);
    }
  }
});
