/**
 * The tail of a log on one node: one subscription for all who follow it, or none where its writer is on the same node.
 *
 * The engine publishes what it has stored, to whoever listens at that moment. A message that was missed shows in the one
 * behind it, and in a look at the last one from time to time. It is not fetched: its bytes are read where they are
 * wanted, and of statuses only the newest counts.
 * @module
 */
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { ResourceStatus } from "../../protocol.ts";
import type { FollowedTail, TailListener } from "../../storage.ts";
import type { Lanes } from "./lanes.ts";
import { decodeMessage, type LogMessage, segmentOf, sequenceOf } from "./message.ts";
import type { NatsWriter, OwnMessage } from "./writer.ts";

/**
 * A tail is looked at once it is silent for several times as long as it was before its last message, within these bounds,
 * in ms; then after twice as long, and so on.
 */
const SILENCE = { gaps: 4, leastMs: 250, mostMs: 2000 };
const LAST_LOOK_MS = 30_000;

/** The tail of one log. */
export class Tail {
  readonly #lanes: Lanes;
  readonly #listeners = new Set<TailListener>();
  readonly #empty: () => void;
  #writer: NatsWriter | null = null;
  #subscription: Subscription | null = null;
  /** What came before the last message was known. */
  #early: Msg[] | null = null;
  #opening: Promise<void> | null = null;
  #looking: Promise<void> | null = null;
  #looksAgain = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wakesAtMs = -Infinity;
  #heardAtMs = -Infinity;
  #silenceMs = SILENCE.leastMs;
  #lookAfterMs = SILENCE.leastMs;
  /** Life of the id that is heard of: sequence of its first message; 0 before any. */
  #birth = 0;
  /** Its name; undefined until a message tells. */
  #life: string | undefined;
  /** Position of the newest message that was heard; 0 for none. */
  #position = 0;
  #status: ResourceStatus | null = null;

  /**
   * @param lanes The log.
   * @param empty Called when nobody follows it any more.
   */
  constructor(lanes: Lanes, empty: () => void) {
    this.#lanes = lanes;
    this.#empty = empty;
  }

