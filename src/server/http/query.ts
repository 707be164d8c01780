/**
 * Parameters in the query of a request.
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../../protocol.ts";

/** What a whole number may be. */
export interface NumberRange {
  /** The least. */
  min: number;
  /** The most. */
  max: number;
}

/**
 * A whole number.
 * @param c The request.
 * @param name Name of the parameter.
 * @param range What it may be.
 * @returns The number; undefined without the parameter.
 * @throws {StreamError} BAD_REQUEST.
 */
export function numberIn(c: Context, name: string, { min, max }: NumberRange): number | undefined {
  const text = c.req.query(name);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^-?\d+$/.test(text) && number >= min && number <= max) return number;
  throw new StreamError(
    "BAD_REQUEST",
    `${name}=${text.slice(0, 80)} is not a whole number from ${min} to ${max}`,
  );
}

/**
 * Yes or no.
 * @param c The request.
 * @param name Name of the parameter.
 * @returns True for `true`; false for `false` and without the parameter.
 * @throws {StreamError} BAD_REQUEST.
 */
export function flagIn(c: Context, name: string): boolean {
  const text = c.req.query(name) ?? "false";
  if (text === "true" || text === "false") return text === "true";
  throw new StreamError("BAD_REQUEST", `${name}=${text.slice(0, 80)} is neither true nor false`);
}
