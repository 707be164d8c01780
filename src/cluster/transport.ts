/**
 * The client of the engine, with long messages as {@link LongMessages} makes them.
 * @module
 */
import { Buffer } from "node:buffer";
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

/** Members that refuse a connection are asked again for so long, in ms. */
const REACHED_WITHIN_MS = 12_000;
/** Time between two attempts to connect again: nodes do not come all at once. */
const RECONNECT_MS = 100;
const JITTER_MS = 100;
/** What a member says of what it refuses begins so. */
const REFUSAL = "-ERR '";

/** Options of a connection, of which each attempt is given a copy. */
interface Options extends ConnectionOptions {
  /** Hears why a member refuses the connection. */
  refused?(reason: string): void;
}

/**
 * Connects a client, as `connect` of `@nats-io/transport-node` does (3.4), which asks for ever where members refuse it
 * that tell of one another.
 * @param given Where to, and how.
 * @param withinMs For how long members are asked that refuse it, in ms; 12 000 by default.
 * @throws {Error} Why it is not connected.
 */
export async function connectClient(
  given: ConnectionOptions,
  withinMs: number = REACHED_WITHIN_MS,
): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new Transport(), dnsResolveFn: nodeResolveHost });
  const untilMs = performance.now() + withinMs;
  let isConnected = false;
  let refusal: string | null = null;
  const options: Options = {
    ...given,
    refused: (reason) => refusal = reason,
    reconnectDelayHandler() {
      if (!isConnected && performance.now() >= untilMs) throw new Error("nobody takes it");
      return RECONNECT_MS + Math.random() * JITTER_MS;
    },
  };
  try {
    const connection = await NatsConnectionImpl.connect(options);
    isConnected = true;
    return connection;
  } catch (error) {
    throw refusal === null ? error : new Error(refusal, { cause: error });
  }
}

/** A connection of the client. */
export class Transport extends NodeTransport {
  #refused: (reason: string) => void = () => {};

  override async connect(
    server: { hostname: string; port: number; tlsName: string },
    options: Options,
  ) {
    this.#refused = options.refused ?? this.#refused;
    await super.connect(server, options);
  }

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
      if (chunk[0] === REFUSAL.charCodeAt(0)) this.#hearRefusal(chunk);
      const isShared = yield* messages.take(chunk);
      if (!isShared) giveBack(chunk);
    }
  }

  #hearRefusal(chunk: Uint8Array): void {
    const [line] = Buffer.from(chunk).toString("latin1").split("\r\n");
    if (line.startsWith(REFUSAL)) this.#refused(line.slice(REFUSAL.length, -1));
  }
}
