/** Uploads between nodes, whatever the nodes share: what must hold of them is the same in memory and on an engine. */
import { setTimeout as delay } from "node:timers/promises";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { open, push } from "../../mod.ts";
import { isFinal, type ResourceStatus, StreamError } from "../../src/protocol.ts";
import type { Appender, OwnedUpload, ResourceEvent, Resources } from "../../src/resources.ts";
import { concat, utf8 } from "./bytes.ts";
import { Proxy } from "./faults/proxy.ts";
import { assertBytes, within } from "./frames/connection.ts";
import type { Chance } from "./random.ts";
import { checksumOf, readAll, registration, statusWhere } from "./resources.ts";
import type { TestServer } from "./server.ts";

/** An upload that whoever knows its secret goes on with. */
export const RESUMABLE = registration({ ownedBy: "SECRET" });

const LOG = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const LINES_BETWEEN_HOPS = 20;

/** The end of a connection. */
export const gone = () => new StreamError("INTERRUPTED", "the connection broke");

export const ofSize = (size: number) => ({ currentSize }: ResourceStatus) => currentSize === size;

export const isOver = ({ transferStatus }: ResourceStatus) => isFinal(transferStatus);

/** Appends a text, and waits until it can be read. */
export async function write(appender: Appender, text: string): Promise<void> {
  appender.append(utf8(text));
  await statusWhere(appender.resource, ofSize(appender.received));
}

/** Goes on with an upload at a node. */
export async function resumeOn(
  node: Resources,
  { appender, secret }: OwnedUpload,
): Promise<Appender> {
  const resumed = await node.resume(appender.resource.id, secret!);
  assert("appender" in resumed);
  return resumed.appender;
}

/** What a node tells from now on. */
export function eventsOf(node: Resources): ResourceEvent[] {
  const events: ResourceEvent[] = [];
  node.listen((event) => events.push(event));
  return events;
}

export const typesOf = (events: ResourceEvent[]) =>
  events.map((event) => event.type === "status" ? event.status.transferStatus : event.type);

/**
 * What is pushed to one node is followed on the other, line by line, to its end and digest.
 * @returns The last status as the other node has it.
 */
export async function followElsewhere(a: TestServer, b: TestServer): Promise<ResourceStatus> {
  const upload = await push(a.url, LOG);
  const there = upload.reference.replace(a.url, b.url).replace(a.ws, b.ws);
  const download = await open(there);
  const writer = upload.writable.getWriter();
  const reader = download.read().getReader();
  const texts = ["one\n", "two\n", "three"];
  for (const text of texts) {
    await writer.write(utf8(text));
    const { value } = await within("its bytes", reader.read());
    assertEquals(new TextDecoder().decode(value), text);
  }
  await writer.close();
  assertEquals((await upload.done).size, 13);
  assertEquals(await reader.read(), { done: true, value: undefined });
  const { status, digest } = await b.resources.get(there.split("/").at(-1)!);
  const { transferStatus, currentSize, numberOfLines } = status;
  assertEquals([transferStatus, currentSize, numberOfLines], ["COMPLETED", 13, 3]);
  assertEquals(digest?.value, await checksumOf(utf8(texts.join(""))));
  download.close();
  return status;
}

/** An upload goes on at the other node each time its client gets there, with every byte once. */
export async function hopBetween(a: TestServer, b: TestServer, hops: number): Promise<void> {
  const events = [a, b].map((node) => eventsOf(node.resources as Resources));
  await using proxy = await Proxy.open(Number(new URL(a.url).port));
  const upload = await push(proxy.url, LOG);
  const follower = await open(upload.reference.replace(proxy.url, a.url));
  const followed: Uint8Array[] = [];
  const following = (async () => {
    for await (const bytes of follower.read()) followed.push(bytes);
  })();
  const writer = upload.writable.getWriter();
  const written: Uint8Array[] = [];
  for (let hop = 0; hop < hops; hop++) {
    for (let line = 0; line < LINES_BETWEEN_HOPS; line++) {
      const bytes = utf8(`hop ${hop} line ${line}\n`);
      written.push(bytes.slice());
      await writer.write(bytes);
    }
    proxy.target = Number(new URL(hop % 2 === 0 ? b.url : a.url).port);
    proxy.cut();
  }
  await writer.close();
  const all = concat(written);
  assertEquals((await within("the end", upload.done)).size, all.length);
  await within("the follower's end", following);
  assertBytes(concat(followed), all);
  const { status, digest } = await b.resources.get(upload.reference.split("/").at(-1)!);
  assertEquals([status.transferStatus, digest?.value], ["COMPLETED", await checksumOf(all)]);
  assertEquals(events.flatMap(typesOf).filter((type) => type === "FAILED"), []);
  follower.close();
}

/** Wherever an upload goes, no acknowledged byte is lost, none is doubled, statuses only rise and nothing is FAILED. */
export async function wander(
  nodes: readonly Resources[],
  chance: Chance,
  byteCount: number,
): Promise<void> {
  const events = nodes.map(eventsOf);
  let owner = await chance.pick(nodes).register(RESUMABLE);
  const statuses: ResourceStatus[] = [];
  await using opened = await nodes[0].open(owner.appender.resource.id);
  opened.resource.watch((status) => statuses.push(status));
  const content = chance.text(byteCount);
  for (let at = 0; at < content.length;) {
    const { appender } = owner;
    const end = Math.min(content.length, at + chance.whole(1, 300));
    appender.append(content.slice(at, end));
    at = end;
    if (chance.happens(0.5)) await delay(chance.whole(0, 3));
    if (chance.happens(0.6)) continue;
    const { acknowledged } = appender;
    const node = chance.pick(nodes);
    if (chance.happens(0.3)) void nodes.map((each) => each.interrupt(appender, gone()));
    owner = { appender: await resumeOn(node, owner), secret: owner.secret };
    assertLessOrEqual(acknowledged, owner.appender.received);
    // The client sends again what the log does not have.
    at = owner.appender.received;
  }
  const { size } = await owner.appender.complete(await checksumOf(content), content.length);
  assertEquals(size, content.length);
  await statusWhere(opened.resource, isOver);
  assertBytes(await readAll(opened.resource), content);
  for (let index = 1; index < statuses.length; index++) {
    const [before, after] = [statuses[index - 1], statuses[index]];
    assertLessOrEqual(before.epoch, after.epoch);
    assertLessOrEqual(before.currentSize, after.currentSize);
  }
  assertEquals(events.flatMap(typesOf).filter((type) => type === "FAILED"), []);
}
