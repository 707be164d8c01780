/**
 * Bearer tokens that somebody else signs: JWTs (RFC 7519), with the keys of a JWKS address (RFC 7517).
 * @module
 */
import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from "jose";
import { type Authenticator, type Grant, type Scope, SCOPES } from "../access.ts";
import { Allowance } from "../allowance.ts";
import { checkContextId, isResourceId, StreamError } from "../protocol.ts";

/** Signatures that are accepted; nothing symmetric, and nothing unsigned. */
const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
/** Types of access tokens: JWTs, and those of RFC 9068; nothing that was signed to be something else. */
const TYPES = ["jwt", "at+jwt", "application/at+jwt"];
/** How long keys are used before they are fetched again. */
const KEYS_FOR_MS = 300_000;
/** Unknown keys and failures make us ask so often at once, and then once in so long. */
const ASK_AT_ONCE = 6, ASK_AGAIN_MS = 10_000;
/** How far the provider's clock may be ahead of ours: a token that was just made counts. */
const CLOCK_AHEAD_S = 60;
/** How long an answer may take. */
const FETCH_TIMEOUT_MS = 5000;
/** Larger than any set of keys. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** Keys of one answer. */
const MAX_KEYS = 100;
/** Length of a token; headers have room for no longer one. */
const MAX_TOKEN_CHARS = 8192;

/** Settings of {@link JwksTokens}. */
export interface JwksOptions {
  /** Address of the keys: https, or http on this machine. */
  url: string;
  /** The audience that tokens must name; without one, tokens that name any are refused (RFC 7519, 4.1.3). */
  audience?: string | undefined;
  /** The issuer that tokens must name; not looked at by default, as the keys are the issuer's alone. */
  issuer?: string | undefined;
  /** Hears why there are no keys, each time they were asked for; nobody by default. */
  warn?: ((message: string) => void) | undefined;
  /** The clock that says how old the keys are, in ms. */
  now?: (() => number) | undefined;
}

type Keys = JSONWebKeySet["keys"];

/**
 * Tokens of an identity provider.
 *
 * @example
 * ```ts
 * import { JwksTokens } from "@stream/live";
 *
 * const tokens = new JwksTokens({
 *   url: "https://id.example.org/.well-known/jwks.json",
 *   audience: "https://logs.example.org",
 * });
 * ```
 */
export class JwksTokens implements Authenticator {
  readonly #audience: string | undefined;
  readonly #issuer: string | undefined;
  readonly #keys: KeySet;

  /**
   * Nothing is fetched before the first token.
   * @param options Address, audience and issuer.
   * @throws {StreamError} BAD_REQUEST for an address that is neither https nor on this machine.
   */
  constructor(
    { url, audience, issuer, warn = () => {}, now = () => performance.now() }: JwksOptions,
  ) {
    this.#audience = audience;
    this.#issuer = issuer;
    this.#keys = new KeySet(checkAddress(url), warn, now);
  }

  /** Checks a token. */
  async authenticate(token: string): Promise<Grant | null> {
    const kid = keyIdOf(token);
    if (kid === null) return null;
    const keys = await this.#keys.get(kid);
    const [audience, issuer] = [this.#audience, this.#issuer];
    try {
      const { payload } = await jwtVerify(token, createLocalJWKSet({ keys }), {
        algorithms: ALGORITHMS,
        requiredClaims: ["exp"],
        clockTolerance: CLOCK_AHEAD_S,
        audience,
        issuer,
      });
      if (audience === undefined && payload.aud !== undefined) return null;
      // What is open ends at exp: nothing begins behind it.
      return Number(payload.exp) * 1000 <= Date.now() ? null : grantOf(payload);
    } catch {
      return null;
    }
  }
}

/** The keys of an address, as fresh as they need be. */
class KeySet {
  readonly #url: string;
  readonly #warn: (message: string) => void;
  readonly #now: () => number;
  readonly #asks: Allowance;
  #keys: Keys = [];
  #fetchedAtMs = -Infinity;
  #hasFailed = false;
  #asking: Promise<void> | null = null;

