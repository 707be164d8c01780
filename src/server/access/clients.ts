/**
 * Clients of a server, as shares and budgets name them.
 * @module
 */
import type { Context } from "hono";
import { grantOf } from "../access.ts";
import type { References } from "../references.ts";
import { networkOf } from "./failures.ts";

/** Programs of this machine, and proxies that nobody told us of: any number of clients. */
const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/i;

/** Whose a request is: its token, and the address or the IPv6 /64 that it came from. */
export function clientsOf(c: Context, references: References): string[] {
  const clients: string[] = [];
  const grant = grantOf(c);
  if (grant !== null) clients.push(`the token ${JSON.stringify(grant.name)}`);
  const client = clientAt(references.remoteAddress(c));
  return client === null ? clients : [...clients, client];
}

/** Whose steps those of a request are (`turn.ts`), before it is looked at; the same for all whose address nobody knows. */
export function rowOf(request: Request, env: unknown, references: References): string {
  return networkOf(references.addressOf(request, env) ?? "");
}

/** Whose an address is; null for loopback, and where nobody knows. */
export function clientAt(address: string | null): string | null {
  if (address === null || LOOPBACK.test(address)) return null;
  return `the address ${networkOf(address)}`;
}
