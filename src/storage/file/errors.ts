/**
 * What the file system refuses, with our codes.
 * @module
 */
import { type ErrorCode, StreamError } from "../../protocol.ts";

/** Codes of what is no fault of the storage; without a descriptor a later try may have one. */
const CODES: Record<string, ErrorCode | undefined> = {
  EEXIST: "CONFLICT",
  ENOENT: "NOT_FOUND",
  EMFILE: "LIMIT_REACHED",
  ENFILE: "LIMIT_REACHED",
};

/** Runs a step; an error of the system says what was attempted. */
export async function attempt<T>(action: string, step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw failed(action, error);
  }
}

/**
 * The error of a step that the system refused.
 * @param action What was attempted.
 * @param error What the system said; an error of ours passes unchanged.
 */
export function failed(action: string, error: unknown): StreamError {
  if (error instanceof StreamError) return error;
  const code = CODES[systemCode(error) ?? ""] ?? "STORAGE_FAILED";
  return new StreamError(code, `cannot ${action}: ${withoutPath(error)}`, { cause: error });
}

/** What the system said, without the call and the path on our disk: uploaders and readers hear it, too. */
function withoutPath(error: unknown): string {
  return (error as Error).message.replace(/(, \w+|[,:] \w+ '.*)$/s, "");
}

/** The system's own code of an error, e.g. `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
