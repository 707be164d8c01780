/** Whoever begins something while the engine is away is told so soon, and nothing of it is left. */
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assertEquals, assertLess } from "@std/assert";
import { JetStreamApiError } from "@nats-io/jetstream";
import type { NatsCatalog } from "../../src/catalog/nats.ts";
import type { Engine } from "../../src/cluster/engine.ts";
import { placeOf } from "../../src/cluster/logs.ts";
import { StreamError } from "../../src/protocol.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { emptyPlace } from "../catalog/in_cluster.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { startServer } from "../helpers/server.ts";
import { engineOfLogs, passAMinute, SHARDS } from "./logs.ts";

/** So long those wait who begin something, in ms; 12 000 in earnest. */
const ANSWER_MS = 300;
/** An answer that comes later came too late, in ms. */
const SOON_MS = 10 * ANSWER_MS;

/** Of a node: nothing that it asks of the engine is answered, until `comeBack`. */
function leave(engine: Engine): () => void {
  const away = () =>
    Promise.reject(new StreamError("NOT_READY", "the engine does not answer: it is away"));
  engine.request = away;
  engine.reach = (limitMs) => delay(limitMs).then(() => false);
  Object.defineProperty(engine, "isConnected", { get: () => false, configurable: true });
  return () => {
    for (const name of ["request", "reach", "isConnected"]) Reflect.deleteProperty(engine, name);
  };
}

/** Of a node: records are changed as ever, and no stream of logs takes anything or has a leader, until `comeBack`. */
function leaveLogs({ js, jsm: { streams } }: Engine): () => void {
  const silent = () => delay(20).then(() => Promise.reject(new Error("nobody answers")));
  const publish = js.publish.bind(js);
  const getMessage = streams.getMessage.bind(streams);
  js.publish = (subject, ...given) =>
    /^(log|idx)\./.test(subject) ? silent() : publish(subject, ...given);
  streams.getMessage = (stream, query) =>
    stream.startsWith("log-") ? silent() : getMessage(stream, query);
  return () => Object.assign(js, { publish }) && Object.assign(streams, { getMessage });
}

/** A server over an engine that others share, and its connection to that. */
async function startNode() {
  const records = await emptyPlace();
  const engine = await (await engineOfLogs()).connect();
  const storage = await NatsStorage.open(engine, { answerMs: ANSWER_MS });
  const catalog: NatsCatalog = await records.catalog({ engine, waitMs: ANSWER_MS });
  const server = await startServer({ storage, catalog, nodeId: "a", leaseMs: 20_000 });
  return {
    engine,
    storage,
    catalog,
    resources: server.resources,
    /** Asks, and tells what is answered. */
    async ask(method: string, path: string, fields: Record<string, string> = {}, body?: string) {
      const url = new URL(path, server.url);
      const signal = AbortSignal.timeout(SOON_MS);
      const answer = await fetch(url, { method, headers: fields, body, signal });
      const text = await answer.text();
      return { status: answer.status, headers: answer.headers, text };
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await storage.close();
      await records[Symbol.asyncDispose]();
    },
  };
}

const INTEROP = { "upload-draft-interop-version": "8", "upload-complete": "?0" };
const TUS = { "tus-resumable": "1.0.0" };
const PART = { ...INTEROP, "content-type": "application/partial-upload", "upload-offset": "0" };
const ADDED = { ...TUS, "content-type": "application/offset+octet-stream", "upload-offset": "0" };
/** Its id follows from its path, and logs of earlier tests stay. */
const newStream = () => `/streams/${crypto.randomUUID()}`;
const NEW = "/resources?name=a";
const TEXT = { "content-type": "text/plain" };

