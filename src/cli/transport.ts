/**
 * What carries the connections of a command.
 * @module
 */
import type { StepTransport } from "../client.ts";
import { type TransportOptions, TRANSPORTS } from "../client/connection/transport.ts";
import type { Option, Options } from "./command.ts";
import { visible } from "./output/output.ts";
import { notice } from "./output/stderr.ts";

/** The option of every command that keeps a connection. */
export const TRANSPORT_OPTION: Record<string, Option> = {
  transport: {
    kind: "text",
    value: TRANSPORTS.join("|"),
    help:
      "ws: WebSocket; http: plain requests; auto: http where no WebSocket passes (default auto)",
  },
};

/** Connects to Step servers, for pushes. */
export const connectStep: StepTransport = async (url, handler) => {
  const { connectFrames } = await import("../runtime/frames/client.ts");
  return await connectFrames(url, handler);
};

/**
 * What was chosen, and how people hear that it changed.
 * @throws {UsageError} For what is no transport.
 */
export function transportOf(options: Options): TransportOptions {
  const text = options.text("transport");
  const transport = TRANSPORTS.find((name) => name === (text ?? "auto"));
  if (transport === undefined) {
    throw options.wrong("transport", `that is none of ${TRANSPORTS.join(", ")}`);
  }
  return {
    transport,
    onFallback: ({ message }) => notice(`${visible(message)}; going on by HTTP`),
  };
}
