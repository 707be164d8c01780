/**
 * What an account must be allowed to do with the engine (docs/cluster.md).
 *
 * Otherwise a refused subscription is told to nobody, and a refused message to whoever sends it, which may be much later.
 * @module
 */
import { createInbox, headers, type Subscription } from "@nats-io/transport-node";
import { StreamError } from "../protocol.ts";
import { changesOf } from "./buckets.ts";
import {
  CONTEXT_BUCKET,
  type Engine,
  NODE_BUCKET,
  RECORD_BUCKETS,
  SETTINGS_BUCKET,
} from "./engine.ts";
import { ownerSubject, placeIn } from "./logs.ts";

/** Stands for any id, and any key; nothing is kept under it. */
const ANY = "rights";
const { stream, subject, index, live } = placeIn(ANY, 0);
const CHANGING = [...RECORD_BUCKETS, CONTEXT_BUCKET];
const BUCKETS = [...CHANGING, SETTINGS_BUCKET, NODE_BUCKET];

/** Subjects that a node listens to, by the right that it needs for that. */
const HEARD: readonly (readonly [right: string, subject: string])[] = [
  ["_INBOX.>", createInbox()],
  ["live.>", live],
  ["owner.>", ownerSubject("*")],
  ...CHANGING.map((bucket) => ["changes.>", changesOf(bucket)] as const),
];

/** Subjects that a node publishes to; of all streams of logs one stands for the others. */
const PUBLISHED: readonly (readonly [right: string, subject: string])[] = [
  ...["STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE", "DIRECT.GET"].map((request) =>
    [`$JS.API.${request}.>`, `$JS.API.${request}.${stream}`] as const
  ),
  ["log.>", subject],
  ["idx.>", index],
  ["owner.>", ownerSubject(ANY)],
  ...BUCKETS.map((bucket) => [`$KV.${bucket}.>`, `$KV.${bucket}.${ANY}`] as const),
];

/** What no stream takes. */
const fields = headers();
fields.set("Nats-Expected-Stream", "none");
/** What purges nothing, and asks for nothing else. */
const REQUEST = JSON.stringify({ filter: subject, seq: 1 });

/**
 * Makes sure that a node may do with this account what it will do.
 * @param engine The engine.
 * @throws {StreamError} FORBIDDEN, which names what is missing.
 */
export async function checkRights(engine: Engine): Promise<void> {
  const missing = await missingRights(engine);
  if (missing.length > 0) throw forbidden(missing);
}

/** Rights are missing. */
export function forbidden(missing: readonly string[]): StreamError {
  return new StreamError("FORBIDDEN", `the engine lets this account not ${missing.join(", nor ")}`);
}

/**
 * What a node must be allowed to do, and this account is not.
 * @param engine The engine.
 * @returns Such as `publish to log.>`; nothing when all is well.
 */
export async function missingRights(engine: Engine): Promise<string[]> {
  const { nc } = engine;
  const heard: Subscription[] = [];
  const unheard = await engine.refusedIn(() => {
    for (const [, subject] of HEARD) heard.push(nc.subscribe(subject, { callback: () => {} }));
  }).finally(() => {
    for (const subscription of heard) subscription.unsubscribe();
  });
  const unsaid = await engine.refusedIn(() => {
    for (const [, subject] of PUBLISHED) nc.publish(subject, REQUEST, { headers: fields });
  });
  const missing = [
    ...HEARD.filter(([, subject]) => unheard.has(subject)).map(([right]) =>
      `subscribe to ${right}`
    ),
    ...PUBLISHED.filter(([, subject]) => unsaid.has(subject)).map(([right]) =>
      `publish to ${right}`
    ),
  ];
  return [...new Set(missing)];
}