/** Everything that makes something, or asks for what is in the engine. */
async function operations({ ask }: Awaited<ReturnType<typeof startNode>>) {
  const there = JSON.parse((await ask("PUT", "/resources?name=a&lines=true", {}, "a\n")).text).id;
  const goes = JSON.parse((await ask("PUT", "/resources?name=a", {}, "a\n")).text).id;
  const begun = async (path: string, fields: Record<string, string>) =>
    new URL((await ask("POST", path, fields)).headers.get("location")!).pathname;
  const [upload, other] = [await begun(NEW, INTEROP), await begun(NEW, INTEROP)];
  const stream = newStream();
  const tus = await begun("/tus", { ...TUS, "upload-length": "5" });
  await ask("PUT", stream, TEXT, "a");
  await ask("PUT", "/contexts/there");
  // Nothing of it is open any more.
  await delay(1200);
  return {
    begin: [
      ["PUT", "/resources?name=b", {}, "b"],
      ["PUT", `/resources/${crypto.randomUUID()}?name=b`, {}, "b"],
      ["POST", "/resources?name=b", INTEROP],
      ["POST", "/resources?name=b&context=there", INTEROP],
      ["POST", "/tus", { ...TUS, "upload-length": "5" }],
      ["PUT", newStream(), TEXT, "b"],
      ["POST", stream, TEXT, "b"],
      ["PATCH", upload, PART, "b"],
      ["PATCH", tus, ADDED, "hello"],
      ["DELETE", other, INTEROP],
    ],
    ask: [
      ["GET", upload, INTEROP],
      ["GET", tus, TUS],
      ["GET", `/resources/${there}`],
      ["GET", `/resources/${there}/content`],
      ["GET", `/resources/${there}/lines`],
      ["GET", `/resources/${there}/search?q=a`],
      ["GET", `${stream}?offset=-1`],
      ["POST", `/resources/${there}/share`],
      ["DELETE", `/resources/${goes}`],
      ["DELETE", `/resources/${crypto.randomUUID()}`],
      ["GET", "/contexts/there"],
      ["GET", "/contexts/there/events"],
      ["PUT", "/contexts/b"],
      ["DELETE", "/contexts/there"],
    ],
  } as const;
}

type Operation = readonly [string, string, Record<string, string>?, string?];

async function assertRefused(
  { ask }: Awaited<ReturnType<typeof startNode>>,
  operations: readonly Operation[],
): Promise<void> {
  const answers = await Promise.all(operations.map(async ([method, path, fields, body]) => {
    const { status, headers, text } = await ask(method, path, fields, body);
    return [method, path, status, headers.get("retry-after"), JSON.parse(text).code];
  }));
  const refused = [503, "1", "NOT_READY"];
  assertEquals(answers, operations.map(([method, path]) => [method, path, ...refused]));
}

test("whoever asks for anything while the engine is away is told NOT_READY soon, and when to come again", async () => {
  await using node = await startNode();
  const { begin, ask } = await operations(node);
  const before = await node.resources.list({ limit: 100 });
  const comeBack = leave(node.engine);
  await assertRefused(node, [...begin, ...ask]);
  comeBack();
  await node.catalog.caughtUp();
  assertEquals(await node.resources.list({ limit: 100 }), before);
});

test("a node whose engine is away is not ready, and says that it is the engine", async () => {
  await using node = await startNode();
  const comeBack = leave(node.engine);
  const { status, text } = await node.ask("GET", "/readyz");
  const { detail } = JSON.parse(text);
  assertEquals([status, detail.includes("the engine of the cluster")], [503, true], detail);
  assertEquals(detail.includes("directory"), false, detail);
  comeBack();
});

test("whoever begins an upload while no stream takes its bytes is told NOT_READY soon, and when to come again", async () => {
  await using node = await startNode();
  const { begin } = await operations(node);
  const before = await node.resources.list({ limit: 100 });
  const comeBack = leaveLogs(node.engine);
  await assertRefused(node, begin);
  comeBack();
  await node.catalog.caughtUp();
  const ids = (await node.resources.list({ limit: 100 })).map(({ id }) => id);
  assertEquals(ids, before.map(({ id }) => id));
});

