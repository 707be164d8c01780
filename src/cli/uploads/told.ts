/**
 * What is told of an upload.
 * @module
 */
import type { UploadResult } from "../../client.ts";
import { type ErrorCode, toStreamError } from "../../protocol.ts";

/** What is told of an upload, when it begins and at its end. */
export interface Told extends Partial<UploadResult> {
  /** Null when it failed before it stood. */
  reference: string | null;
  stepReference?: string;
  filename: string;
  contextId: string | null;
  /** Told to programs only. */
  failure?: { code: ErrorCode; message: string };
}

/** A failure, as programs are told of it. */
export function failureOf(error: unknown): Told["failure"] {
  const { code, message } = toStreamError(error);
  return { code, message };
}
