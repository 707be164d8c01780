/**
 * Messages of a log: an append each, with what must be known of everything before it.
 *
 * | header | meaning                                                                     |
 * | ------ | --------------------------------------------------------------------------- |
 * | `E`    | epoch of the owner that wrote it                                            |
 * | `W`    | the writer, so that one whose acknowledgement was lost knows its own message |
 * | `B`    | sequence of the first message of the log; missing in that one               |
 * | `O`    | bytes before it                                                             |
 * | `L`    | line breaks before it; missing without line access                          |
 * | `N`    | there, if the last line before it has not ended                             |
 * | `S`    | a status that shows everything up to its end, as JSON                       |
 * | `P`    | sequence of the newest message with a status, where it has none             |
 *
 * A message without bytes is the first one of a log, a new owner, or a status only. One that begins before the end of
 * what is there cuts that off.
 * @module
 */
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { ResourceStatus } from "../../protocol.ts";
import { scanLineBreaks } from "../scan.ts";

/** State of a log behind a message. */
export interface LogState {
  /** Bytes. */
  readonly size: number;
  /** Line breaks; 0 without line access. */
  readonly lineBreaks: number;
  /** Whether the last line has not ended. */
  readonly isLineOpen: boolean;
}

/** What is told of a message besides its bytes. */
export interface MessageHead {
  /** Epoch of its owner. */
  epoch: number;
  /** Its writer. */
  writer: string;
  /** Sequence of the first message of the log; 0 in that one. */
  birth: number;
  /** State of the log before it. */
  before: LogState;
  /** Whether line breaks are counted. */
  lineAccess: boolean;
  /** A status that shows everything up to its end; null for none. */
  status: ResourceStatus | null;
  /** Sequence of the newest message with a status; 0 before the first. */
  statusSequence: number;
}

/** A message of a log as the engine has it. */
export interface LogMessage extends MessageHead {
  /** Its sequence in its stream. */
  readonly sequence: number;
  /** Its bytes. */
  readonly data: Uint8Array;
  /** When it was stored, in ms since 1970. */
  readonly timeMs: number;
}

/** What the engine hands out. */
export interface StoredMessage {
  readonly seq: number;
  readonly header: MsgHdrs;
  readonly data: Uint8Array;
  readonly timestamp: string;
}

/** Writes the headers of a message. */
export function encodeHead(head: MessageHead): MsgHdrs {
  const { before } = head;
  const fields = headers();
  fields.set("E", String(head.epoch));
  fields.set("W", head.writer);
  if (head.birth !== 0) fields.set("B", String(head.birth));
  fields.set("O", String(before.size));
  if (head.lineAccess) {
    fields.set("L", String(before.lineBreaks));
    if (before.isLineOpen) fields.set("N", "1");
  }
  if (head.status !== null) fields.set("S", asciiJson(head.status));
  else if (head.statusSequence !== 0) fields.set("P", String(head.statusSequence));
  return fields;
}

/** Reads a message. */
export function decodeMessage({ seq, header, data, timestamp }: StoredMessage): LogMessage {
  const number = (name: string) => Number(header.get(name) || 0);
  const status = header.get("S");
  return {
    sequence: seq,
    data: plain(data),
    timeMs: Date.parse(timestamp),
    epoch: number("E"),
    writer: header.get("W"),
    birth: number("B") || seq,
    before: {
      size: number("O"),
      lineBreaks: number("L"),
      isLineOpen: header.has("N"),
    },
    lineAccess: header.has("L"),
    status: status === "" ? null : JSON.parse(status),
    statusSequence: status === "" ? number("P") : seq,
  };
}

/** State of a log behind some more bytes. */
export function stateBehind(
  { size, lineBreaks, isLineOpen }: LogState,
  data: Uint8Array,
  lineAccess: boolean,
): LogState {
  if (!lineAccess) return { size: size + data.length, lineBreaks, isLineOpen };
  return {
    size: size + data.length,
    lineBreaks: lineBreaks + scanLineBreaks(data, 0, () => {}),
    isLineOpen: data.length === 0 ? isLineOpen : data[data.length - 1] !== 10,
  };
}

/** Bytes as no subclass of theirs, whose methods share memory where these copy. */
export function plain({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length);
}

/** Headers are bytes to some, and text to others: what is not ASCII is escaped. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
