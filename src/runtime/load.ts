/**
 * Chooses the runtime, once.
 * @module
 */
import type { Runtime } from "../runtime.ts";

/** Settings of {@link loadRuntime}. */
export interface LoadOptions {
  /**
   * Whether everybody who can connect is trusted: on Deno the runtime's own server is faster than ours, and bounds
   * neither connections nor messages; false by default. On Bun there is no difference.
   */
  trustedNetwork?: boolean | undefined;
}

/**
 * The adapter of the runtime this program runs on.
 *
 * @param options Whom it serves.
 * @returns The adapter for Deno or Bun; on Node the one that sees frames, which needs nothing but `node:http`.
 *
 * @example
 * ```ts
 * import { loadRuntime } from "@stream/live";
 *
 * const runtime = await loadRuntime();
 * ```
 */
export async function loadRuntime(
  { trustedNetwork = false }: LoadOptions = {},
): Promise<Runtime> {
  if ("Bun" in globalThis) return (await import("./bun.ts")).bunRuntime();
  if ("Deno" in globalThis) {
    const { denoRuntime, denoServeRuntime } = await import("./deno.ts");
    return trustedNetwork ? denoServeRuntime() : denoRuntime();
  }
  return (await import("./frames.ts")).framesRuntime();
}