  constructor(url: string, warn: (message: string) => void, now: () => number) {
    this.#url = url;
    this.#warn = warn;
    this.#now = now;
    this.#asks = new Allowance(ASK_AT_ONCE, ASK_AGAIN_MS, now);
  }

  /** @throws {StreamError} UNREACHABLE while nobody can tell whether there is such a key. */
  async get(kid: string): Promise<Keys> {
    // An answer that was on its way may be older than the key.
    if (!this.#has(kid)) await this.#asking;
    if (!this.#has(kid)) {
      if (this.#asking === null && this.#asks.take() === 0) {
        this.#asking = this.#ask().finally(() => this.#asking = null);
      }
      await this.#asking;
    }
    if (this.#has(kid) || this.#isFresh() && !this.#hasFailed) return this.#keys;
    // Where the keys are is nothing for a stranger.
    throw new StreamError("UNREACHABLE", "the server cannot get the keys of tokens: see its log");
  }

  #has(kid: string): boolean {
    return this.#isFresh() && this.#keys.some((key) => key.kid === kid);
  }

  #isFresh(): boolean {
    return this.#now() - this.#fetchedAtMs < KEYS_FOR_MS;
  }

  async #ask(): Promise<void> {
    try {
      const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
      const response = await fetch(this.#url, { signal, redirect: "error" });
      if (!response.ok) throw new Error(`the answer was ${response.status}`);
      const { keys } = JSON.parse(await boundedText(response)) ?? {};
      if (!Array.isArray(keys)) throw new Error("the answer has no keys");
      if (keys.length > MAX_KEYS) throw new Error(`the answer has more than ${MAX_KEYS} keys`);
      this.#keys = keys;
      this.#fetchedAtMs = this.#now();
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = true;
      this.#warn(`no keys from ${this.#url}: ${(error as Error).message}`);
    }
  }
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is above ${MAX_ANSWER_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function checkAddress(url: string): string {
  const { protocol = "", hostname = "" } = URL.canParse(url) ? new URL(url) : {};
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  if (protocol === "https:" || protocol === "http:" && isHere) return url;
  throw new StreamError("BAD_REQUEST", `keys come from https:// only, not from ${url}`);
}

/** The key a token names; null for what is no such token, for which nothing is fetched. */
function keyIdOf(token: string): string | null {
  if (token.length > MAX_TOKEN_CHARS) return null;
  try {
    const { alg = "", typ, kid = null } = decodeProtectedHeader(token);
    const isAllowed = ALGORITHMS.includes(alg) &&
      (typ === undefined || TYPES.includes(typ.toLowerCase()));
    return isAllowed && typeof decodeJwt(token).exp === "number" ? kid : null;
  } catch {
    return null;
  }
}

/** Null, or an error, for claims that limit the token to something that cannot be. */
function grantOf(claims: JWTPayload): Grant | null {
  const { scope, stream_context: contextId = null, stream_resource: resourceId = null } = claims;
  if (contextId !== null && !isContextId(contextId)) return null;
  if (resourceId !== null && (typeof resourceId !== "string" || !isResourceId(resourceId))) {
    return null;
  }
  const words = typeof scope === "string" ? scope.split(" ") : [];
  const scopes = SCOPES.filter((name: Scope) => words.some((word) => isScope(word, name)));
  const name = typeof claims.sub === "string" ? claims.sub : "jwt";
  const expiresAtMs = Number(claims.exp) * 1000;
  return { name, scopes, contextId, resourceId, expiresAtMs };
}

/** An empty one would be no limit to what names no context. */
function isContextId(value: unknown): value is string {
  return typeof value === "string" && checkContextId(value) === value;
}

function isScope(word: string, name: Scope): boolean {
  return word === name || word === `stream:${name}`;
}
