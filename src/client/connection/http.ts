/**
 * Asking a server by HTTP: what goes along with a request, and what it means when it fails.
 * @module
 */
import { type ErrorCode, ERRORS, MovedError, StreamError, toStreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";
import type { Service } from "./service.ts";
import type { BearerToken } from "./token.ts";

/** How long a server may take for a short answer. */
const ANSWER_TIMEOUT_MS = 20_000;

/** Statuses below 500 of what may pass by itself: Request Timeout, Too Early, Too Many Requests (RFC 9110, RFC 8470, RFC 6585). */
const MAY_PASS: ReadonlySet<number> = new Set([408, 425, 429]);

/** Parts of an address that are not to be shown: they let anybody own an upload, or read by a signed link. */
const SECRETS = /(\/uploads\/[^/\s]+\/|[?&]access=)[^\s/?&)]+/g;

/** Receiver of requests, and what is presented there. */
export interface Recipient {
  /** The servers, of which any will do. */
  service: Service;
  /** Bearer token. */
  token?: BearerToken;
  /** Value of `access` in a signed link. */
  access?: string;
}

/** Content of a request. */
export interface Asking {
  /** HTTP method; GET by default. */
  method?: string;
  /** Header fields. */
  headers?: Record<string, string>;
  /** The content. */
  body?: Uint8Array;
}

/** How a request is made. */
export interface FetchOptions extends Asking {
  /** Ends the request when it aborts. */
  signal: AbortSignal;
  /** Whether another server may answer that this one redirects to: only where no secret would go there. */
  followsRedirects?: boolean;
}

/** The server refused a request, and what its answer said besides. */
export class RefusedError extends StreamError {
  /**
   * @param code The reason, for programs.
   * @param message The reason, for people.
   */
  constructor(
    code: ErrorCode,
    message: string,
    /** Status of the answer. */
    readonly status: number,
    /** Header fields of the answer. */
    readonly headers: Headers,
  ) {
    super(code, message);
  }
}

/** Methods of requests that may be made twice (RFC 9110, 9.2.2). */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "DELETE"]);

/**
 * One request, and a second one when the server does not take the token and there is another one now; where a server
 * does not answer, or another service does, the others are asked.
 *
 * @param recipient Whom it goes to.
 * @param path Path and query.
 * @param options The rest of it.
 * @param take Takes the answer of a server, which is no error and whose content may still be under way.
 * @returns What was taken.
 * @throws {StreamError} UNREACHABLE, SHUTDOWN of a server that names others; {@link RefusedError} with the server's reason.
 */
export async function fetchFrom<T>(
  recipient: Recipient,
  path: string,
  options: FetchOptions,
  take: (response: Response, server: string) => T | Promise<T>,
): Promise<T> {
  const { service } = recipient;
  for (let asked = 1;; asked++) {
    const { server } = service;
    try {
      return await take(await fetchAt(server, recipient, path, options), server);
    } catch (thrown) {
      const error = service.meant(server, thrown as StreamError);
      const mayHelp = service.leave(server, error) && asked < service.count;
      const isRepeatable = REPEATABLE.has(options.method ?? "GET");
      if (!mayHelp || !isRepeatable || options.signal.aborted) throw error;
    }
  }
}

async function fetchAt(
  server: string,
  recipient: Recipient,
  path: string,
  options: FetchOptions,
): Promise<Response> {
  const { signal } = options;
  const token = await recipient.token?.value(signal);
  try {
    return await fetchWith(token, server, recipient, path, options);
  } catch (error) {
    const isRefused = error instanceof StreamError && error.code === "UNAUTHORIZED";
    if (!isRefused || !await recipient.token?.renew(token, signal)) throw error;
    return await fetchWith(await recipient.token!.value(signal), server, recipient, path, options);
  }
}

