/**
 * References as people type them: those of the protocol, and a resource by its context and name.
 * @module
 */
import {
  getContext,
  listContexts,
  type ListOptions,
  listResources,
  type ResourceInfo,
  type TokenProvider,
} from "../client.ts";
import { isResourceId, isUuid, StreamError } from "../protocol.ts";
import { type Options, REFERENCE_HELP } from "./command.ts";
import { credentialsOf } from "./credentials.ts";

const ID_PREFIX = /^[0-9a-f][0-9a-f-]{3,63}$/;
/** Resources with the same beginning that are looked at. */
const MAX_FOUND = 100;

/** A resource, and what is presented where it is. */
export interface NamedResource {
  /** The reference, in a form of the protocol. */
  reference: string;
  /** Server of a bare id. */
  server: string;
  /** Token, where there is one for that server. */
  token: string | TokenProvider | undefined;
}

/**
 * Finds the resource that is meant.
 *
 * @param options The command's options.
 * @param text What was typed.
 * @returns The resource.
 * @throws {StreamError} NOT_FOUND, CONFLICT when several are called so; BAD_REQUEST for what can be no reference.
 */
export async function resourceOf(options: Options, text: string): Promise<NamedResource> {
  const slash = text.lastIndexOf("/");
  if (isUuid(text.toLowerCase()) || text.includes("://")) {
    return { reference: text, ...await credentialsOf(options, text) };
  }
  if (slash < 1 && !ID_PREFIX.test(text)) {
    throw new StreamError(
      "BAD_REQUEST",
      `${JSON.stringify(text)} is no reference: ${REFERENCE_HELP}`,
    );
  }
  const credentials = await credentialsOf(options);
  if (slash < 1 && isResourceId(text)) {
    // It may be a whole id, which can be used where lists are not allowed, or not known.
    const found = await begunBy(text, credentials).catch(() => []);
    if (found.length === 0) return { reference: text, ...await credentialsOf(options, text) };
    return { reference: only(found, text).id, ...credentials };
  }
  if (slash < 1) {
    return { reference: only(await begunBy(text, credentials), text).id, ...credentials };
  }
  let found: ResourceInfo[] = [];
  // Both a context and a name may hold slashes.
  for (let at = slash; at > 0 && found.length === 0; at = text.lastIndexOf("/", at - 1)) {
    for (const name of formsOf(text.slice(at + 1))) {
      found = await called(name, text.slice(0, at), credentials);
      if (found.length > 0) break;
    }
  }
  return { reference: only(found, text).id, ...credentials };
}

/** A name as it was typed, and as other systems write the same letters: macOS composes none in names of files. */
function formsOf(name: string): Set<string> {
  return new Set([name, name.normalize("NFC"), name.normalize("NFD")]);
}

type Credentials = Awaited<ReturnType<typeof credentialsOf>>;

/** The resource with an id, or those whose id begins so. */
async function begunBy(idPrefix: string, credentials: Credentials): Promise<ResourceInfo[]> {
  const found: ResourceInfo[] = [];
  const query = { idPrefix, pageSize: MAX_FOUND, ...credentials };
  for await (const info of listResources(credentials.server, query)) {
    if (info.id === idPrefix) return [info];
    if (found.push(info) === MAX_FOUND) break;
  }
  return found;
}

async function called(
  filename: string,
  contextId: string,
  credentials: Credentials,
): Promise<ResourceInfo[]> {
  const found: ResourceInfo[] = [];
  const query = { contextId, filenamePart: filename, pageSize: 1000, ...credentials };
  for await (const info of listResources(credentials.server, query)) {
    if (info.filename === filename) found.push(info);
  }
  return found;
}

/**
 * Lists the resources of an upload context, as the server has them.
 *
 * @param contextId The upload context.
 * @param credentials Server and token.
 * @param query Which of them; all by default.
 * @throws {StreamError} CONTEXT_UNKNOWN: nothing is found in what is not there, but that is not known to be empty.
 */
export async function* resourcesIn(
  contextId: string,
  credentials: Credentials,
  query: ListOptions = {},
): AsyncGenerator<ResourceInfo, void, void> {
  const { server, token } = credentials;
  let isEmpty = true;
  for await (const info of listResources(server, { ...query, contextId, token })) {
    isEmpty = false;
    yield info;
  }
  if (isEmpty) await getContext(server, contextId, { token });
}

/**
 * What a reference may be that begins so: ids, contexts with a slash behind, and names in a context.
 *
 * @param beginning What was typed.
 * @param credentials Server and token.
 * @returns References, of which the last part may be missing.
 */
export async function referencesFrom(
  beginning: string,
  credentials: Credentials,
): Promise<string[]> {
  const found = new Set<string>();
  const offer = (text: string) => void (text.startsWith(beginning) && found.add(text));
  const { server } = credentials;
  const idPrefix = ID_PREFIX.test(beginning) ? beginning : undefined;
  if (!beginning.includes("/")) {
    const newest = listResources(server, { ...credentials, idPrefix, pageSize: MAX_FOUND });
    for await (const { id } of first(newest)) offer(id);
  }
  for await (const { id } of first(listContexts(server, credentials))) offer(`${id}/`);
  // Both a context and a name may hold slashes.
  for (let at = beginning.indexOf("/"); at > 0; at = beginning.indexOf("/", at + 1)) {
    const contextId = beginning.slice(0, at);
    const filenamePart = beginning.slice(at + 1) || undefined;
    const query = { contextId, filenamePart, pageSize: MAX_FOUND, ...credentials };
    for await (const { filename } of first(listResources(server, query))) {
      offer(`${contextId}/${filename}`);
    }
  }
  return [...found];
}

/** No more than are looked at. */
async function* first<T>(items: AsyncIterable<T>): AsyncGenerator<T, void, void> {
  let count = 0;
  for await (const item of items) {
    yield item;
    if (++count === MAX_FOUND) return;
  }
}

/**
 * The id that a new resource is to have.
 * @param options Options with `id`.
 * @throws {UsageError} For one that nobody may choose.
 */
export function idOf(options: Options): string | undefined {
  const id = options.text("id")?.toLowerCase();
  if (id === undefined || isUuid(id)) return id;
  throw options.wrong("id", "that is no UUID, such as uuidgen prints");
}

function only(found: ResourceInfo[], text: string): ResourceInfo {
  if (found.length === 1) return found[0];
  if (found.length === 0) throw new StreamError("NOT_FOUND", `no resource is called ${text}`);
  const newest = found.slice(0, 3).map(({ id, filename }) => `${id} ${filename}`);
  const more = found.length > 3 ? ", and others" : "";
  throw new StreamError(
    "CONFLICT",
    `several resources are called ${text}: ${newest.join(", ")}${more}; give an id`,
  );
}
