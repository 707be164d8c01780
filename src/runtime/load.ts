/**
 * Chooses the runtime, once.
 * @module
 */
import type { Runtime } from "../runtime.ts";

/**
 * The adapter of the runtime this program runs on.
 *
 * @returns The adapter for Deno or Bun; on Node the one that sees frames, which needs nothing but `node:http`.
 *
 * @example
 * ```ts
 * import { loadRuntime } from "@stream/live";
 *
 * const runtime = await loadRuntime();
 * ```
 */
export async function loadRuntime(): Promise<Runtime> {
  if ("Bun" in globalThis) return (await import("./bun.ts")).bunRuntime();
  if ("Deno" in globalThis) return (await import("./deno.ts")).denoRuntime();
  return (await import("./frames.ts")).framesRuntime();
}
