/**
 * What is asked of the engine for one log, and what its answers prove.
 *
 * Presence proves: members store what a majority has. Absence does not: an answer may be lost, a replica may lag, and a
 * leader that was cut off answers for seconds with what it knew. What came last is told by whoever has what was stored
 * since it was asked for (`Probes`), leader or not. What is not acknowledged is looked for, and sent
 * again with the same expectation, which keeps it single; nothing is ever sent again blindly.
 * @module
 */
import type {
  BatchCallback,
  DirectBatchOptions,
  LastForMsgRequest,
  SeqMsgRequest,
  StoredMsg,
} from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { type Engine, isFull, isRefusal, isTooLong, notAnswering } from "../../cluster/engine.ts";
import { type LogPlace, placeIn } from "../../cluster/logs.ts";
import type { Probes } from "../../cluster/probes.ts";
import { StreamError } from "../../protocol.ts";
import { decodeMessage, type LogMessage, type StoredMessage } from "./message.ts";
import { Deadline, type Patience, pause, Stalled, within } from "./patience.ts";

/** Between two attempts, in ms: at first, and at most. */
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;
/** Before a stream is given up a look at it may take so long, in ms. */
const LAST_LOOK_MS = 50;
/** A read that no leader answers within so long goes to any replica, in ms. */
const LEADER_MS = 400;
/** The same where it matters what came last, in ms: by then a running upload has left a stream that has no leader. */
const NEWEST_MS = 1000;
/** A replica that is silent for so long in the middle of an answer is asked no more, in ms. */
const ANSWER_MS = 1000;
/** Replicas that may lag before the leader is asked for a message. */
const LAGGING = 3;
/** Replicas that may lag before nobody is sure what came last. */
const LATE = 10;

/** The last message of a log as somebody knows it. */
export interface Newest {
  /** The message; null for none. */
  last: LogMessage | null;
  /**
   * Sequence of what a majority stored since it was asked for, and the answer had seen: Infinity where a majority answered
   * that has no room to store anything; null where nobody could be sure.
   */
  since: number | null;
}

/** Place of a message in its log, and whose it is. */
export interface Attempt {
  /** Its name: how one is known whose acknowledgement was lost. */
  name: string;
  /** Sequence of the message before in its stream; 0 for none. */
  expected: number;
  /** For how long a stream that takes nothing is waited for, in ms; as long as anybody is by default. */
  limitMs?: number;
  /** What it means that another message is there; null for one that it may come after. */
  lostTo(last: LogMessage): StreamError | null;
}

/** Reads and writes the messages of one log in one stream. */
export class LogExchange {
  /** Use {@link NatsStorage}. */
  constructor(
    readonly engine: Engine,
    readonly id: string,
    readonly place: LogPlace,
    readonly patience: Patience,
    readonly probes: Probes,
  ) {}

  /** The same log in another stream. */
  elsewhere(shard: number): LogExchange {
    return new LogExchange(
      this.engine,
      this.id,
      placeIn(this.id, shard),
      this.patience,
      this.probes,
    );
  }

