/**
 * How a log begins, and how one ends that was left.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import type { LogExchange } from "./exchange.ts";
import { encodeHead, type LogMessage, type MessageHead } from "./message.ts";

/** A log that no record names is nobody's after so long, in ms: who begins one has its record much sooner, or gives up. */
export const LEFT_MS = 60_000;

const NOTHING = new Uint8Array(0);

/**
 * Stores the first message of a log.
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
  try {
    return await home.store(encodeHead(head), NOTHING, { name, expected: 0, lostTo });
  } catch (error) {
    if (found === null || found.sequence !== found.birth) throw error;
    throw await home.ageOf(found) < LEFT_MS ? beginning(home.id) : error;
  }
}

/**
 * Replaces a log by the beginning of another one, in one step, and only while it ends as it was seen to: whoever takes it
 * over meanwhile keeps it, and whoever comes back later finds that it is gone.
 * @param home The stream that it began in.
 * @param last Its last message there.
 * @param other Name of the first message of the other one, and its life.
 * @throws {StreamError} CONFLICT when somebody took it over; QUOTA_EXCEEDED, NOT_READY.
 */
export async function replace(
  home: LogExchange,
  { epoch, spare, lineAccess, sequence }: LogMessage,
  { name, life }: Pick<MessageHead, "name" | "life">,
): Promise<void> {
  const fields = encodeHead({
    ...{ epoch, name, life, spare, lineAccess },
    ...{ birth: 0, segment: 0, after: 0, status: null, statusPosition: 0 },
    before: { size: 0, lineBreaks: 0, isLineOpen: false },
  });
  fields.set("Nats-Rollup", "sub");
  const lostTo = () => new StreamError("CONFLICT", `the log ${home.id} is somebody's again`);
  await home.store(fields, NOTHING, { name, expected: sequence, lostTo });
}

function beginning(id: string): StreamError {
  return new StreamError(
    "NOT_READY",
    `${id} is being registered by somebody else: try again later`,
  );
}
