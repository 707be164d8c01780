/**
 * The one who appends to a log in the engine: an append is one message, or several where it is long.
 * @module
 */
import { headers } from "@nats-io/transport-node";
import { notAnswering } from "../../cluster/engine.ts";
import { MESSAGE_BYTES } from "../../cluster/logs.ts";
import { type ResourceStatus, StreamError } from "../../protocol.ts";
import type { LogEnd, LogWriter } from "../../storage.ts";
import { endOf as stateAt } from "./claim.ts";
import { deleted, fenced, lost } from "./exchange.ts";
import { LogIndex } from "./index.ts";
import type { Lanes } from "./lanes.ts";
import {
  appendName,
  encodeHead,
  laneOf,
  type LogMessage,
  type LogState,
  type MessageHead,
  MOST_SEGMENTS,
  positionOf,
  segmentOf,
  sequenceOf,
  stateBehind,
} from "./message.ts";
import { Stalled } from "./patience.ts";

/** Entries, and bytes of the log, that a page of the index is stored for. */
const PAGE_ENTRIES = 256;
const PAGE_COVERS_BYTES = 16 * 1024 * 1024;
/** What is left at the end has a page from so much on; less is read in one step anyway. */
const LAST_PAGE_ENTRIES = 16;
const LAST_PAGE_COVERS_BYTES = 1024 * 1024;
/** It is waited for so long, in ms. */
const LAST_PAGE_MS = 500;

/** So long a stored message shows whose the log is, in ms. */
const FRESH_MS = 100;

/** A message that this writer has stored. */
export type OwnMessage = Pick<LogMessage, "position" | "before" | "data" | "status">;

/** Log as its new owner finds it. */
export interface OwnedLog {
  /** Ownership. */
  epoch: number;
  /** The writer, as its messages name it. */
  writer: string;
  /** Sequence of the first message. */
  birth: number;
  /** Life of the id; undefined where nobody said. */
  life?: string;
  /** Number of the spare stream; null without one. */
  spare: number | null;
  /** Sequences of the last message in either stream; 0 for none. */
  ends: [home: number, spare: number];
  /** Position of the last message, which is this writer's first. */
  position: number;
  /** State of the log. */
  state: LogState;
  /** Whether line breaks are counted. */
  lineAccess: boolean;
  /** The newest status; null for none. */
  status: ResourceStatus | null;
  /** Position of the message that told it; 0 for none. */
  statusPosition: number;
}

/** A message that was stored, and where the log ended behind it. */
interface StoredEnd {
  position: number;
  size: number;
}

/** Hears of a writer on the same node. */
export interface WriterEvents {
  /** A message was stored. */
  stored(message: OwnMessage): void;
  /** It goes on in the other stream, as nobody takes anything in this one. */
  moved(): void;
  /** Nothing more comes from it. */
  ended(): void;
}

/** Appends to one log, for one epoch. */
export class NatsWriter implements LogWriter {
  readonly #lanes: Lanes;
  readonly #log: OwnedLog;
  readonly #events: WriterEvents;
  /** Entries that no page has yet. */
  #entries = new LogIndex();
  #entriesFrom: number;
  #paging: Promise<void> = Promise.resolve();
  /** Whether the last append came to its end: parts of one that did not may be cut off, and are in no page. */
  #isWhole = true;
  #turn: Promise<unknown> = Promise.resolve();
  /** Segment that the next message belongs to. */
  #segment: number;
  /** Last message of the segment before, if this writer stored it. */
  #left: StoredEnd | null = null;
  /** Messages that were sent. */
  #sent = 0;
  #storedAtMs = performance.now();
  #refusal: StreamError | null = null;
  #closing: Promise<void> | null = null;

  /**
   * @param lanes The log.
   * @param log What it was when this writer got it.
   * @param events Hear of what it does.
   * @param stallMs A stream that takes nothing for so long is left for the other one, in ms.
   */
  constructor(
    lanes: Lanes,
    log: OwnedLog,
    events: WriterEvents,
    private readonly stallMs: number,
  ) {
    this.#lanes = lanes;
    this.#log = log;
    this.#segment = segmentOf(log.position);
    this.#events = events;
    this.#entriesFrom = log.state.size;
  }

  get size(): number {
    return this.#log.state.size;
  }

  get lineBreaks(): number {
    return this.#log.state.lineBreaks;
  }

