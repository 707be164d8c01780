/**
 * How a log begins, also where another one began and came to nothing.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { LogExchange } from "./exchange.ts";
import { encodeHead, type LogMessage, type MessageHead } from "./message.ts";

/** A log that no record names is nobody's after so long, in ms: who begins one has its record much sooner, or gives up. */
export const LEFT_MS = 60_000;

const NOTHING = new Uint8Array(0);

/**
 * Stores the first message of a log. One that a registration has left which came to nothing, as its node or the engine
 * was gone, is replaced in the same step: nobody was told of it, and no record names it.
 * @param home The stream that it begins in.
 * @param head The message.
 * @returns Its sequence.
 * @throws {StreamError} CONFLICT when there is a log already; NOT_READY, also while another one has just begun.
 */
export async function begin(home: LogExchange, head: MessageHead): Promise<number> {
  const { name } = head;
  let found = null as LogMessage | null;
  const lostTo = (last: LogMessage) => {
    found = last;
    return new StreamError("CONFLICT", `the log ${home.id} exists already`);
  };
  const fields = encodeHead(head);
  try {
    return await home.store(fields, NOTHING, { name, expected: 0, lostTo });
  } catch (error) {
    if (found === null || found.sequence !== found.birth) throw error;
    if (await home.ageOf(found) < LEFT_MS) throw beginning(home.id);
    fields.set("Nats-Rollup", "sub");
    return await home.store(fields, NOTHING, { name, expected: found.sequence, lostTo });
  }
}

function beginning(id: string): StreamError {
  return new StreamError(
    "NOT_READY",
    `${id} is being registered by somebody else: try again later`,
  );
}
