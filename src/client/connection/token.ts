/**
 * Tokens: what they look like, whom they are for, and when another one is asked for.
 * @module
 */
import { type ResourceLocation, StreamError } from "../../protocol.ts";
import type { Service } from "./service.ts";

/** Gives the token to present: asked at first, and again when the server takes the last one no longer. */
export type TokenProvider = () => string | undefined | Promise<string | undefined>;

/** The token that is presented to one server. */
export class BearerToken {
  readonly #given: string | TokenProvider | undefined;
  #value: Promise<string | undefined> | null = null;

  /** @param given The token, what gives it, or undefined for none. */
  constructor(given: string | TokenProvider | undefined) {
    this.#given = given;
  }

  /**
   * The token; undefined for none.
   * @param stop Ends the wait for what gives it, with its reason.
   */
  async value(stop?: AbortSignal): Promise<string | undefined> {
    const asked = this.#value ??= this.#ask();
    try {
      return await unlessAborted(asked, stop);
    } catch (error) {
      if (this.#value === asked) this.#value = null;
      throw error;
    }
  }

  /**
   * Asks for another one, unless there is another one already.
   * @param refused The one that the server does not take.
   * @param stop Ends the wait for what gives it, with its reason.
   * @returns Whether there is another one now.
   */
  async renew(refused: string | undefined, stop?: AbortSignal): Promise<boolean> {
    if (typeof this.#given !== "function") return false;
    if (await this.value(stop) === refused) this.#value = this.#ask();
    return await this.value(stop) !== refused;
  }

  async #ask(): Promise<string | undefined> {
    const token = typeof this.#given === "function" ? await this.#given() : this.#given;
    return token === undefined ? undefined : checkToken(token);
  }
}

/**
 * The token to present where a reference leads. A reference may come from anybody: what it names gets no token that
 * was meant for another server; and a signed link needs none.
 *
 * @param location What the reference names.
 * @param service Servers that the token is meant for; undefined for the one that the reference names.
 * @param token The token, or what gives it.
 * @returns The same, or undefined where it must not go.
 */
export function tokenFor(
  location: ResourceLocation,
  service: Service | undefined,
  token: string | TokenProvider | undefined,
): string | TokenProvider | undefined {
  const isMeant = service?.serves(location.server) ?? true;
  return location.access === undefined && isMeant ? token : undefined;
}

/** Waits for a promise, or for the signal, which may outlive many of them. */
async function unlessAborted<T>(promise: Promise<T>, stop: AbortSignal | undefined): Promise<T> {
  if (stop === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(stop.reason);
  stop.addEventListener("abort", abort);
  if (stop.aborted) abort();
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    stop.removeEventListener("abort", abort);
  }
}

/**
 * Checks a token: base64url, or three of them with dots.
 *
 * @param token The token; its text is never shown.
 * @returns The token.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkToken(token: string): string {
  if (/^[\w.~-]{1,8192}$/.test(token)) return token;
  throw new StreamError("BAD_REQUEST", "that is no token: it has characters that no token has");
}
