/** Resources in memory, and waiting for what becomes of them. */
import { xxhash128 } from "hash-wasm";
import type { Catalog } from "../../src/catalog.ts";
import { MemoryCatalog } from "../../src/catalog/memory.ts";
import type { ResourceStatus } from "../../src/protocol.ts";
import { type Registration, Resources, type ResourcesOptions } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import type { Resource } from "../../src/resources/reading/resource.ts";
import type { Storage } from "../../src/storage.ts";
import { MemoryStorage } from "../../src/storage/memory.ts";
import { utf8 } from "./bytes.ts";

const DEADLINE_MS = 30_000;

/** Resources with the parts they stand on; all uploads have ended after it was disposed of. */
export interface World extends AsyncDisposable {
  resources: Resources;
  storage: Storage;
  catalog: Catalog;
}

export function world(options: Partial<ResourcesOptions> = {}): World {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog(), ...options };
  const resources = new Resources(parts);
  return { ...parts, resources, [Symbol.asyncDispose]: () => resources.close() };
}

/** An upload of text with line access that cannot be resumed, but for what is given. */
export function registration(given: Partial<Registration> = {}): Registration {
  return {
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
    contextId: null,
    ownedBy: "CONNECTION",
    makeContext: false,
    digests: ["xxh128"],
    ...given,
  };
}

/** Starts an upload. */
export async function register(
  { resources }: World,
  given: Partial<Registration> = {},
): Promise<Appender> {
  return (await resources.register(registration(given))).appender;
}

/** Digest of what was uploaded with the digests of {@link registration}. */
export const checksumOf = (bytes: Uint8Array): Promise<string> => xxhash128(bytes);

/** The first status that is wanted; fails when it does not come. */
export function statusWhere(
  resource: Resource,
  wanted: (status: ResourceStatus) => boolean,
): Promise<ResourceStatus> {
  return new Promise((resolve, reject) => {
    const look = (status: ResourceStatus) => {
      if (!wanted(status)) return;
      clearTimeout(timer);
      unwatch();
      resolve(status);
    };
    const timer = setTimeout(() => {
      unwatch();
      reject(new Error(`no such status came; the last is ${JSON.stringify(resource.status)}`));
    }, DEADLINE_MS);
    const unwatch = resource.watch(look);
    look(resource.status);
  });
}

/** A resource that is COMPLETED with this content. */
export async function finished(here: World, content: string | Uint8Array): Promise<Resource> {
  const bytes = typeof content === "string" ? utf8(content) : content;
  const upload = await register(here);
  upload.append(bytes);
  await upload.complete(await checksumOf(bytes));
  return upload.resource;
}

/** A resource that goes on, with a text that can be read. */
export async function running(here: World, text: string): Promise<Resource> {
  const upload = await register(here);
  upload.append(utf8(text));
  await statusWhere(upload.resource, ({ currentSize }) => currentSize === utf8(text).length);
  return upload.resource;
}

/** All bytes that can be read now. */
export async function readAll(resource: Resource): Promise<Uint8Array> {
  const bytes = new Uint8Array(resource.status.currentSize);
  for (let at = 0; at < bytes.length;) {
    const piece = await resource.read(at, bytes.length - at);
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
