/**
 * The tails of logs within one process: who owns each, its newest status, and who follows it.
 * @module
 */
import { isFinal, type ResourceStatus, StreamError } from "../protocol.ts";
import type { FollowedTail, TailListener } from "../storage.ts";

/** Hands something to a listener, at once or later, in order. */
export type Deliver = (tell: () => void) => void;

/** The tail of one log. */
export class Tail {
  /** The newest epoch that owned it; 0 before the first. */
  epoch = 0;
  /** Whether its log was deleted. */
  deleted = false;
  /** The newest status; null before the first. */
  status: ResourceStatus | null = null;
  readonly #listeners = new Set<TailListener>();
  readonly #deliver: Deliver | null;

  /**
   * @param id Id of the log.
   * @param deliver Hands what is told to those who follow; null does so at once.
   */
  constructor(readonly id: string, deliver: Deliver | null) {
    this.#deliver = deliver;
  }

  /** Whether nothing would be lost with it. */
  get isForgettable(): boolean {
    const isOver = this.status !== null && isFinal(this.status.transferStatus);
    return this.#listeners.size === 0 && (this.epoch === 0 || isOver);
  }

  /**
   * Tells whether an epoch still owns the log.
   * @throws {StreamError} DELETED, FENCED.
   */
  checkOwner(epoch: number): void {
    if (this.deleted) throw new StreamError("DELETED", `the log ${this.id} was deleted`);
    if (this.epoch !== epoch) throw fenced(epoch, this.epoch);
  }

  /** Bytes were appended. */
  appended(byteOffset: number, blocks: readonly Uint8Array[]): void {
    for (const listener of this.#listeners) {
      if (this.#deliver === null) listener.appended(byteOffset, blocks);
      else this.#later(listener, () => listener.appended(byteOffset, blocks));
    }
  }

  /** There is a new status. */
  tell(status: ResourceStatus): void {
    this.status = status;
    for (const listener of this.#listeners) {
      if (this.#deliver === null) listener.told(status);
      else this.#later(listener, () => listener.told(status));
    }
  }

  /** Adds a listener. */
  add(listener: TailListener): void {
    this.#listeners.add(listener);
  }

  /** Removes a listener. */
  remove(listener: TailListener): void {
    this.#listeners.delete(listener);
  }

  #later(listener: TailListener, tell: () => void): void {
    this.#deliver!(() => this.#listeners.has(listener) && tell());
  }
}

/** The tail of a log in the hands of one owner, until a greater epoch owns it. */
export class OwnedTail {
  readonly #tails: Tails;
  readonly #tail: Tail;
  readonly #epoch: number;

  /** Use {@link Tails}. */
  constructor(tails: Tails, tail: Tail, epoch: number) {
    this.#tails = tails;
    this.#tail = tail;
    this.#epoch = epoch;
  }

  /**
   * Tells whether the log is still its own.
   * @throws {StreamError} DELETED, FENCED.
   */
  check(): void {
    this.#tail.checkOwner(this.#epoch);
  }

  /** Bytes were appended. */
  appended(byteOffset: number, blocks: readonly Uint8Array[]): void {
    this.#tail.appended(byteOffset, blocks);
  }

  /** There is a new status. */
  tell(status: ResourceStatus): void {
    this.#tail.tell(status);
  }

  /** Nothing more comes from this owner. */
  release(): void {
    this.#tails.forget(this.#tail);
  }
}

/** The tails of all logs that are written or followed. */
export class Tails {
  readonly #tails = new Map<string, Tail>();
  readonly #deliver: Deliver | null;

  /** @param deliver Hands what is told to those who follow; at once by default. */
  constructor(deliver: Deliver | null = null) {
    this.#deliver = deliver;
  }

  /** A new log has its first owner. */
  create(id: string, epoch: number): OwnedTail {
    const tail = this.#get(id);
    tail.epoch = epoch;
    tail.status = null;
    return new OwnedTail(this, tail, epoch);
  }

  /**
   * A log has its next owner: all earlier ones are shut out.
   * @throws {StreamError} FENCED when the epoch is not greater than the last.
   */
  takeOver(id: string, epoch: number): OwnedTail {
    const tail = this.#get(id);
    if (epoch <= tail.epoch) throw fenced(epoch, tail.epoch);
    tail.epoch = epoch;
    return new OwnedTail(this, tail, epoch);
  }

  /** Follows a tail; a listener follows one at most once. */
  follow(id: string, listener: TailListener): FollowedTail {
    const tail = this.#get(id);
    tail.add(listener);
    const close = () => {
      tail.remove(listener);
      this.forget(tail);
    };
    return { status: tail.status, close };
  }

  /** Lets go of a tail that nobody needs any more. */
  forget(tail: Tail): void {
    if (tail.isForgettable && this.#tails.get(tail.id) === tail) this.#tails.delete(tail.id);
  }

  /** A log was deleted. */
  delete(id: string): void {
    const tail = this.#tails.get(id);
    if (tail !== undefined) tail.deleted = true;
    this.#tails.delete(id);
  }

  /** Forgets all. */
  clear(): void {
    this.#tails.clear();
  }

  #get(id: string): Tail {
    let tail = this.#tails.get(id);
    if (tail === undefined) this.#tails.set(id, tail = new Tail(id, this.#deliver));
    return tail;
  }
}

function fenced(epoch: number, current: number): StreamError {
  return new StreamError("FENCED", `epoch ${epoch} is over: epoch ${current} owns the log`);
}
