/**
 * Where the page is: the server it came from, its own address, and what it presents there.
 * @module
 */
import { fragmentOfLogs, logsIn } from "../model/permalink.ts";
import type { Address, ReadBytes } from "../model/source.ts";

const TOKEN_KEY = "stream.token";

/** Address of the server, without a slash at its end; the script lies one folder below. */
export const server = new URL("..", import.meta.url).href.replace(/\/$/, "");

/** The token that was entered in this tab. */
export function token(): string | undefined {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a token for this tab; an empty one forgets it. */
export function setToken(text: string): void {
  if (text === "") sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, text);
}

/** What a signed link carries. */
export function access(): string | null {
  return new URLSearchParams(location.search).get("access");
}

/** Where a resource is; a token counts before the link. */
export function addressOf(id: string): Address {
  const reference = `${server}/resources/${id}`;
  const link = access();
  if (link !== null && token() === undefined) {
    return { reference: `${reference}?access=${link}`, token: undefined };
  }
  return { reference, token: token() };
}

/** The address of a resource's content. */
export function contentAddress(id: string, download: boolean): string {
  const query = new URLSearchParams();
  if (download) query.set("download", "");
  const link = access();
  if (link !== null) query.set("access", link);
  const text = query.toString().replace(/=(&|$)/g, "$1");
  return `${server}/resources/${id}/content${text === "" ? "" : `?${text}`}`;
}

/**
 * The page of a resource; the signed link of this page, which is of the same one, goes along.
 * @param id Its id.
 * @param line A long line that has a page of its own.
 */
export function viewAddress(id: string, line?: number): string {
  const query = new URLSearchParams();
  const link = access();
  if (link !== null) query.set("access", link);
  if (line !== undefined) query.set("line", String(line + 1));
  return `${server}/view/${id}${query.size === 0 ? "" : `?${query}`}`;
}

/** The part of the address that names lines of one log, or a time in it. */
export interface Fragment {
  /** As it is on a page with one log. */
  get(): string;
  /** Changes it; history stays as it is. */
  set(fragment: string): void;
  /** Address of the page for links to its lines; empty for this one. */
  readonly page: string;
}

/** The fragment of a page with one log. */
export const ownFragment: Fragment = {
  get: () => location.hash,
  set: (fragment) => history.replaceState(history.state, "", fragment),
  page: "",
};

/** What belongs to one of the logs that the fragment names. */
export function fragmentOf(id: string): Fragment {
  return {
    get: () => logsIn(location.hash).get(id) ?? "",
    set: (fragment) => {
      const logs = logsIn(location.hash).set(id, fragment);
      history.replaceState(history.state, "", fragmentOfLogs(logs));
    },
    page: viewAddress(id),
  };
}

/** The page of an upload context. */
export function contextAddress(contextId: string): string {
  return `${server}/view?context=${encodeURIComponent(contextId)}`;
}

/** Reads bytes of a resource. */
export async function readBytes(
  id: string,
  from: number,
  to: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const headers: Record<string, string> = { range: `bytes=${from}-${to - 1}` };
  const presented = token();
  if (presented !== undefined) headers.authorization = `Bearer ${presented}`;
  const response = await fetch(contentAddress(id, false), { headers, signal, cache: "no-store" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Reads the bytes of one resource. */
export function readerOf(id: string): ReadBytes {
  return (from, to, signal) => readBytes(id, from, to, signal);
}
