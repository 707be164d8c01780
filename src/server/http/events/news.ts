/**
 * News that wait for readers of events, within what waits for all of them together.
 * @module
 */
import type { Bell } from "../../../bell.ts";
import type { EventFilter, ResourceEvent, Resources } from "../../../resources.ts";

/** Resources whose news may wait for one slow reader. */
const MAX_WAITING = 10_000;
/** The same of all readers together: each takes 300 to 400 bytes, and thousands may take nothing. */
const MAX_WAITING_IN_ALL = 200_000;

/**
 * News of one resource or one refused upload: the newest event of each kind. They are put into words when they are
 * sent: most of those that wait for a slow reader never are.
 */
export type News = ReadonlyMap<string, ResourceEvent>;

/** What may wait. */
export interface NewsLimits {
  /** For one reader. */
  most?: number;
  /** For all readers together. */
  mostInAll?: number;
}

/** All readers of a process for whom news are gathered. */
const readers = new Set<WaitingNews>();
let waitingInAll = 0;

/** News that wait for one reader, from its making until it is disposed of. */
export class WaitingNews implements Disposable {
  readonly #waiting = new Map<string, Map<string, ResourceEvent>>();
  readonly #bell: Bell;
  readonly #limits: Required<NewsLimits>;
  readonly #stop: () => void;
  #refusals = 0;
  #isTooMuch = false;

  /**
   * @param resources Tell what happens.
   * @param filter What the reader wants to hear.
   * @param bell Rung for every event.
   * @param limits What may wait; a reader for whom it is too much is told nothing more.
   */
  constructor(
    resources: Resources,
    filter: EventFilter,
    bell: Bell,
    { most = MAX_WAITING, mostInAll = MAX_WAITING_IN_ALL }: NewsLimits = {},
  ) {
    this.#bell = bell;
    this.#limits = { most, mostInAll };
    readers.add(this);
    this.#stop = resources.listen((event) => this.#add(event), filter);
  }

  /** Whether more came than may wait: all of it was dropped. */
  get isTooMuch(): boolean {
    return this.#isTooMuch;
  }

  /** Resources of which something waits. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Takes the news out that came first. */
  takeFirst(): News | undefined {
    const [key, news] = this.#waiting.entries().next().value ?? [];
    if (key !== undefined) this.#drop(key);
    return news;
  }

  /** Takes everything out. */
  takeAll(): News[] {
    const all = [...this.#waiting.values()];
    this.#clear();
    return all;
  }

  /** Events of a resource that wait, to leave some of them out. */
  of(id: string): Map<string, ResourceEvent> | undefined {
    return this.#waiting.get(id);
  }

  [Symbol.dispose](): void {
    this.#stop();
    readers.delete(this);
    this.#clear();
  }

  #add(event: ResourceEvent): void {
    this.#bell.ring();
    if (this.#isTooMuch) return;
    const key = event.type === "refused" ? `refused ${this.#refusals++}` : event.id;
    // Nothing else matters of what is gone.
    const news = event.type === "deleted" ? new Map() : this.#waiting.get(key) ?? new Map();
    if (!this.#waiting.has(key)) waitingInAll++;
    this.#waiting.set(key, news.set(event.type, event));
    if (this.#waiting.size > this.#limits.most) this.giveUp();
    if (waitingInAll > this.#limits.mostInAll) giveUpSlowest();
  }

  #drop(key: string): void {
    if (this.#waiting.delete(key)) waitingInAll--;
  }

  #clear(): void {
    waitingInAll -= this.#waiting.size;
    this.#waiting.clear();
  }

  /** Drops all, and whatever comes. */
  giveUp(): void {
    this.#isTooMuch = true;
    this.#clear();
  }
}

/** Gives readers up for whom more waits than half of what waits on average: half of all at least. */
function giveUpSlowest(): void {
  const half = waitingInAll / readers.size / 2;
  for (const reader of readers) if (reader.size > half) reader.giveUp();
}
