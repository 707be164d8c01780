/**
 * Events of a resource or an upload context, as server-sent events (PROTOCOL.md 6.4 and 6.5).
 * @module
 */
import { setTimeout } from "node:timers/promises";
import type { Context } from "hono";
import { Bell } from "../../bell.ts";
import {
  checkLife,
  EVENTS_PATH,
  isFinal,
  isNewer,
  type StatusNumber,
  StreamError,
} from "../../protocol.ts";
import {
  NewTextReader,
  type Resource,
  type ResourceEvent,
  type Resources,
  type ResourceView,
} from "../../resources.ts";
import { answerWith, type BodySource } from "../answer.ts";
import type { FaceParts } from "../face.ts";
import { grantOf } from "../access.ts";
import { inHeader, inQuery, integer, type Kind, text } from "../route/parameters.ts";
import { listed, ofContext, ofResource } from "../access/reach.ts";
import type { References } from "../references.ts";
import { answer, answerOf, type Route, route } from "../route.ts";
import {
  CODE,
  COUNT,
  FLAG,
  object,
  RESOURCE,
  type Schema,
  STATUS,
  STATUS_EXTRAS,
  STATUS_MEMBERS,
  TEXT,
} from "../route/schemas.ts";
import { openFor } from "../opening.ts";
import { contextId, ONE_CONTEXT } from "./contexts.ts";
import { type NewsLimits, WaitingNews } from "./events/news.ts";
import { ONE, resourceId } from "./listing.ts";

/** Proxies give up what is silent for a minute. */
const HEARTBEAT_MS = 15_000;
/** Who looks at all resources looks at none of them closely. */
const PACE_MS = 1000;
/** Most text that goes with one status: what a busy log gets between two. */
const MAX_TEXT_BYTES = 64 * 1024;
/** Records of a snapshot read together. */
const PAGE_RESOURCES = 100;

type Events = AsyncGenerator<Uint8Array, void, void>;

const ONLY_ID = object({ id: TEXT });
const NEW_TEXT = object({ startOffset: COUNT, endOffset: COUNT, text: TEXT });
const METADATA = { filename: TEXT, mimeType: TEXT, supportsLineAccess: FLAG };

/** What happens to resources. */
const NEWS = {
  created: object({ id: TEXT, ...METADATA, reference: TEXT }),
  status: object({ id: TEXT, ...STATUS_MEMBERS }, STATUS_EXTRAS),
  refused: object({ ...METADATA, code: CODE, message: TEXT }),
  deleted: ONLY_ID,
};

/** OpenAPI 3.1 has no word for what events hold; `x-event-data` has a schema for each type of them. */
function streamOf(eventData: Record<string, Schema>): Record<string, Schema> {
  return { "text/event-stream": { ...TEXT, "x-event-data": eventData } };
}

const SEEN = /^(?:([0-9a-z]{1,20})\.)?(\d{1,15})\.(\d{1,15})$/;

/** Status that a client saw, and of which life of the resource; undefined where it does not say. */
type Seen = StatusNumber & { life: string | undefined };

/** The last status that a client saw before it connected again; null where it says nothing. */
const seenStatus: Kind<Seen | null> = {
  schema: { type: "string", pattern: `${SEEN.source}|^$` },
  read(text) {
    if (text === "") return null;
    const [, life, epoch, sequence] = SEEN.exec(text) ?? [];
    if (epoch !== undefined) return { life, epoch: Number(epoch), sequence: Number(sequence) };
    throw new StreamError(
      "BAD_REQUEST",
      `Last-Event-ID: ${text.slice(0, 80)} is not LIFE.EPOCH.SEQUENCE, as the events have it`,
    );
  },
};

