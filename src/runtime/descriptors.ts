/**
 * File descriptors: connections must leave some to the files of running uploads.
 * @module
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { devNull } from "node:os";

/** Of all descriptors a quarter, and no more than this, is kept for files. */
const MAX_RESERVE = 2048;
const RESERVE_SHARE = 1 / 4;
/** Of the reserve so much is kept even from those who only want to be told that there is no room. */
const LAST_SHARE = 1 / 2;
/** What was seen holds for so long, and for so many who ask as a part of what was free: a crowd comes within less. */
const SEEN_FOR_MS = 20;
const SEEN_FOR_SHARE = 1 / 16;
const SEEN_FOR_ASKED = 16;

/** How many descriptors are left: enough, only the reserve, or hardly any of that. */
export type Room = "enough" | "reserve" | "none";

let seen: Room = "enough";
let seenAtMs = -Infinity;
let leftToAsk = 0;
let limit: number | null = null;

/** How much room there is; costs two system calls. */
export function roomForConnections(): Room {
  const nowMs = performance.now();
  if (nowMs - seenAtMs < SEEN_FOR_MS && leftToAsk-- > 0) return seen;
  seenAtMs = nowMs;
  limit ??= readLimit();
  const reserve = Math.min(limit * RESERVE_SHARE, MAX_RESERVE);
  const lowestFree = lowestFreeDescriptor();
  leftToAsk = Math.max(SEEN_FOR_ASKED, (limit - reserve - lowestFree) * SEEN_FOR_SHARE);
  if (lowestFree >= limit - reserve * LAST_SHARE) seen = "none";
  else seen = lowestFree >= limit - reserve ? "reserve" : "enough";
  return seen;
}

/** All below it are in use (POSIX, open); Infinity where none is left. */
function lowestFreeDescriptor(): number {
  try {
    const descriptor = openSync(devNull, "r");
    closeSync(descriptor);
    return descriptor;
  } catch {
    return Infinity;
  }
}

/** Infinity where no system tells: then only a descriptor that cannot be had shows the limit. */
function readLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity);
  } catch {
    return Infinity;
  }
}

/** What begins nothing new belongs to what runs already: it may use the reserve. */
const ONGOING: readonly string[] = ["PATCH", "DELETE", "HEAD", "OPTIONS"];

/**
 * Whether a request may not be taken now.
 * @param method Its method.
 * @param makeRoom Closes connections that wait for a request.
 */
export function isRefused(method: string, makeRoom: () => void): boolean {
  if (roomForConnections() === "enough") return false;
  makeRoom();
  return !ONGOING.includes(method);
}

/** Seconds after which it is worth another try. */
const RETRY_AFTER_S = 2;
const PROBLEM = JSON.stringify({
  title: "LIMIT_REACHED",
  status: 503,
  detail: "too many connections and files are open: try again later",
  code: "LIMIT_REACHED",
});

/** What is told to those for whom there is no room (PROTOCOL.md 5). */
export function noRoom(): Response {
  return new Response(PROBLEM, {
    status: 503,
    headers: {
      "content-type": "application/problem+json",
      "retry-after": String(RETRY_AFTER_S),
      "connection": "close",
    },
  });
}
