/**
 * Whether a page hears what happens.
 * @module
 */
import type { StreamError } from "../../client.ts";

/** Whether statuses arrive. */
export type Link =
  | { state: "connecting" | "live" | "ended" | "asleep" }
  | LostLink;

/** Nobody knows what happens meanwhile. */
export interface LostLink {
  state: "lost";
  reason: string;
  retryAtMs: number;
}

/** A connection that is lost, or could not be made yet. */
export function lostLink(error: StreamError, delayMs: number): LostLink {
  return { state: "lost", reason: error.message, retryAtMs: Date.now() + delayMs };
}

/** Seconds until it is tried again. */
export function secondsLeft({ retryAtMs }: LostLink): number {
  return Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
}