/** Routes of events. */
export function eventsRoutes(parts: FaceParts): Route[] {
  return [
    route({
      name: "followStatus",
      method: "GET",
      path: `${ONE}/events`,
      section: "6.4",
      summary: "Every new status, as server-sent events",
      access: { scope: "read", reach: ofResource },
      parameters: {
        id: resourceId,
        lastEventId: inHeader("Last-Event-ID", "the last status that was seen", seenStatus),
        text: inQuery(
          "text",
          "with each status what was appended, as text: the last so many bytes of it",
          integer(0, MAX_TEXT_BYTES),
          0,
        ),
      },
      answers: {
        200: answerOf(
          "events",
          streamOf({ text: NEW_TEXT, status: STATUS, deleted: ONLY_ID }),
        ),
        204: answer("Last-Event-ID names the final status"),
      },
      errors: ["NOT_FOUND", "DELETED", "LIMIT_REACHED"],
      async handle(c, { id, lastEventId: seen = null, text: textBytes }) {
        await using opened = await openFor(c, parts, id);
        const { resource } = opened;
        const { status } = resource;
        checkLife(status, seen?.life);
        if (seen !== null && isFinal(status.transferStatus) && !isNewer(status, seen)) {
          return c.body(null, 204);
        }
        const chunks = (signal: AbortSignal) => statusEvents(resource, seen, signal, { textBytes });
        const response = await send(c, parts, { chunks, release: () => opened.release() });
        // The body releases it from now on.
        opened.handOn();
        return response;
      },
    }),
    route({
      name: "followResources",
      method: "GET",
      path: EVENTS_PATH,
      section: "6.5",
      summary: "What happens to resources from now on, as server-sent events",
      access: { scope: "read", reach: listed },
      parameters: { context: inQuery("context", "only those of one upload context", text) },
      answers: { 200: answerOf("events", streamOf(NEWS)) },
      errors: ["LIMIT_REACHED"],
      handle(c, { context }) {
        const base = parts.references.base(c);
        const contextId = grantOf(c)?.contextId ?? context;
        const chunks = (signal: AbortSignal) => listEvents(parts, contextId, base, signal);
        return send(c, parts, { chunks, release: () => {} });
      },
    }),
    route({
      name: "followContext",
      method: "GET",
      path: `${ONE_CONTEXT}/events`,
      section: "6.5",
      summary: "What is in an upload context, then what happens in it, as server-sent events",
      access: { scope: "read", reach: ofContext },
      parameters: { id: contextId },
      answers: {
        200: answerOf(
          "events",
          streamOf({ resource: RESOURCE, ...NEWS }),
        ),
      },
      errors: ["CONTEXT_UNKNOWN", "LIMIT_REACHED"],
      async handle(c, { id: asked }) {
        const { id } = await parts.resources.getContext(asked);
        const base = parts.references.base(c);
        const chunks = (signal: AbortSignal) => contextEvents(parts, id, base, signal);
        return send(c, parts, { chunks, release: () => {} });
      },
    }),
  ];
}

function send(c: Context, parts: FaceParts, source: BodySource): Promise<Response> {
  return answerWith(c, parts, source, () => {
    c.header("content-type", "text/event-stream");
    // Compression, and nginx, would keep events back until a buffer is full.
    c.header("cache-control", "no-store, no-transform");
    c.header("x-accel-buffering", "no");
  });
}

/**
 * The newest status whenever the reader has room for it, until the last.
 *
 * @param resource The resource.
 * @param seen What the reader saw before; null for nothing.
 * @param signal Ends the events.
 * @param how `heartbeatMs`, the time between two comments when nothing happens, in ms; `textBytes`, how much of what
 * was appended goes with each status, in bytes: nothing by default.
 */
export async function* statusEvents(
  resource: Resource,
  seen: StatusNumber | null,
  signal: AbortSignal,
  how: { heartbeatMs?: number; textBytes?: number } = {},
): Events {
  const { heartbeatMs = HEARTBEAT_MS, textBytes = 0 } = how;
  const reader = new NewTextReader(resource, textBytes);
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring);
  const unwatch = resource.watch(bell.ring);
  try {
    // Some runtimes send the head with the first byte of the body only.
    if (seen !== null && !isNewer(resource.status, seen)) yield comment("nothing new");
    for (let told = seen; !signal.aborted;) {
      const { status } = resource;
      if (resource.deleted) return yield encode("deleted", { id: resource.id });
      if (isNewer(status, told)) {
        told = status;
        const event = encode("status", status, `${status.life}.${status.epoch}.${status.sequence}`);
        const text = textBytes > 0 ? await reader.next(status) : null;
        yield text === null ? event : joined(encode("text", text), event);
        if (isFinal(status.transferStatus)) return;
      } else if (!await bell.rungWithin(heartbeatMs)) yield comment("still here");
    }
  } finally {
    unwatch();
    signal.removeEventListener("abort", bell.ring);
  }
}

/**
 * All resources of an upload context, then what happens in it; a slow reader misses what is outdated.
 *
 * @param parts Resources and references.
 * @param contextId The upload context.
 * @param base Base of the references.
 * @param signal Ends the events.
 * @param heartbeatMs Time between two comments when nothing happens, in ms.
 * @param limits News that may wait; a reader with more is told to connect again.
 */
