/**
 * Which bytes of a resource answer a request: `Range` of RFC 9110, 14, on content that may still grow (RFC 8673).
 * @module
 */
import { LIMITS, type ResourceStatus, StreamError } from "../../protocol.ts";

/** Bytes of a Range header: from one position to another (Infinity without one), or the last ones. */
export type ByteRange = { first: number; last: number } | { suffix: number };

/** The bytes that answer a request. */
export interface ContentPart {
  /** Position of the first one. */
  first: number;
  /** Position behind the last one; Infinity follows the transfer to its end, and breaks off where it FAILED. */
  end: number;
  /** The value of Content-Range; null for the whole content. */
  contentRange: string | null;
}

/** A last position from here on is "very large" (RFC 8673): no resource has it, so it asks to follow. */
const FOLLOWING_LAST = LIMITS.resourceBytes - 1;

const ONE_RANGE = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i;

/**
 * Reads a Range header.
 *
 * @param header Its value.
 * @returns The range; null, which asks for everything, for several ranges, other units and what is malformed.
 */
export function parseRange(header: string): ByteRange | null {
  const [match, first, last] = ONE_RANGE.exec(header) ?? [null, "", ""];
  if (match === null || first + last === "") return null;
  if (first === "") return { suffix: position(last) };
  const range = { first: position(first), last: last === "" ? Infinity : position(last) };
  return range.first > range.last ? null : range;
}

/**
 * Chooses the bytes that answer a request.
 *
 * @param status The status of the resource.
 * @param range What was asked for; null for everything.
 * @returns The bytes.
 * @throws {StreamError} RANGE_NOT_AVAILABLE; WRONG_STATE for what comes behind the end of a FAILED transfer, as 416
 *   would tell a client that resumes that it has everything.
 */
export function partOf(status: ResourceStatus, range: ByteRange | null): ContentPart {
  const { transferStatus, currentSize, failure } = status;
  const isLive = transferStatus === "INITIATED" || transferStatus === "IN_PROGRESS";
  const isFailed = transferStatus === "FAILED";
  if (range === null) {
    return { first: 0, end: isLive || isFailed ? Infinity : currentSize, contentRange: null };
  }
  const { first, last } = "suffix" in range ? lastBytes(currentSize, range.suffix) : range;
  const toTheEnd = last >= FOLLOWING_LAST;
  if (isLive && toTheEnd && last !== Infinity) {
    return { first, end: Infinity, contentRange: `bytes ${first}-${last}/*` };
  }
  if (first >= currentSize) {
    if (!isFailed || !toTheEnd) throw beyond(first, currentSize);
    throw new StreamError(
      "WRONG_STATE",
      `there is no byte ${first}: the transfer FAILED: ${failure}`,
    );
  }
  const end = Math.min(last + 1, currentSize);
  const breaksOff = isFailed && toTheEnd;
  const size = isLive || breaksOff ? "*" : currentSize;
  const contentRange = `bytes ${first}-${end - 1}/${size}`;
  return { first, end: breaksOff ? Infinity : end, contentRange };
}

/** Without any, the first position is one that does not exist. */
function lastBytes(size: number, suffix: number): { first: number; last: number } {
  return { first: Math.max(0, size - suffix), last: size - 1 };
}

/** Positions beyond what numbers hold exactly are as good as the largest one. */
function position(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}

function beyond(first: number, size: number): StreamError {
  return new StreamError(
    "RANGE_NOT_AVAILABLE",
    `the range begins at byte ${first}: ${size} bytes can be read`,
  );
}
