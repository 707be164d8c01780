/**
 * The client of the engine, with long messages as {@link LongMessages} makes them.
 * @module
 */
import type { Socket } from "node:net";
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";
import { giveBack } from "../byte_queue.ts";
import { LONG_BYTES, LongMessages } from "./long_messages.ts";

/**
 * Connects a client, as `connect` of `@nats-io/transport-node` does (3.4).
 * @param options Where to, and how.
 */
export function connectClient(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new Transport(), dnsResolveFn: nodeResolveHost });
  return NatsConnectionImpl.connect(options);
}

/** A connection of the client. */
export class Transport extends NodeTransport {
  /** A socket that was let go of may still tell that it broke: where nobody hears that, the process ends (seen on Deno). */
  override async dial(where: { hostname: string; port: number }): Promise<Socket> {
    const socket = await super.dial(where);
    const forget = socket.removeAllListeners.bind(socket);
    socket.removeAllListeners = (...events: [string?]) => forget(...events).on("error", () => {});
    return socket;
  }

  /** What is long was put together to be sent: its memory is free when it was. */
  override async _send(frame: Uint8Array): Promise<void> {
    await super._send(frame);
    if (frame.length >= LONG_BYTES) giveBack(frame);
  }

  override async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    const messages = new LongMessages();
    for await (const chunk of this.iterate()) {
      const isShared = yield* messages.take(chunk);
      if (!isShared) giveBack(chunk);
    }
  }
}
