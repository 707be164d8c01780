/**
 * Answers to uploads: how far an upload is, and the problems of the draft.
 * @module
 */
import type { Context } from "hono";
import { serializeDictionary, serializeItem } from "structured-headers";
import { StreamError } from "../../../protocol.ts";
import type { CompletedUpload } from "../../../resources.ts";
import { json } from "../../answer/json.ts";
import { problem } from "../../answer/problem.ts";
import type { FaceParts } from "../../face.ts";
import type { Owner } from "./fields.ts";

/** Where the draft's problem types are. */
const PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#";

/** The resource of an upload, for its owner. */
export async function represent(
  c: Context,
  { resources, references }: FaceParts,
  { id }: Owner,
): Promise<Response> {
  const record = await resources.get(id);
  return json(c, references.info(record, references.base(c)));
}

/** Tells how far an upload is. */
export function uploadState(c: Context, offset: number, isComplete: boolean): void {
  c.header("upload-offset", String(offset));
  c.header("upload-complete", serializeItem(isComplete));
}

/** The value of Upload-Limit. */
export function limits({ resources }: FaceParts): string {
  return serializeDictionary({
    "max-size": resources.maxResourceBytes,
    "max-age": Math.floor(resources.resumeWindowMs / 1000),
  });
}

/** An append at another offset than the upload's. */
export function mismatchingOffset(
  c: Context,
  expected: number,
  provided: number,
  isComplete: boolean,
): Response {
  uploadState(c, expected, isComplete);
  return problem(
    c,
    new StreamError("CONFLICT", `the upload has ${expected} bytes, the append is at ${provided}`),
    {
      type: `${PROBLEM_TYPES}mismatching-upload-offset`,
      "expected-offset": expected,
      "provided-offset": provided,
    },
  );
}

/** An append to what is completed. */
export function alreadyCompleted(
  c: Context,
  { completed }: CompletedUpload,
  offset: number,
): Response {
  if (offset !== completed.size) return mismatchingOffset(c, completed.size, offset, true);
  uploadState(c, completed.size, true);
  const error = new StreamError("BAD_REQUEST", "the upload is completed already");
  return problem(c, error, { type: `${PROBLEM_TYPES}completed-upload` });
}

/** Announcements of the size that do not agree. */
export function inconsistentLength(c: Context): Response {
  const error = new StreamError(
    "BAD_REQUEST",
    "Upload-Length, Content-Length and what was said before do not agree",
  );
  return problem(c, error, { type: `${PROBLEM_TYPES}inconsistent-upload-length` });
}
