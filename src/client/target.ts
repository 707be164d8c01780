/**
 * Where the requests about a resource go, and what they present there.
 * @module
 */
import { parseReference, type ResourceLocation, RESOURCES_PATH } from "../protocol.ts";
import { fetchFrom, noServer, type Recipient } from "./connection/http.ts";
import { Service } from "./connection/service.ts";
import { BearerToken, tokenFor, type TokenProvider } from "./connection/token.ts";

/** Where a reference that is a bare id belongs, and who asks. */
export interface ReferenceOptions {
  /** Base URL of the server, or of several with commas between them, of which any will do. */
  server?: string | undefined;
  /**
   * Bearer token, or what gives it, for the server: for `server` where that is given, else for the one that the
   * reference names. It is sent to no other, and not with a signed link, which needs none. A provider is asked again
   * when the server takes the token no longer.
   */
  token?: string | TokenProvider | undefined;
}

/** How a request is given up. */
export interface CancelOptions {
  /** Ends what was asked for; it then fails with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** A resource's own path, and whom requests about it go to. */
export interface Target {
  /** Receiver of the requests. */
  recipient: Recipient;
  /** Path of the resource. */
  path: string;
}

/** What a reference names, which servers have it, and what is presented there. */
export interface Located {
  /** The parts of the reference. */
  location: ResourceLocation;
  /** Servers that have the resource. */
  service: Service;
  /** Bearer token, or what gives it; undefined where it must not go. */
  token: string | TokenProvider | undefined;
}

/**
 * Finds the servers of a reference.
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Server of a bare id, token.
 * @throws {StreamError} BAD_REQUEST for a text that is no reference.
 */
export function locate(reference: string, { server, token }: ReferenceOptions): Located {
  const given = server === undefined ? undefined : Service.at(server);
  const location = parseReference(reference, given?.server);
  const service = given?.from(location.server) ?? Service.ofReference(location.server);
  return { location, service, token: tokenFor(location, given, token) };
}

/**
 * Where one resource is shown, and what is presented there.
 * @param reference What a push printed, its HTTP form, or an id.
 * @param options Server of a bare id, token.
 * @throws {StreamError} BAD_REQUEST for a text that is no reference.
 */
export function targetOf(reference: string, options: ReferenceOptions): Target {
  const { location, service, token } = locate(reference, options);
  const { id, access } = location;
  const recipient = { service, token: new BearerToken(token), access };
  return { recipient, path: `${RESOURCES_PATH}/${id}` };
}

/**
 * One request that its caller may give up.
 * @param recipient Whom it goes to.
 * @param path Path and query.
 * @param accept Media type that the answer has to be of.
 * @param signal Ends the request and its answer.
 * @returns The answer, which is no error; its content may still be under way.
 * @throws {StreamError} UNREACHABLE, also where another service answers, or the server's reason; the signal's reason.
 */
export async function askFor(
  recipient: Recipient,
  path: string,
  accept: string,
  signal: AbortSignal,
): Promise<Response> {
  try {
    const asking = { headers: { accept }, signal };
    return await fetchFrom(recipient, path, asking, (response, server) => {
      if (response.headers.get("content-type")?.startsWith(accept)) return response;
      throw noServer(undefined, server);
    });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