export async function* contextEvents(
  { resources, references }: { resources: Resources; references: References },
  contextId: string,
  base: string,
  signal: AbortSignal,
  heartbeatMs: number = HEARTBEAT_MS,
  limits: NewsLimits = {},
): Events {
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring);
  const tell = (event: ResourceEvent) => dataOf(event, references, base);
  using waiting = new WaitingNews(resources, { contextId }, bell, limits);
  try {
    yield comment("what is there, then what happens");
    for await (const view of viewsOf(resources, contextId)) {
      forget(waiting, view);
      yield encode("resource", references.info(view, base));
    }
    while (!signal.aborted) {
      if (waiting.isTooMuch) return yield comment("too much has happened: connect again");
      const news = waiting.takeFirst();
      if (news !== undefined) {
        for (const event of news.values()) yield encode(event.type, tell(event));
      } else if (!await bell.rungWithin(heartbeatMs)) yield comment("still here");
    }
  } finally {
    signal.removeEventListener("abort", bell.ring);
  }
}

/**
 * What happens to resources from now on, told so seldom that any number of uploads costs little.
 *
 * @param parts Resources and references.
 * @param contextId Only those of one upload context; undefined for all.
 * @param base Base of the references.
 * @param signal Ends the events.
 * @param paceMs Shortest time between two rounds of news, in ms.
 * @param heartbeatMs Time between two comments when nothing happens, in ms.
 * @param limits News that may wait; a reader with more is told to connect again.
 */
async function* listEvents(
  { resources, references }: { resources: Resources; references: References },
  contextId: string | undefined,
  base: string,
  signal: AbortSignal,
  paceMs: number = PACE_MS,
  heartbeatMs: number = HEARTBEAT_MS,
  limits: NewsLimits = {},
): Events {
  const bell = new Bell();
  signal.addEventListener("abort", bell.ring);
  const tell = (event: ResourceEvent) => dataOf(event, references, base);
  using waiting = new WaitingNews(resources, { contextId }, bell, limits);
  try {
    yield comment("what happens from now on");
    while (!signal.aborted) {
      if (waiting.isTooMuch) return yield comment("too much has happened: connect again");
      if (waiting.size === 0) {
        if (!await bell.rungWithin(heartbeatMs)) yield comment("still here");
        continue;
      }
      for (const event of waiting.takeAll().flatMap((news) => [...news.values()])) {
        yield encode(event.type, tell(event));
      }
      await setTimeout(paceMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    signal.removeEventListener("abort", bell.ring);
  }
}

/** The data of an event, besides its type. */
function dataOf(event: ResourceEvent, references: References, base: string): unknown {
  switch (event.type) {
    case "created": {
      const { id, metadata } = event;
      return { id, ...metadata, reference: references.reference(id, base) };
    }
    case "status":
      return { id: event.id, ...event.status };
    case "refused":
      return { ...event.metadata, code: event.error.code, message: event.error.message };
    case "deleted":
      return { id: event.id };
  }
}

async function* viewsOf(resources: Resources, contextId: string): AsyncGenerator<ResourceView> {
  let after: ResourceView | undefined;
  do {
    const page = await resources.list({ contextId, order: "oldest", after, limit: PAGE_RESOURCES });
    for (const { id } of page) {
      // Time may have passed since the page was read.
      const view = await resources.get(id).catch(() => null);
      if (view !== null) yield view;
    }
    after = page.length < PAGE_RESOURCES ? undefined : page.at(-1);
  } while (after !== undefined);
}

/** Drops news that a resource of the snapshot shows already. */
function forget(waiting: WaitingNews, { id, status }: ResourceView): void {
  const news = waiting.of(id);
  if (news === undefined) return;
  const newer = news.get("status");
  news.delete("created");
  if (newer?.type === "status" && !isNewer(newer.status, status)) news.delete("status");
}

const encoder = new TextEncoder();

/**
 * One event; JSON has no line breaks of its own. The id comes last: some clients take it before the event is whole, and
 * would skip one that a broken connection cut behind it.
 */
function encode(type: string, data: unknown, id?: string): Uint8Array {
  const end = id === undefined ? "" : `id: ${id}\n`;
  return encoder.encode(`event: ${type}\ndata: ${JSON.stringify(data)}\n${end}\n`);
}

/** Two events in one piece: who hears the first has the second. */
function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function comment(text: string): Uint8Array {
  return encoder.encode(`: ${text}\n\n`);
}