  /** Follows it from the newest status on. */
  async follow(listener: TailListener): Promise<FollowedTail> {
    // Nobody hears what its own status shows already.
    let isOpen = false;
    const own: TailListener = {
      life: listener.life,
      appended: (byteOffset, blocks) => isOpen && listener.appended(byteOffset, blocks),
      told: (status) => isOpen && listener.told(status),
    };
    this.#listeners.add(own);
    const close = () => {
      isOpen = false;
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#end();
    };
    try {
      if (this.#writer === null) await (this.#opening ??= this.#open());
    } catch (error) {
      close();
      throw error;
    }
    isOpen = true;
    const status = this.#writer?.status ?? this.#status;
    return { status: hearsOf(listener, status?.life) ? status : null, close };
  }

  /** A writer on this node has the log: it tells of everything itself. */
  attach(writer: NatsWriter): void {
    this.#writer = writer;
    this.#unsubscribe();
    this.#birth = writer.birth;
    this.#life = writer.life ?? writer.status?.life;
    this.#position = writer.position;
    this.#status = writer.status;
  }

  /** Nothing more comes from the writer on this node. */
  detach(writer: NatsWriter): void {
    if (this.#writer !== writer) return;
    this.#writer = null;
    if (this.#listeners.size === 0) return this.#end();
    this.#opening ??= this.#open();
    this.#opening.catch(() => this.#lookLater());
  }

  /** The writer on this node stored a message. */
  stored(writer: NatsWriter, message: OwnMessage): void {
    if (writer === this.#writer) this.#hear(message);
  }

  /** The connection is another one: what was published meanwhile was missed. */
  reconnected(): void {
    if (this.#subscription !== null) void this.#look();
  }

  /** The log that began there is gone: another one may begin, or has begun. */
  deleted(birth: number | undefined): void {
    if (birth === undefined || birth === this.#birth) this.#status = null;
  }

  /** Nobody hears anything any more. */
  close(): void {
    this.#listeners.clear();
    this.#unsubscribe();
  }

  async #open(): Promise<void> {
    const { engine, place } = this.#lanes.home;
    const early: Msg[] = this.#early = [];
    this.#subscription = engine.nc.subscribe(place.live, {
      callback: (error, message) => {
        if (error === null) this.#receive(message);
      },
    });
    try {
      await engine.request(() => engine.nc.flush()).catch(() => {});
      const last = await this.#lanes.newest();
      // A writer came meanwhile, and tells everything.
      if (this.#early !== early) return;
      if (last !== null) await this.#catchUp(last);
      this.#early = null;
      for (const message of early) this.#receive(message);
      this.#lookAfterMs = this.#silenceMs;
      this.#lookLater();
    } catch (error) {
      if (this.#early === early) this.#unsubscribe();
      throw error;
    } finally {
      this.#opening = null;
    }
  }

  #receive(message: Msg): void {
    if (this.#early !== null) {
      // More than that is found by a look at the last one.
      if (this.#early.length < 16) this.#early.push(message);
      return;
    }
    const { headers: header, data } = message;
    if (header === undefined) return;
    const stored = decodeMessage({
      seq: Number(header.get("Nats-Sequence")),
      timestamp: header.get("Nats-Time-Stamp"),
      header,
      data,
    });
    if (!this.#isNews(stored)) return;
    this.#noteTime();
    const before = Number(header.get("Nats-Last-Sequence"));
    const isNext = stored.after === this.#position && this.#position !== 0 ||
      before === sequenceOf(this.#position) && stored.segment === segmentOf(this.#position) ||
      before === 0 && stored.birth === stored.sequence;
    if (!isNext && stored.status === null) return void this.#look();
    this.#hear(stored);
  }

  /** A message came by itself. */
  #noteTime(): void {
    const { gaps, leastMs, mostMs } = SILENCE;
    const nowMs = performance.now();
    this.#silenceMs = Math.min(Math.max(gaps * (nowMs - this.#heardAtMs), leastMs), mostMs);
    this.#heardAtMs = nowMs;
    this.#lookAfterMs = this.#silenceMs;
    // After a long silence that is not the time to wait for the end of the next one.
    if (this.#wakesAtMs > nowMs + this.#silenceMs) this.#wake(this.#silenceMs);
  }

  /** Whether nothing is known of a message yet, nor of what came after it. */
  #isNews({ birth, life, position }: LogMessage): boolean {
    if (birth > this.#birth) {
      // The id is used again: positions begin anew.
      this.#birth = birth;
      this.#life = life;
      this.#position = 0;
      this.#status = null;
    }
    return birth === this.#birth && position > this.#position;
  }

  /** Tells of a message. */
  #hear({ position, before, data, status }: OwnMessage): void {
    this.#position = position;
    if (status !== null) {
      this.#status = status;
      this.#life = status.life;
    }
    for (const listener of [...this.#listeners]) {
      // One that waits to hear that its resource was deleted has nothing to do with the next.
      if (!hearsOf(listener, this.#life)) continue;
      if (data.length > 0) listener.appended(before.size, [data]);
      if (status !== null) listener.told(status);
    }
  }

  /** Tells of the last message, and of the status that was missed before it. */
  async #catchUp(last: LogMessage): Promise<void> {
    if (!this.#isNews(last)) return;
    const { statusPosition } = last;
    const isMissed = last.status === null && statusPosition > this.#position;
    const told = isMissed ? await this.#lanes.message(statusPosition) : null;
    if (!this.#isNews(last) || this.#writer !== null) return;
    if (told !== null) this.#hear({ ...told, data: new Uint8Array(0) });
    this.#hear(last);
  }

  /** Looks at the last message. */
  async #look(): Promise<void> {
    this.#looksAgain = true;
    return await (this.#looking ??= this.#lookNow().finally(() => this.#looking = null));
  }

  async #lookNow(): Promise<void> {
    try {
      while (this.#looksAgain && this.#subscription !== null) {
        this.#looksAgain = false;
        const last = await this.#lanes.newest();
        if (last !== null) await this.#catchUp(last);
      }
    } catch { /* The next look finds it. */ }
    this.#lookLater();
  }

  #lookLater(): void {
    this.#wake(this.#lookAfterMs);
    this.#lookAfterMs = Math.min(2 * this.#lookAfterMs, LAST_LOOK_MS);
  }

  #wake(afterMs: number): void {
    clearTimeout(this.#timer);
    if (this.#writer !== null || this.#listeners.size === 0) return;
    this.#wakesAtMs = performance.now() + afterMs;
    this.#timer = setTimeout(() => {
      const restMs = this.#heardAtMs + this.#silenceMs - performance.now();
      if (this.#subscription === null) this.#reopen();
      else if (restMs > 0) this.#wake(restMs);
      else void this.#look();
    }, afterMs);
  }

  #reopen(): void {
    this.#opening ??= this.#open();
    this.#opening.catch(() => this.#lookLater());
  }

  #unsubscribe(): void {
    clearTimeout(this.#timer);
    this.#early = null;
    this.#subscription?.unsubscribe();
    this.#subscription = null;
  }

  #end(): void {
    this.#unsubscribe();
    if (this.#writer === null) this.#empty();
  }
}

function hearsOf(listener: TailListener, life: string | undefined): boolean {
  return listener.life === undefined || listener.life === life;
}
