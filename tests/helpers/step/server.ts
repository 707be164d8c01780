/** A listener as the Java server has it: no subprotocol, and no HTTP interface. */
import { framesRuntime, type Runtime } from "../../../mod.ts";

/** Chooses no subprotocol, and has no HTTP interface that tells who it is. */
export function stepOnly(): Runtime {
  const frames = framesRuntime();
  return {
    listen: (options) =>
      frames.listen({
        ...options,
        fetch: (request, env) =>
          request.headers.get("upgrade") === null
            ? new Response("not found", { status: 404 })
            : options.fetch(request, env),
      }),
    upgrade: (request, env, upgrade) =>
      frames.upgrade(request, env, { ...upgrade, subprotocol: "" }),
    remoteAddress: frames.remoteAddress,
  };
}
