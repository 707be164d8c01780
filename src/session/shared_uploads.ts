/**
 * Uploads that are anybody's: each has one queue for all who append to it.
 *
 * One that is written again and again stays open for a moment after each step, so that the next one need neither open
 * the log nor ask the catalog; after that it costs nothing until somebody comes.
 * @module
 */
import { StreamError, toStreamError } from "../protocol.ts";
import type { Appender, OwnedUpload, Registration, Resources } from "../resources.ts";

/** How long an upload stays open for the next step. */
const LINGER_MS = 1000;
/** Those that may stay open without a step; the ones that rested longest are let go of first. */
const MAX_RESTING = 500;
/** Steps of one upload that may wait for their turn. */
const MAX_WAITING = 1000;
/** How often a step begins anew because another node took the upload. */
const ATTEMPTS = 3;
const NOTHING_CAME = new StreamError("INTERRUPTED", "nobody appends at present");

/** What is registered: whose it is, is known. */
export type SharedRegistration = Omit<Registration, "id" | "ownedBy">;

/** A step of one who appends; called again if another node took the upload meanwhile. */
export type SharedStep<T> = (appender: Appender | null, attempt: number) => Promise<T>;

interface Queue {
  /** The last step, which never fails. */
  last: Promise<unknown>;
  waiting: number;
  /** Steps that came so far. */
  count: number;
  /** What one of them waited for in vain, and those that had come by then: they waited for it, too. */
  refusal: { error: StreamError; count: number } | null;
  appender: Appender | null;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** All uploads of a server that are anybody's and open. */
export class SharedUploads {
  readonly #resources: Resources;
  readonly #queues = new Map<string, Queue>();
  /** Those that are open without a step, the ones that rested longest first. */
  readonly #resting = new Set<string>();
  #shutdown: StreamError | null = null;

  /**
   * Begins without any.
   * @param resources All resources.
   */
  constructor(resources: Resources) {
    this.#resources = resources;
  }

  /**
   * Runs a step that may register an upload, after all earlier ones of its id and before anybody else appends.
   * @param id Its id.
   * @param step It is given what registers the upload.
   * @throws {StreamError} What the step throws; the upload stays where the step does not delete it.
   */
  begin<T>(
    id: string,
    step: (register: (what: SharedRegistration) => Promise<Appender>) => Promise<T>,
  ): Promise<T> {
    return this.#inTurn(id, (queue) =>
      step(async (what) => {
        const { appender } = await this.#resources.register({ ...what, id, ownedBy: "ANYBODY" });
        return this.#open(queue, appender);
      }));
  }

  /**
   * Runs a step of one upload, after all earlier ones.
   * @param id Its id.
   * @param step It is given null for an upload that is COMPLETED.
   * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED; NOT_READY
   * when other nodes take it again and again; what the step throws.
   */
  take<T>(id: string, step: SharedStep<T>): Promise<T> {
    return this.#inTurn(id, async (queue) => {
      for (let attempt = 1;; attempt++) {
        try {
          return await step(await this.#appender(id, queue), attempt);
        } catch (error) {
          const { code } = toStreamError(error);
          // It was let go of in the middle of the step.
          if (code === "WRONG_STATE" && this.#shutdown !== null) throw this.#shutdown;
          if (code !== "FENCED") throw error;
          queue.appender = null;
          if (attempt < ATTEMPTS) continue;
          throw new StreamError("NOT_READY", "several nodes append to this at once: try again");
        }
      }
    });
  }

  /** Runs a step in which an upload is open nowhere here, after all earlier ones. */
  closed<T>(id: string, step: () => Promise<T>): Promise<T> {
    return this.#inTurn(id, async (queue) => {
      await this.#letGo(queue);
      return await step();
    });
  }

  /** Takes no step any more; who shuts the resources down lets go of what is open. */
  close(): void {
    this.#shutdown = new StreamError("SHUTDOWN", "the server was shut down");
    for (const { timer } of this.#queues.values()) clearTimeout(timer);
  }

  async #inTurn<T>(id: string, step: (queue: Queue) => Promise<T>): Promise<T> {
    if (this.#shutdown !== null) throw this.#shutdown;
    const queue = this.#queues.get(id) ?? newQueue();
    if (queue.waiting >= MAX_WAITING) {
      throw new StreamError("LIMIT_REACHED", `${MAX_WAITING} wait to append to this: try again`);
    }
    this.#queues.set(id, queue);
    clearTimeout(queue.timer);
    this.#resting.delete(id);
    queue.waiting++;
    const number = ++queue.count;
    const turn = queue.last.then(() => run(queue, number, step));
    queue.last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      if (--queue.waiting === 0) this.#rest(id, queue);
    }
  }

  async #appender(id: string, queue: Queue): Promise<Appender | null> {
    if (this.#shutdown !== null) throw this.#shutdown;
    if (queue.appender?.isRefused) await this.#letGo(queue);
    if (queue.appender !== null && !queue.appender.isOver) return queue.appender;
    queue.appender = null;
    const resumed = await this.#resources.resume(id, null);
    if ("completed" in resumed) return null;
    return this.#open(queue, resumed.appender);
  }

  #open(queue: Queue, appender: OwnedUpload["appender"]): Appender {
    queue.appender = appender;
    appender.listen({
      acknowledged() {},
      failed: () => {
        if (queue.appender === appender) queue.appender = null;
      },
    });
    return appender;
  }

  /** Waits for the next step, for a moment. */
  #rest(id: string, queue: Queue): void {
    if (queue.appender === null || queue.appender.isOver) {
      this.#queues.delete(id);
      return;
    }
    if (this.#shutdown !== null) return;
    queue.timer = setTimeout(() => this.#retire(id), LINGER_MS);
    this.#resting.add(id);
    if (this.#resting.size > MAX_RESTING) this.#retire(this.#resting.values().next().value!);
  }

  /** Lets go of an upload that rests, unless a step comes first. */
  #retire(id: string): void {
    const queue = this.#queues.get(id);
    this.#resting.delete(id);
    if (queue === undefined || queue.waiting > 0) return;
    clearTimeout(queue.timer);
    void this.closed(id, () => Promise.resolve()).catch(() => {});
  }

  async #letGo(queue: Queue): Promise<void> {
    const { appender } = queue;
    queue.appender = null;
    if (appender !== null && !appender.isOver) {
      await this.#resources.interrupt(appender, NOTHING_CAME);
    }
  }
}

function newQueue(): Queue {
  const last = Promise.resolve();
  return { last, waiting: 0, count: 0, refusal: null, appender: null, timer: undefined };
}

/** Runs a step in its turn, unless it has waited in vain. */
async function run<T>(
  queue: Queue,
  number: number,
  step: (queue: Queue) => Promise<T>,
): Promise<T> {
  const { refusal } = queue;
  if (refusal !== null && number <= refusal.count) throw refusal.error;
  try {
    return await step(queue);
  } catch (thrown) {
    const error = toStreamError(thrown);
    if (error.code === "NOT_READY") queue.refusal = { error, count: queue.count };
    throw error;
  }
}
