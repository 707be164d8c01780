/**
 * Answers of JSON.
 * @module
 */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { STEPS } from "../../turn.ts";

/** Entries of an array that are written in one step. */
const SLICE_ENTRIES = 100;

/**
 * Answers with JSON that ends with a line break, as terminals want it.
 * @param c The request.
 * @param value What is told.
 * @param status The status; 200 by default.
 * @param type The media type; `application/json` by default.
 */
export function json(
  c: Context,
  value: unknown,
  status: ContentfulStatusCode = 200,
  type: string = "application/json",
): Response {
  return c.body(`${JSON.stringify(value)}\n`, status, { "content-type": type });
}

/**
 * Answers with an array in JSON that may be long: it is written in slices, with turns between.
 * @param c The request.
 * @param entries What is in it.
 * @param shown An entry as it is told.
 */
export async function jsonArray<Entry>(
  c: Context,
  entries: readonly Entry[],
  shown: (entry: Entry) => unknown,
): Promise<Response> {
  const slices: string[] = [];
  for (let at = 0; at < entries.length; at += SLICE_ENTRIES) {
    if (at > 0) await STEPS.next("lists");
    const slice = entries.slice(at, at + SLICE_ENTRIES);
    slices.push(slice.map((entry) => JSON.stringify(shown(entry))).join(","));
  }
  return c.body(`[${slices.join(",")}]\n`, 200, { "content-type": "application/json" });
}
