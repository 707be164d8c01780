/**
 * References as people type them: those of the protocol, and a resource by its context and name.
 * @module
 */
import { listResources, type ResourceInfo, type TokenProvider } from "../client.ts";
import { isResourceId, StreamError } from "../protocol.ts";
import type { Options } from "./command.ts";
import { credentialsOf } from "./credentials.ts";

/** How the help describes what is taken as a reference. */
export const REFERENCE_HELP = "REF is what a push printed, an id, or CONTEXT/NAME";

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
  if (isResourceId(text) || text.includes("://") || slash < 1) {
    return { reference: text, ...await credentialsOf(options, text) };
  }
  const credentials = await credentialsOf(options);
  const [contextId, filename] = [text.slice(0, slash), text.slice(slash + 1)];
  const found: ResourceInfo[] = [];
  for await (
    const info of listResources(credentials.server, { contextId, pageSize: 1000, ...credentials })
  ) {
    if (info.filename === filename) found.push(info);
  }
  return { reference: only(found, text).id, ...credentials };
}

function only(found: ResourceInfo[], text: string): ResourceInfo {
  if (found.length === 1) return found[0];
  if (found.length === 0) throw new StreamError("NOT_FOUND", `no resource is called ${text}`);
  const newest = found.slice(0, 3).map(({ id, createdAt }) => `${id} of ${createdAt}`);
  const more = found.length > 3 ? `, and ${found.length - 3} more` : "";
  throw new StreamError(
    "CONFLICT",
    `${found.length} resources are called ${text}: ${newest.join(", ")}${more}; give an id`,
  );
}