  /**
   * Stores the next message of the log.
   * @returns Its sequence.
   * @throws {Stalled} When nobody took it for as long as the attempt may last.
   * @throws {StreamError} What `lostTo` says; DELETED, QUOTA_EXCEEDED, NOT_READY.
   */
  async store(fields: MsgHdrs, data: Uint8Array, attempt: Attempt): Promise<number> {
    const { engine: { js }, place: { subject } } = this;
    const deadline = new Deadline(attempt.limitMs ?? Infinity);
    let { expected } = attempt;
    return await this.#insist(async () => {
      try {
        const expect = { lastSubjectSequence: expected };
        const timeout = Math.min(ANSWER_MS, Math.max(LAST_LOOK_MS, deadline.leftMs));
        const { seq } = await this.engine.request(() =>
          js.publish(subject, data, { headers: fields, expect, timeout })
        );
        return seq;
      } catch (error) {
        if (isTooLong(error)) throw tooLong(data.length);
        // A look is cheap: what is to be stored is sent again when there is a leader to take it.
        const lookMs = Math.min(LEADER_MS, Math.max(LAST_LOOK_MS, deadline.leftMs));
        const last = await this.#insist(() => within(lookMs, this.#lastByLeader()), deadline);
        if (last !== null && last.sequence > expected) {
          if (last.name === attempt.name) return last.sequence;
          const loss = attempt.lostTo(last);
          if (loss !== null) throw loss;
          expected = last.sequence;
        }
        if (isFull(error)) throw full();
        const isLess = (last?.sequence ?? 0) < expected;
        if (isLess && (last === null || isRefusal(error))) await this.#checkStored(expected);
        throw error;
      }
    }, deadline);
  }

  /**
   * Only a leader that a majority follows can say that what was acknowledged is not there.
   * @throws {StreamError} DELETED; STORAGE_FAILED where only the last messages are gone.
   */
  async #checkStored(sequence: number): Promise<void> {
    await this.#confirm();
    const last = await this.#lastByLeader();
    if (last === null) throw this.#deleted();
    if (last.sequence < sequence) throw lost(this.id);
  }

  /** The last message of the log, as a leader says; null when a majority says that there is none. */
  async last(): Promise<LogMessage | null> {
    return await this.#insist(async () => {
      const last = await this.#lastByLeader();
      return last === null && !await this.#isGone() ? await this.#lastByLeader() : last;
    });
  }

  /** The last message of the log, as a leader says; null when that one knows of none. */
  async lastKnown(): Promise<LogMessage | null> {
    return await this.#insist(() => this.#lastByLeader());
  }

  /** The last message of the log; where nobody can be sure of it, what some replica has. */
  async newest(): Promise<Newest> {
    return await this.#insist(() =>
      this.#byLeader<Newest>(
        NEWEST_MS,
        () => this.#newestByMajority(),
        async () => {
          const { direct } = this.engine.jsm;
          const query = { last_by_subj: this.place.subject };
          const last = decoded(await direct.getMessage(this.place.stream, query));
          return { last, since: null };
        },
      )
    );
  }

  async #newestByMajority(): Promise<Newest> {
    const since = await this.#confirm();
    // In a stream that is full nothing is stored since, and no append proves anything.
    if (since === null) return { last: await this.#lastByLeader(), since: Infinity };
    return { last: await this.#lastSince(since), since };
  }

  /** The first message of the log; null when a majority says that there is none. */
  async first(): Promise<LogMessage | null> {
    const query = { seq: 1, next_by_subj: this.place.subject };
    return await this.#insist(async () => {
      const first = await this.#byLeader(
        LEADER_MS,
        () => this.#get(query as unknown as SeqMsgRequest),
        async () => decoded(await this.engine.jsm.direct.getMessage(this.place.stream, query)),
      );
      return first === null && !await this.#isGone() ? await this.#get(query as never) : first;
    });
  }

  /**
   * A message of the log by its sequence.
   * @throws {StreamError} DELETED when it is not there any more.
   */
  async at(sequence: number): Promise<LogMessage> {
    const message = await this.find(sequence);
    if (message === null) throw this.#deleted();
    return message;
  }

  /** A message of the log by its sequence; null when a majority says that it is not there any more. */
  async find(sequence: number): Promise<LogMessage | null> {
    for (let attempts = 0; attempts < LAGGING; attempts++) {
      const message = await this.#insist(async () =>
        decoded(await this.engine.jsm.direct.getMessage(this.place.stream, { seq: sequence }))
      );
      if (message !== null) return message;
      await pause(FIRST_PAUSE_MS, this.patience.signal);
    }
    return await this.#insist(async () => {
      const found = await this.#get({ seq: sequence });
      return found === null && !await this.#isGone() ? await this.#get({ seq: sequence }) : found;
    });
  }

  /**
   * Messages on a subject from a sequence on, as some replica has them: possibly not all, and in silence.
   * @param subject The subject of the log, or that of its index.
   * @param from Sequence of the first one.
   * @param limits How many, and how many bytes.
   */
  async some(
    subject: string,
    from: number,
    limits: { batch?: number; max_bytes?: number },
  ): Promise<StoredMessage[]> {
    const query = { seq: from, next_by_subj: subject, ...limits } as DirectBatchOptions;
    return await this.#insist(() => this.engine.request(() => this.#batch(query)));
  }

  /**
   * Stores a page of the index. It may be stored twice, or not at all.
   * @throws {StreamError} QUOTA_EXCEEDED, NOT_READY.
   */
  async storePage(page: Uint8Array, fields: MsgHdrs): Promise<void> {
    const { js } = this.engine;
    await this.#insist(async () => {
      try {
        await this.engine.request(() => js.publish(this.place.index, page, { headers: fields }));
      } catch (error) {
        throw isFull(error) ? full() : error;
      }
    });
  }

  /** Waits a moment, for a replica that lags. */
  async pause(ms = FIRST_PAUSE_MS): Promise<void> {
    await pause(ms, this.patience.signal);
  }

  /** A sequence behind everything that was stored before this was called; in a stream that is full, as its leader knows. */
  async mark(): Promise<number> {
    return await this.#insist(async () => {
      try {
        return await this.#probe();
      } catch (error) {
        // It takes no probe, and must be given room all the same.
        if (!isFull(error)) throw error;
        const { streams } = this.engine.jsm;
        const { state } = await this.engine.request(() => streams.info(this.place.stream));
        return state.last_seq + 1;
      }
    });
  }

  /**
   * Deletes all messages of the log, and of its index, that were stored before a mark; false when there were none.
   * A request that was given up may be carried out when the id is used again: it names what it may delete.
   */
  async purge(mark: number): Promise<boolean> {
    const { subject, index } = this.place;
    const isPurged = await this.#purge(subject, mark);
    await this.#purge(index, mark);
    return isPurged;
  }

  /** For how long a message of the log has been stored, in ms, by the clocks of the engine. */
  async ageOf({ timeMs }: LogMessage): Promise<number> {
    const { streams } = this.engine.jsm;
    const { ts } = await this.#insist(() =>
      this.engine.request(() => streams.info(this.place.stream))
    );
    return Date.parse(ts!) - timeMs;
  }

  async #purge(filter: string, seq: number): Promise<boolean> {
    const { streams } = this.engine.jsm;
    let isUnknown = false;
    const { purged } = await this.#insist(async () => {
      try {
        return await this.engine.request(() => streams.purge(this.place.stream, { filter, seq }));
      } catch (error) {
        isUnknown = true;
        throw error;
      }
    });
    return purged > 0 || isUnknown;
  }

  /**
   * Makes an attempt until it is answered; what answers is a result, or an error of ours.
   * @param deadline When a living connection on which nothing is answered is given up.
   */
  async #insist<T>(attempt: () => Promise<T>, deadline = new Deadline(Infinity)): Promise<T> {
    const { ms, signal } = this.patience;
    const untilMs = performance.now() + ms;
    using _waiting = this.patience.wait();
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        const result = await attempt();
        this.engine.answered();
        return result;
      } catch (error) {
        if (error instanceof Stalled) throw error;
        if (error instanceof StreamError && error.code !== "NOT_READY") throw error;
        const nowMs = performance.now();
        if (nowMs > untilMs || signal.aborted) throw notAnswering(error);
        this.engine.unanswered();
        // Without a connection no other stream is nearer.
        if (deadline.leftMs <= 0 && this.engine.isConnected) throw new Stalled();
      }
      await pause(Math.min(pauseMs, Math.max(FIRST_PAUSE_MS, deadline.leftMs)), signal);
      if (this.engine.isConnected) continue;
      await this.engine.reach(LONGEST_PAUSE_MS);
      deadline.restart();
    }
  }

  async #byLeader<T>(
    limitMs: number,
    leader: () => Promise<T>,
    anybody: () => Promise<T>,
  ): Promise<T> {
    try {
      return await within(limitMs, leader());
    } catch {
      return await this.engine.request(anybody);
    }
  }

  /** The last message of the log, as somebody says who has all that was stored up to a sequence. */
  async #lastSince(sequence: number): Promise<LogMessage | null> {
    const { subject, probe } = this.place;
    const query = { multi_last: [subject, probe] } as unknown as DirectBatchOptions;
    for (let attempts = 0; attempts < LATE; attempts++) {
      const found = await this.engine.request(() => this.#batch(query));
      if (found.some(({ seq }) => seq >= sequence)) {
        return decoded(found.find((message) => message.subject === subject) ?? null);
      }
      // Followers hear of what is stored a moment after the leader.
      await this.pause(Math.min(2 ** attempts, FIRST_PAUSE_MS));
    }
    throw new Error("replicas lag");
  }

  #lastByLeader(): Promise<LogMessage | null> {
    return this.#get({ last_by_subj: this.place.subject });
  }

  async #get(query: SeqMsgRequest | LastForMsgRequest): Promise<LogMessage | null> {
    const { streams } = this.engine.jsm;
    return decoded(await this.engine.request(() => streams.getMessage(this.place.stream, query)));
  }

  /** Whether there is no message, as a leader says that a majority follows: it has just done something for it. */
  async #isGone(): Promise<boolean> {
    await this.#confirm();
    return await this.#lastByLeader() === null;
  }

  /** Waits until a majority has done something; tells the sequence of what it stored, or null in a stream that is full. */
  async #confirm(): Promise<number | null> {
    try {
      return await this.#probe();
    } catch (error) {
      if (!isFull(error)) throw error;
      // It takes deletions, and those want a majority, too.
      const { streams } = this.engine.jsm;
      const { stream, probe } = this.place;
      await this.engine.request(() => streams.purge(stream, { filter: probe }));
      return null;
    }
  }

  /** Has a majority store something, and tells its sequence. */
  #probe(): Promise<number> {
    return this.probes.send(this.place.probe);
  }

  /** Messages until a replica says that these are all; what came before an error is what it says it is. */
  async #batch(query: DirectBatchOptions): Promise<StoredMessage[]> {
    const { promise, resolve, reject } = Promise.withResolvers<StoredMessage[]>();
    const messages: StoredMessage[] = [];
    const silent = () => reject(new Error("a replica does not answer"));
    let timer = setTimeout(silent, ANSWER_MS);
    const callback: BatchCallback<StoredMsg> = (done, message) => {
      clearTimeout(timer);
      if (done === null) {
        messages.push(message);
        timer = setTimeout(silent, ANSWER_MS);
        return;
      }
      const code = (done.err as { code?: number } | undefined)?.code;
      if (done.err === undefined || messages.length > 0 || code === 404) resolve(messages);
      else reject(done.err);
    };
    const { direct } = this.engine.jsm;
    const batch = await direct.getBatch(this.place.stream, { ...query, callback } as never);
    try {
      return await promise;
    } finally {
      batch.stop();
    }
  }

  #deleted(): StreamError {
    return deleted(this.id);
  }
}

/** The log is gone. */
export function deleted(id: string): StreamError {
  return new StreamError("DELETED", `the log ${id} was deleted`);
}

/** The engine took what it has no more: its streams were restored to how they were, or its members lost power. */
export function lost(id: string): StreamError {
  return new StreamError(
    "STORAGE_FAILED",
    `the engine has lost bytes of the log ${id} that it had acknowledged`,
  );
}

/** The log is another owner's. */
export function fenced(epoch: number, current: number): StreamError {
  return new StreamError("FENCED", `epoch ${epoch} is over: epoch ${current} owns the log`);
}

function decoded(message: StoredMessage | null): LogMessage | null {
  return message === null ? null : decodeMessage(message);
}

function tooLong(byteCount: number): StreamError {
  return new StreamError(
    "STORAGE_FAILED",
    `the engine takes no message of ${byteCount} bytes: set the max_payload of its members to 1MB`,
  );
}

function full(): StreamError {
  return new StreamError("QUOTA_EXCEEDED", "the engine has no room left for bytes of logs");
}