test("those who append to one stream while it takes nothing do not wait for one another in vain", async () => {
  await using node = await startNode();
  const path = newStream();
  await node.ask("PUT", path, TEXT, "a");
  await delay(1200);
  const comeBack = leaveLogs(node.engine);
  const begunAtMs = performance.now();
  const append: Operation = ["POST", path, TEXT, "b"];
  await assertRefused(node, Array.from({ length: 20 }, () => append));
  assertLess(performance.now() - begunAtMs, SOON_MS);
  comeBack();
  assertEquals((await node.ask("GET", `${path}?offset=-1`)).text, "a");
});

test("an id whose registration came to nothing, and left a log, is free again after a minute", async () => {
  await using node = await startNode();
  const { storage, ask } = node;
  const id = crypto.randomUUID();
  const path = `/resources/${id}?name=a`;
  const left = await storage.create(id, { lineAccess: false, epoch: 1, life: "left" });
  const early = await ask("PUT", path, {}, "new");
  assertEquals([early.status, JSON.parse(early.text).code], [503, "NOT_READY"]);
  passAMinute(node.engine);
  assertEquals((await ask("PUT", path, {}, "new")).status, 201);
  // Whoever began it comes back, and is too late.
  await assertFails("FENCED", () => left.append(0, [utf8("old")]));
  assertEquals(await storage.delete(id, "left"), false);
  assertEquals((await ask("GET", `/resources/${id}/content`)).text, "new");
  assertEquals((await ask("PUT", path, {}, "other")).status, 409);
});

test("an id whose bytes were left, as its node ended in the middle of the deletion, is free again after a minute", async () => {
  await using node = await startNode();
  const { catalog, ask } = node;
  const id = crypto.randomUUID();
  const path = `/resources/${id}?name=a`;
  const stream = `/streams/${crypto.randomUUID()}`;
  const { text } = await ask("PUT", stream, TEXT, "old");
  assertEquals((await ask("PUT", path, {}, "old")).status, 201);
  const [{ id: streamId }] = (await catalog.list({ limit: 9 })).filter((each) => each.id !== id);
  for (const each of [id, streamId]) await catalog.delete(each);
  assertEquals((await ask("PUT", path, {}, "new")).status, 409, text);
  passAMinute(node.engine);
  assertEquals((await ask("PUT", path, {}, "new")).status, 201);
  assertEquals((await ask("GET", `/resources/${id}/content`)).text, "new");
  assertEquals((await ask("PUT", stream, TEXT, "new")).status, 201);
  assertEquals((await ask("GET", `${stream}?offset=-1`)).text, "new");
  assertEquals((await ask("PUT", path, {}, "other")).status, 409);
});

test("what is deleted is gone at once, and its bytes go when the engine takes that", async () => {
  await using node = await startNode();
  const { text } = await node.ask("PUT", "/resources?name=a", {}, "a");
  const { id } = JSON.parse(text);
  const comeBack = leaveLogs(node.engine);
  assertEquals((await node.ask("DELETE", `/resources/${id}`)).status, 204);
  assertEquals((await node.ask("GET", `/resources/${id}`)).status, 404);
  comeBack();
  const { stream, subject } = placeOf(id, SHARDS);
  const { streams } = node.engine.jsm;
  while (await streams.getMessage(stream, { last_by_subj: subject }) !== null) await delay(10);
});

test("what is deleted makes room in a stream that is full", async () => {
  await using node = await startNode();
  const { js, jsm: { streams } } = node.engine;
  const { id } = JSON.parse((await node.ask("PUT", "/resources?name=a", {}, "a")).text);
  const publish = js.publish.bind(js);
  const full = { code: 503, err_code: 10077, description: "maximum bytes exceeded" };
  js.publish = async (subject, ...given) => {
    if (/^(log|idx)\./.test(subject)) throw new JetStreamApiError(full);
    return await publish(subject, ...given);
  };
  const refused = await node.ask("PUT", "/resources?name=b", {}, "b");
  assertEquals([refused.status, JSON.parse(refused.text).code], [413, "QUOTA_EXCEEDED"]);
  assertEquals((await node.ask("DELETE", `/resources/${id}`)).status, 204);
  const { stream, subject } = placeOf(id, SHARDS);
  assertEquals(await streams.getMessage(stream, { last_by_subj: subject }), null);
});