async function fetchWith(
  token: string | undefined,
  server: string,
  recipient: Recipient,
  path: string,
  { method = "GET", headers, body, signal, followsRedirects = false }: FetchOptions,
): Promise<Response> {
  const address = addressOf(server, recipient, path);
  const fields = new Headers(headers);
  if (token !== undefined) fields.set("authorization", `Bearer ${token}`);
  const isSecret = token !== undefined || holdsSecrets(address);
  const request = fetch(address, {
    method,
    headers: fields,
    body: body as Uint8Array<ArrayBuffer> | undefined,
    signal,
    // A status that was kept somewhere is an old one.
    cache: "no-store",
    // The user did not name the server that another one redirects to.
    redirect: followsRedirects && !isSecret ? "follow" : "manual",
  });
  const response = await reached(server, address, request);
  if (response.ok) return response;
  if (isRedirect(response)) throw redirected(server, response);
  const answer = await reached(server, address, response.text());
  throw refusal(server, `${method} ${path}`, response, answer);
}

/** A request with a short answer. */
interface ShortRequest extends Partial<Pick<FetchOptions, "followsRedirects">> {
  /** HTTP method; GET by default. */
  method?: string;
  /** Media type of the answer; whichever the server chooses by default. */
  accept?: string;
  /** How long the server may take for all of the answer, in ms; 20 000 by default. */
  timeoutMs?: number;
  /** Gives the request up. */
  cancel?: AbortSignal;
}

/** A short answer that is no error. */
interface ShortAnswer {
  status: number;
  headers: Headers;
  text: string;
}

/**
 * One request with a short answer.
 *
 * @param recipient Whom it goes to.
 * @param path Path and query.
 * @param asking The rest of it.
 * @param read Reads the answer of a server; where it finds that another service answers, the next one is asked.
 * @returns What was read.
 * @throws {StreamError} UNREACHABLE, also of an answer that breaks off or is late, or what the server answered.
 */
export async function request<T>(
  recipient: Recipient,
  path: string,
  { method = "GET", accept, timeoutMs = ANSWER_TIMEOUT_MS, cancel, followsRedirects = true }:
    ShortRequest,
  read: (answer: ShortAnswer, server: string) => T,
): Promise<T> {
  // A person may have to log in for it: the time of the server begins after that.
  await recipient.token?.value(cancel);
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = cancel === undefined ? timeout : AbortSignal.any([timeout, cancel]);
  try {
    const fields = accept === undefined ? undefined : { accept };
    const asking = { method, headers: fields, signal, followsRedirects };
    return await fetchFrom(recipient, path, asking, async (response, server) => {
      const { status, headers } = response;
      const text = await reached(server, addressOf(server, recipient, path), response.text());
      return read({ status, headers, text }, server);
    });
  } catch (error) {
    cancel?.throwIfAborted();
    throw timeout.aborted ? toStreamError(error, "UNREACHABLE") : error;
  }
}

/** A request whose short answer is JSON. */
interface JsonRequest extends ShortRequest {
  /** Members that every such answer of ours has: pages to log in and other services have others. */
  has: readonly string[];
  /** Whether it is a list of such objects. */
  isList?: boolean;
}

/**
 * One request whose short answer is JSON.
 *
 * @param recipient Whom it goes to.
 * @param path Path and query.
 * @param asking The rest of it.
 * @returns What the answer holds.
 * @throws {StreamError} UNREACHABLE when something else than our server answers, or what the server answered.
 */
export async function requestJson<T>(
  recipient: Recipient,
  path: string,
  { has, isList = false, ...asking }: JsonRequest,
): Promise<T> {
  return await request(recipient, path, asking, ({ text }, server) => {
    const value = parseJson<unknown>(text, server);
    const objects = isList ? value : [value];
    if (Array.isArray(objects) && objects.every((object) => hasMembers(object, has))) {
      return value as T;
    }
    throw noServer(undefined, server);
  });
}

function hasMembers(value: unknown, names: readonly string[]): boolean {
  return typeof value === "object" && value !== null && names.every((name) => name in value);
}

/**
 * The JSON of an answer.
 * @param text The answer.
 * @param server HTTP base URL of the server, to be named.
 * @throws {StreamError} UNREACHABLE when something else than our server answers.
 */
