/**
 * Server-sent events, as `fetch` delivers them.
 * @module
 */
import { StreamError } from "../../protocol.ts";
import { noServer } from "./http.ts";

/** One event: a status of a few hundred bytes, or 32 KiB of text that JSON makes six times as long at worst. */
const MAX_EVENT_CHARS = 256 * 1024;

/** One event. */
export interface ServerSentEvent {
  /** Its type. */
  type: string;
  /** Its data. */
  data: string;
}

/**
 * The content of an answer with events.
 * @param answer The answer.
 * @throws {StreamError} UNREACHABLE when something else than our server answers.
 */
export function eventsIn({ headers, body }: Response): ReadableStream<Uint8Array> {
  if (body !== null && headers.get("content-type")?.startsWith("text/event-stream")) return body;
  throw noServer();
}

/**
 * Reads events.
 * @param body Content of the answer.
 * @param heard Called whenever anything arrives, comments included.
 * @returns The events until the content ends; one that is cut off is none.
 * @throws {StreamError} BAD_MESSAGE for an event that is too long.
 */
export async function* eventsOf(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<ServerSentEvent, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let event: ServerSentEvent = { type: "message", data: "" };
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [, field, text] = /^(event|data): ?([^\r]*)/.exec(line) ?? [];
      if (field === "event") event.type = text;
      else if (field === "data") event.data += text;
      else if (/^\r?$/.test(line)) {
        if (event.data !== "") yield event;
        event = { type: "message", data: "" };
      }
    }
    if (rest.length + event.data.length > MAX_EVENT_CHARS) {
      throw new StreamError("BAD_MESSAGE", `an event is longer than ${MAX_EVENT_CHARS} characters`);
    }
  }
}
