/**
 * Messages of a log: an append each, with what must be known of everything before it.
 *
 * | header | meaning                                                                              |
 * | ------ | ------------------------------------------------------------------------------------ |
 * | `E`    | epoch of the owner that wrote it                                                     |
 * | `W`    | its name, so that a writer whose acknowledgement was lost knows its own message      |
 * | `B`    | sequence of the first message of the log; missing in that one                        |
 * | `I`    | life of the id, in that one; missing where nobody said                               |
 * | `X`    | number of the spare stream of the log; missing without one                           |
 * | `G`    | segment, missing for 0: even ones are in the stream of the log, odd ones in the spare; |
 * |        | -1 for the fence of an owner in a spare stream that the log has not come to          |
 * | `A`    | position of the message that it comes after, in the first one of a segment           |
 * | `O`    | bytes before it                                                                      |
 * | `L`    | line breaks before it; missing without line access                                   |
 * | `N`    | there, if the last line before it has not ended                                      |
 * | `S`    | a status that shows everything up to its end, as JSON                                |
 * | `P`    | position of the newest message with a status, where it has none                      |
 *
 * `Nats-Expected-Last-Subject-Sequence`, by which the engine lets one writer in, is stored with it.
 *
 * A message without bytes is the first one of a log, a new owner, or a status only. One that begins before the end of
 * what is there cuts that off.
 * @module
 */
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import type { ResourceStatus } from "../../protocol.ts";
import { scanLineBreaks } from "../scan.ts";

/** More messages than a stream ever has, and segments for which positions are whole numbers still. */
const SEQUENCES = 2 ** 40;
/** Segments of a log at most. */
export const MOST_SEGMENTS = 2 ** 13;

/** Position of a message among all of its log: by its segment, then by its sequence in the stream of that. */
export function positionOf(segment: number, sequence: number): number {
  return segment * SEQUENCES + sequence;
}

/** Segment of a position. */
export function segmentOf(position: number): number {
  return Math.floor(position / SEQUENCES);
}

/** Sequence of a position in the stream of its segment. */
export function sequenceOf(position: number): number {
  return position - segmentOf(position) * SEQUENCES;
}

/** Which stream of a log a segment is in. */
export type Lane = 0 | 1;

/** The stream that a log begins in, and its spare one. */
export const HOME: Lane = 0, SPARE: Lane = 1;

/** Which stream of its log a segment is in. */
export function laneOf(segment: number): Lane {
  return segment % 2 === 0 ? HOME : SPARE;
}

/** Segment of a fence in a spare stream that the log has not come to. */
export const BEFORE_SEGMENTS = -1;

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
  /** Its name, which no other message of the log has. */
  name: string;
  /** Sequence of the first message of the log; 0 in that one. */
  birth: number;
  /** Life of the id, in the first message of a log. */
  life?: string;
  /** Number of the spare stream; null without one. */
  spare: number | null;
  /** Its segment. */
  segment: number;
  /** Position of the message that it comes after, in the first one of a segment; 0 in all others. */
  after: number;
  /** State of the log before it. */
  before: LogState;
  /** Whether line breaks are counted. */
  lineAccess: boolean;
  /** A status that shows everything up to its end; null for none. */
  status: ResourceStatus | null;
  /** Position of the newest message with a status; 0 before the first. */
  statusPosition: number;
}

/** A message of a log as the engine has it. */
export interface LogMessage extends MessageHead {
  /** Its sequence in its stream. */
  readonly sequence: number;
  /** Sequence of the message of the log before it in its stream, as its sender knew; 0 for none. */
  readonly expected: number;
  /** Its position in its log. */
  readonly position: number;
  /** Its bytes. */
  readonly data: Uint8Array;
  /** When it was stored, in ms since 1970. */
  readonly timeMs: number;
}

/** What the engine hands out. */
export interface StoredMessage {
  readonly subject?: string;
  readonly seq: number;
  readonly header: MsgHdrs;
  readonly data: Uint8Array;
  readonly timestamp: string;
}

/** Name of an append by its writer: fences have others. */
export function appendName(writer: string, number: number): string {
  return `${writer}.${number}`;
}

/** Whether a message is an append, or a status, of an owner. */
export function isAppend({ name }: Pick<MessageHead, "name">): boolean {
  return name.includes(".");
}

/** Writes the headers of a message. */
export function encodeHead(head: MessageHead): MsgHdrs {
  const { before } = head;
  const fields = headers();
  fields.set("E", String(head.epoch));
  fields.set("W", head.name);
  if (head.birth !== 0) fields.set("B", String(head.birth));
  else if (head.life !== undefined) fields.set("I", head.life);
  if (head.spare !== null) fields.set("X", String(head.spare));
  if (head.segment !== 0) fields.set("G", String(head.segment));
  if (head.after !== 0) fields.set("A", String(head.after));
  fields.set("O", String(before.size));
  if (head.lineAccess) {
    fields.set("L", String(before.lineBreaks));
    if (before.isLineOpen) fields.set("N", "1");
  }
  if (head.status !== null) fields.set("S", asciiJson(head.status));
  else if (head.statusPosition !== 0) fields.set("P", String(head.statusPosition));
  return fields;
}

/** Reads a message. */
export function decodeMessage({ seq, header, data, timestamp }: StoredMessage): LogMessage {
  const number = (name: string) => Number(header.get(name) || 0);
  const status = header.get("S");
  const segment = number("G");
  const position = positionOf(segment, seq);
  return {
    sequence: seq,
    expected: number("Nats-Expected-Last-Subject-Sequence"),
    position,
    data: plain(data),
    timeMs: Date.parse(timestamp),
    epoch: number("E"),
    name: header.get("W"),
    birth: number("B") || seq,
    life: header.get("I") || undefined,
    spare: header.has("X") ? number("X") : null,
    segment,
    after: number("A"),
    before: {
      size: number("O"),
      lineBreaks: number("L"),
      isLineOpen: header.has("N"),
    },
    lineAccess: header.has("L"),
    status: status === "" ? null : JSON.parse(status),
    statusPosition: status === "" ? number("P") : position,
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