  get lines(): number {
    return linesIn(this.#log.state, this.#log.lineAccess);
  }

  /** Ownership of the log. */
  get epoch(): number {
    return this.#log.epoch;
  }

  /** Sequence of the first message of the log. */
  get birth(): number {
    return this.#log.birth;
  }

  /** Life of the id; undefined where nobody said. */
  get life(): string | undefined {
    return this.#log.life;
  }

  /** Position of the last message. */
  get position(): number {
    return this.#log.position;
  }

  /** The newest status. */
  get status(): ResourceStatus | null {
    return this.#log.status;
  }

  /** Whether a message was stored just now, which shows that nobody else has the log. */
  get isFresh(): boolean {
    return performance.now() - this.#storedAtMs < FRESH_MS;
  }

  append(
    byteOffset: number,
    parts: readonly Uint8Array[],
    statusOf?: (end: LogEnd) => ResourceStatus,
  ): Promise<void> {
    return this.#inTurn(async () => {
      if (byteOffset !== this.size) throw misplaced(byteOffset, this.size);
      const pieces = inMessages(parts);
      if (pieces.length === 0 && statusOf !== undefined) pieces.push(new Uint8Array(0));
      this.#isWhole = false;
      for (const [index, piece] of pieces.entries()) {
        const { state, lineAccess } = this.#log;
        const behind = stateBehind(state, piece, lineAccess);
        const isLast = index === pieces.length - 1;
        const status = isLast && statusOf ? statusOf(endOf(behind, lineAccess)) : null;
        await this.#store(piece, behind, status);
      }
      this.#isWhole = true;
      const covered = this.size - this.#entriesFrom;
      if (this.#entries.count >= PAGE_ENTRIES || covered >= PAGE_COVERS_BYTES) this.#storePage();
    });
  }

  announce(status: ResourceStatus): Promise<void> {
    return this.#inTurn(() => this.#store(new Uint8Array(0), this.#log.state, status));
  }

  async confirm(): Promise<void> {
    if (this.#left !== null) await this.#checkStored(this.#left);
    if (!this.isFresh) await this.#checkStored(this.#last);
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  /** Another owner has the log: nothing is appended any more. */
  fence(epoch: number): void {
    this.#lose(fenced(this.epoch, epoch));
  }

  /** The log is gone. */
  deleted(): void {
    this.#lose(deleted(this.#lanes.id));
  }

  #lose(refusal: StreamError): void {
    if (this.#refusal !== null) return;
    this.#refusal = refusal;
    this.#events.ended();
  }

  async #close(): Promise<void> {
    await this.#turn.catch(() => {});
    const { count, size } = this.#entries;
    const covered = count === 0 ? 0 : size - this.#entriesFrom;
    const isWorthAPage = count >= LAST_PAGE_ENTRIES || covered >= LAST_PAGE_COVERS_BYTES;
    if (this.#refusal === null && this.#isWhole && isWorthAPage) this.#storePage();
    this.#lose(new StreamError("WRONG_STATE", "the log was closed"));
    // Who ends an upload does not wait for an election.
    await Promise.race([this.#paging, this.#lanes.home.pause(LAST_PAGE_MS)]);
  }

  /** One after the other: R3 refuses expectations in flight together (10164). */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const turn = this.#turn.catch(() => {}).then(async () => {
      if (this.#refusal !== null) throw this.#refusal;
      await step();
    });
    this.#turn = turn;
    return turn;
  }

  async #store(data: Uint8Array, behind: LogState, status: ResourceStatus | null): Promise<void> {
    const log = this.#log;
    const { state: before } = log;
    let position: number;
    try {
      position = await this.#send({ ...log, before, status }, data);
    } catch (error) {
      if (isLoss(error)) this.#lose(error);
      throw error;
    }
    this.#storedAtMs = performance.now();
    if (segmentOf(position) !== segmentOf(log.position)) this.#left = this.#last;
    log.position = position;
    log.state = behind;
    if (status !== null) {
      log.status = status;
      log.statusPosition = position;
    }
    if (data.length > 0) this.#index(position, before, data.length);
    this.#events.stored({ position, before, data, status });
  }

  /**
   * Stores a message: where the one before it is or, while nobody takes it there, in the other stream, and so on.
   * @returns Its position.
   */
  async #send(
    head: Omit<MessageHead, "name" | "segment" | "after">,
    data: Uint8Array,
  ): Promise<number> {
    const { patience } = this.#lanes.home;
    const untilMs = performance.now() + patience.ms;
    using _waiting = patience.wait();
    let refusals = 0;
    // One that was left in vain gets more time.
    for (let limitMs = this.stallMs;; limitMs = 2 * this.stallMs) {
      try {
        return await this.#sendTo(this.#segment, head, data, limitMs);
      } catch (error) {
        if (this.#refusal !== null) throw this.#refusal;
        // A spare stream without room is none.
        if (isFull(error) && this.#isEntering) refusals++;
        else refusals = 0;
        if (!(error instanceof Stalled) && refusals % 2 === 0) throw error;
        if (performance.now() > untilMs) throw notAnswering(error);
        this.#segment++;
        this.#events.moved();
      }
    }
  }

  /** Sends a message in a segment, until it is stored there, refused, or nobody takes it. */
  async #sendTo(
    segment: number,
    head: Omit<MessageHead, "name" | "segment" | "after">,
    data: Uint8Array,
    limitMs: number,
  ): Promise<number> {
    const { ends, position, writer, birth, epoch } = this.#log;
    const lane = laneOf(segment);
    const name = appendName(writer, ++this.#sent);
    const after = this.#isEntering ? position : 0;
    const lostTo = (last: LogMessage) => {
      // What this writer gave up, and what another life of the id left in the spare stream, is in nobody's way.
      if (last.birth < birth || last.birth === birth && last.epoch === epoch) return null;
      return last.birth === birth ? fenced(epoch, last.epoch) : deleted(this.#lanes.id);
    };
    const hasOther = this.#lanes.spare !== null && segment + 1 < MOST_SEGMENTS;
    ends[lane] = await this.#lanes.at(lane)!.store(
      encodeHead({ ...head, name, segment, after }),
      data,
      { name, expected: ends[lane], limitMs: hasOther ? limitMs : Infinity, lostTo },
    );
    return positionOf(segment, ends[lane]);
  }

  get #last(): StoredEnd {
    const { position, state: { size } } = this.#log;
    return { position, size };
  }

  async #checkStored({ position, size }: StoredEnd): Promise<void> {
    const message = await this.#lanes.at(laneOf(segmentOf(position)))!.find(sequenceOf(position));
    const isIt = message?.birth === this.birth && message.position === position;
    if (!isIt || stateAt(message).size !== size) throw lost(this.#lanes.id);
  }

  /** Whether the next message is the first one of its segment. */
  get #isEntering(): boolean {
    return this.#segment !== segmentOf(this.#log.position);
  }

