/**
 * Reach: what a grant that is limited to an upload context or a resource is held against (PROTOCOL.md 8.1).
 * @module
 */
import type { Context } from "hono";
import type { Grant } from "../../access.ts";
import { checkLife, isUuid, StreamError } from "../../protocol.ts";
import { notFound, type Resources } from "../../resources.ts";

/** Lets a request pass whose grant reaches what it is about; throws FORBIDDEN or NOT_FOUND otherwise. */
export type Reach = (c: Context, grant: Grant, resources: Resources) => void | Promise<void>;

/**
 * Checks a WebSocket upload when its first message says what it is about.
 * @param grant What its request was granted.
 * @param resourceId The upload that is to go on; null for a new one.
 * @param resources All resources.
 * @throws {StreamError} FORBIDDEN, NOT_FOUND.
 */
export async function checkUpload(
  grant: Grant | null,
  resourceId: string | null,
  resources: Resources,
): Promise<void> {
  if (grant === null) return;
  if (resourceId !== null) return await checkResource(grant, resourceId, resources);
  if (grant.resourceId !== null) throw limitedTo(grant);
}

function limitedTo({ contextId, resourceId }: Grant): StreamError {
  const limits = [
    ...(contextId === null ? [] : [`the upload context ${JSON.stringify(contextId)}`]),
    ...(resourceId === null ? [] : [`the resource ${resourceId}`]),
  ];
  return new StreamError("FORBIDDEN", `the token is limited to ${limits.join(" and ")}`);
}

/**
 * Checks what a grant is limited to: another resource of a limited context is answered as one that does not exist.
 * @throws {StreamError} FORBIDDEN, NOT_FOUND.
 */
export async function checkResource(
  grant: Grant,
  id: string,
  resources: Resources,
): Promise<void> {
  if (grant.resourceId !== null && grant.resourceId !== id) throw limitedTo(grant);
  if (grant.contextId === null && grant.life === undefined) return;
  const { contextId, status } = await resources.get(id);
  if (grant.contextId !== null && contextId !== grant.contextId) throw notFound(id);
  checkLife(status, grant.life);
}

/** The resource that the path names. */
export function ofResource(c: Context, grant: Grant, resources: Resources): Promise<void> {
  return checkResource(grant, c.req.param("id")!, resources);
}

/** The upload context that the path names. */
export function ofContext(c: Context, grant: Grant): void {
  if (grant.resourceId !== null) throw limitedTo(grant);
  if (grant.contextId !== null && grant.contextId !== c.req.param("id")) throw limitedTo(grant);
}

/** New uploads name the context that their token is limited to, in the first of these query parameters that they have. */
export function newUpload(...parameters: string[]): Reach {
  return (c, grant) => {
    const asked = parameters.map((name) => c.req.query(name)).find((value) => value !== undefined);
    if (grant.contextId !== null && grant.contextId !== asked) throw limitedTo(grant);
  };
}

const inContext = newUpload("context");

/** A new resource, whose id nobody chose. */
export function unnamedResource(
  c: Context,
  grant: Grant,
  resources: Resources,
): void | Promise<void> {
  if (grant.resourceId !== null) throw limitedTo(grant);
  return inContext(c, grant, resources);
}

/** A new resource; a grant that is limited to one may choose just that id, and nothing that only looks like it. */
export function namedResource(
  c: Context,
  grant: Grant,
  resources: Resources,
): void | Promise<void> {
  const segment = c.req.param("id")!;
  const isThatOne = grant.resourceId === segment && isUuid(segment);
  if (grant.resourceId !== null && !isThatOne) throw limitedTo(grant);
  return inContext(c, grant, resources);
}

/**
 * Checks a new resource of a chosen id; a grant that is limited to one may choose just that.
 * @throws {StreamError} FORBIDDEN.
 */
export function checkNew(
  c: Context,
  grant: Grant,
  id: string,
  resources: Resources,
): void | Promise<void> {
  if (grant.resourceId !== null && grant.resourceId !== id) throw limitedTo(grant);
  return inContext(c, grant, resources);
}

/** A list, which its handler filters to the context. */
export function listed(c: Context, grant: Grant): void {
  if (grant.resourceId !== null) throw limitedTo(grant);
  const asked = c.req.query("context");
  if (grant.contextId !== null && asked !== undefined && asked !== grant.contextId) {
    throw limitedTo(grant);
  }
}

/** Something that no limited grant reaches. */
export function unlimited(_c: Context, grant: Grant): void {
  if (grant.contextId !== null || grant.resourceId !== null) throw limitedTo(grant);
}
