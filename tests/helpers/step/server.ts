/** A listener as the Java server has it: no subprotocol, and no HTTP interface. */
import { framesRuntime, type Runtime } from "../../../mod.ts";
import { SUBPROTOCOL } from "../../../src/protocol.ts";

/**
 * Chooses no subprotocol, and has no HTTP interface that tells who it is.
 * @param frames What listens.
 */
export function stepOnly(frames: Runtime = framesRuntime()): Runtime {
  return {
    listen: (options) =>
      frames.listen({
        ...options,
        fetch: (request, env) =>
          request.headers.get("upgrade") === null
            ? new Response("not found", { status: 404 })
            // A Java server upgrades whatever the id is: ours does that for those who offer its subprotocol.
            : options.fetch(offering(request), env),
      }),
    upgrade: (request, env, upgrade) =>
      frames.upgrade(request, env, { ...upgrade, subprotocol: "" }),
    remoteAddress: frames.remoteAddress,
  };
}

function offering(request: Request): Request {
  const headers = new Headers(request.headers);
  headers.set("sec-websocket-protocol", SUBPROTOCOL);
  return new Request(request, { headers });
}