export function parseJson<T>(text: string, server?: string): T {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw noServer(error, server);
  }
}

/**
 * Something answers that is no server of ours: at a first attempt the address is a wrong one; where there was a server
 * before, something answers in its place for a while.
 */
export class NoServerError extends StreamError {
  /**
   * @param message What shows that.
   * @param options The error that caused this one.
   */
  constructor(message: string, options?: { cause?: unknown }) {
    super("UNREACHABLE", message, options);
  }
}

/** It refuses a request, in words that no server of ours has. */
export class ForeignRefusalError extends NoServerError {}

/**
 * The error of an answer that none of our servers gives.
 * @param cause What is wrong with it; one of our errors is shown.
 * @param server HTTP base URL of the server, to be named.
 */
export function noServer(cause?: unknown, server?: string): NoServerError {
  const where = server === undefined ? "there" : `at ${server}`;
  const detail = cause instanceof StreamError ? `: ${cause.message}` : "";
  return new NoServerError(`what answers ${where} is no stream server${detail}`, { cause });
}

/** Whether an answer sends us elsewhere; browsers show no status of one that is not followed. */
function isRedirect({ type, status }: Response): boolean {
  return type === "opaqueredirect" || status >= 300 && status < 400 && status !== 304;
}

/** The user did not name the server that another one redirects to, and what is secret must not get there. */
function redirected(server: string, { headers }: Response): NoServerError {
  const to = headers.get("location") ?? "another address";
  return new NoServerError(
    `the server at ${server} redirects to ${
      withoutSecrets(to)
    }: give the address of the server it leads to`,
  );
}

/** The code of an error that a server told; a newer one may have codes we do not know. */
export function knownCode(code: string): ErrorCode {
  return Object.hasOwn(ERRORS, code) ? code as ErrorCode : "INTERNAL";
}

function addressOf(server: string, { access }: Recipient, path: string): string {
  if (access === undefined) return server + path;
  return `${server}${path}${path.includes("?") ? "&" : "?"}access=${access}`;
}

/** Waits for what the network brings from an address. */
async function reached<T>(server: string, address: string, arrival: Promise<T>): Promise<T> {
  try {
    return await arrival;
  } catch (error) {
    throw new StreamError(
      "UNREACHABLE",
      `the server at ${server} cannot be reached: ${withoutSecrets(reasonOf(error))}`,
      // Errors of every runtime know the address.
      holdsSecrets(address) ? undefined : { cause: error },
    );
  }
}

function refusal(
  server: string,
  asked: string,
  { status, headers }: Response,
  answer: string,
): StreamError {
  const { code, detail, servers } = problemIn(answer);
  const message = withoutSecrets(
    typeof detail === "string"
      ? detail
      : `the server at ${server} answered ${asked} with ${status}: is it a stream server?`,
  );
  if (code === "SHUTDOWN" && Array.isArray(servers)) return new MovedError(message, servers);
  const refused = (meaning: ErrorCode) => new RefusedError(meaning, message, status, headers);
  const isOurs = typeof code === "string" && Object.hasOwn(ERRORS, code);
  if (isOurs) return refused(code as ErrorCode);
  // A proxy answers in the place of a server that is gone or busy.
  if (status >= 500 || MAY_PASS.has(status)) return refused("UNREACHABLE");
  return isNewerCode(code, headers) ? refused("INTERNAL") : new ForeignRefusalError(message);
}

function isNewerCode(code: unknown, headers: Headers): boolean {
  const type = headers.get("content-type") ?? "";
  return typeof code === "string" && type.startsWith("application/problem+json");
}

/** Code and text of an error, and who goes on; nothing if it is not one of ours. */
function problemIn(answer: string): { code?: unknown; detail?: unknown; servers?: unknown } {
  try {
    return JSON.parse(answer) ?? {};
  } catch {
    return {};
  }
}

function holdsSecrets(text: string): boolean {
  return withoutSecrets(text) !== text;
}

function withoutSecrets(text: string): string {
  return text.replace(SECRETS, "$1…");
}
