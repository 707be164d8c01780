/**
 * Where the page is: the server it came from, its own address, and what it presents there.
 * @module
 */
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

/** The page of a resource. */
export function viewAddress(id: string): string {
  return `${server}/view/${id}`;
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
