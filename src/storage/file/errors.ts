/**
 * What the file system refuses, with our codes.
 * @module
 */
import { type ErrorCode, StreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";

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
  // Uploaders and readers hear it, too: it must not sound like their own disk.
  return new StreamError(code, `the storage cannot ${action}: ${withoutPath(reasonOf(error))}`, {
    cause: error,
  });
}

/** Without the call and the path on our disk. */
function withoutPath(reason: string): string {
  return reason.replace(/(, \w+|[,:] \w+ '.*)$/s, "");
}

/** The system's own code of an error, e.g. `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
