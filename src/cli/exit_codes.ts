/**
 * How the program ends (README, exit codes).
 * @module
 */
import { type ErrorCode, toStreamError } from "../protocol.ts";
import { EXIT } from "./command.ts";
import { visible } from "./output/output.ts";

const EXIT_BY_CODE: Partial<Record<ErrorCode, number>> = {
  BAD_METADATA: EXIT.usage,
  BAD_REQUEST: EXIT.usage,
  UNREACHABLE: EXIT.unreachable,
  INTERRUPTED: EXIT.unreachable,
  PEER_SILENT: EXIT.unreachable,
  SHUTDOWN: EXIT.unreachable,
  NOT_READY: EXIT.unreachable,
  QUOTA_EXCEEDED: EXIT.refused,
  CONTEXT_REQUIRED: EXIT.refused,
  CONTEXT_CLOSED: EXIT.refused,
  UNAUTHORIZED: EXIT.refused,
  FORBIDDEN: EXIT.refused,
  RATE_LIMITED: EXIT.refused,
  ORIGIN_REFUSED: EXIT.refused,
  HOST_REFUSED: EXIT.refused,
  LIMIT_REACHED: EXIT.refused,
  FENCED: EXIT.refused,
  NOT_OWNER: EXIT.refused,
};

/** The exit code of an error that is not one of usage. */
export function exitCodeOf(error: unknown): number {
  return EXIT_BY_CODE[toStreamError(error).code] ?? EXIT.failed;
}

/** An error for people, with its code for those who look it up. */
export function described(error: unknown): string {
  const { code, message } = toStreamError(error);
  return `${visible(message)} (${code})`;
}