  #index(position: number, before: LogState, byteCount: number): void {
    const { size: byteOffset, lineBreaks } = before;
    const entry = { position, byteOffset, byteCount, lineBreaks, timeMs: Date.now() };
    this.#entries.add(entry, this.lineBreaks);
  }

  /** Stores a page while appends go on; one that is refused is made good by readers. */
  #storePage(): void {
    const { size, lineBreaks } = this.#entries;
    const page = this.#entries.page(0);
    this.#entries = new LogIndex();
    this.#entriesFrom = size;
    const fields = headers();
    fields.set("B", String(this.#log.birth));
    fields.set("O", String(size));
    fields.set("L", String(lineBreaks));
    this.#paging = this.#paging.then(() => this.#lanes.home.storePage(page, fields)).catch(
      () => {},
    );
  }
}

function isFull(error: unknown): boolean {
  return error instanceof StreamError && error.code === "QUOTA_EXCEEDED";
}

/** A log that is another owner's, or gone. */
function isLoss(error: unknown): error is StreamError {
  return error instanceof StreamError && (error.code === "FENCED" || error.code === "DELETED");
}

function linesIn({ lineBreaks, isLineOpen }: LogState, lineAccess: boolean): number {
  return lineAccess ? lineBreaks + (isLineOpen ? 1 : 0) : 0;
}

function endOf(state: LogState, lineAccess: boolean): LogEnd {
  const { size, lineBreaks } = state;
  return { size, lineBreaks, lines: linesIn(state, lineAccess) };
}

/** Joins copies of parts to as few messages as can be. */
function inMessages(parts: readonly Uint8Array[]): Uint8Array[] {
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  if (total === 0) return [];
  const messages: Uint8Array[] = [];
  let left = total, at = 0;
  let message = new Uint8Array(Math.min(left, MESSAGE_BYTES));
  for (const part of parts) {
    for (let from = 0; from < part.length;) {
      const some = part.subarray(from, from + message.length - at);
      message.set(some, at);
      from += some.length;
      at += some.length;
      if (at < message.length) continue;
      messages.push(message);
      left -= at;
      at = 0;
      message = new Uint8Array(Math.min(left, MESSAGE_BYTES));
    }
  }
  return messages;
}

function misplaced(byteOffset: number, size: number): StreamError {
  return new StreamError(
    "CONFLICT",
    `an append at ${byteOffset} does not fit a log of ${size} bytes`,
  );
}
