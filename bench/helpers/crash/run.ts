/** What both kinds of crash runs share: who looks on while uploads are interrupted, and what they find wrong. */
import { setTimeout as sleep } from "node:timers/promises";
import { getResource, listResources, open } from "../../../src/client.ts";
import { type ErrorCode, type ResourceInfo, StreamError } from "../../../src/protocol.ts";
import { type Kind, within, type Workspace } from "../../../tests/helpers/cli.ts";
import { Chance } from "../../../tests/helpers/random.ts";
import type { Subject } from "../subject.ts";

/** What is killed how often. */
export interface CrashOptions {
  /** The program that is killed. */
  kind: Kind;
  kills: number;
  /** Uploads at once. */
  uploads: number;
  seed: number;
  durability: "os" | "disk";
  /** Longest time until the next kill, in ms. */
  aliveMs: number;
  /** Longest time an upload takes when nobody is killed, in ms. */
  uploadMs: number;
}

/** What came of it. */
export interface CrashResult {
  kills: number;
  /** Uploads that were completed, with the right digest. */
  completed: number;
  /** Bytes of these. */
  bytes: number;
  /** Time from a kill until an upload it interrupted went on, each time, further kills included, in ms. */
  recoveriesMs: number[];
  /** Statuses that were asked for and compared with what could be read. */
  looks: number;
  /** The same until the server listened again; none where it was not killed. */
  restartsMs: number[];
  /** Logs of uploads that were being registered when the server was killed: nobody knows them. */
  orphans: number;
  seconds: number;
  violations: string[];
}

/** How long clients try again; no recovery may take longer. */
export const RETRY_FOR_MS = 60_000;
const LOOK_DEADLINE_MS = 20_000;
const PIECE_BYTES = 64 * 1024;
const MAX_VIOLATIONS = 20;

/** Errors of a server that is gone. */
const AWAY: ReadonlySet<ErrorCode> = new Set(["UNREACHABLE", "INTERRUPTED", "SHUTDOWN"]);

export class CrashRun {
  readonly chance: Chance;
  readonly result: CrashResult;
  /** Uploads that run. */
  readonly live = new Set<Subject>();
  /** Digest and size of the uploads that ended, by id. */
  readonly #ended = new Map<string, { size: number; digest: string }>();
  readonly #begun = Promise.withResolvers<void>();
  readonly #startedAtMs = performance.now();
  #over = false;

  constructor(readonly options: CrashOptions, readonly url: string) {
    this.chance = new Chance(options.seed);
    this.result = {
      kills: 0,
      completed: 0,
      bytes: 0,
      recoveriesMs: [],
      looks: 0,
      restartsMs: [],
      orphans: 0,
      seconds: 0,
      violations: [],
    };
  }

  /** Notes that an upload runs. */
  begins(subject: Subject): void {
    this.live.add(subject);
    this.#begun.resolve();
  }

  /** Waits for the first upload: a kill before it interrupts nothing, however slow the machine is. */
  begun(): Promise<void> {
    return within(RETRY_FOR_MS, this.#begun.promise, () => new Error("no upload began"));
  }

  /** Notes what is wrong. */
  blame(subject: Subject, wrong: string[]): void {
    const { violations } = this.result;
    const place = `${subject.name} (${subject.reference})`;
    violations.push(...wrong.map((what) => `${place}: ${what}`));
    violations.splice(MAX_VIOLATIONS);
  }

  /** Notes how long the pusher was away, if it is back only now. */
  returned(subject: Subject, epoch: number): void {
    const awayMs = subject.returned(epoch);
    if (awayMs !== null) this.result.recoveriesMs.push(awayMs);
  }

  /** Notes that an upload is over, its follower, too. */
  ended(subject: Subject, digest: string): void {
    this.live.delete(subject);
    this.#ended.set(subject.id, { size: subject.content.length, digest });
    this.result.completed++;
    this.result.bytes += subject.content.length;
  }

  /** Follows an upload from its first byte to its last. */
  async follow(subject: Subject): Promise<void> {
    const retry = { retryForMs: RETRY_FOR_MS };
    const download = await whenever(() => open(subject.reference, retry));
    let at = 0;
    for await (const bytes of download.read()) {
      this.blame(subject, subject.checkBytes(at, bytes));
      at += bytes.length;
    }
    const { transferStatus } = download.status;
    download.close();
    if (at === subject.content.length && transferStatus === "COMPLETED") return;
    this.blame(subject, [`the follower got ${at} bytes, ${transferStatus}`]);
  }

  /** Looks at random uploads until the run is over. */
  async watch(): Promise<void> {
    while (!this.#over) {
      const subject = this.chance.pick([...this.live]);
      if (subject !== undefined) await this.#look(subject);
      await sleep(5);
    }
  }

  /** Ends `watch`, looks at everything a last time, and counts. */
  async finish(workspace: Workspace): Promise<void> {
    this.#over = true;
    const left = new Map(this.#ended);
    for await (const info of listResources(this.url, { pageSize: 1000 })) {
      this.#checkEnded(info, left.get(info.id));
      left.delete(info.id);
    }
    for (const id of left.keys()) this.result.violations.push(`${id} is not there any more`);
    await this.#checkDirectory(workspace);
    this.result.seconds = (performance.now() - this.#startedAtMs) / 1000;
  }

  /** A status must be true, and what it shows must be readable. */
  async #look(subject: Subject): Promise<void> {
    const { floor } = subject;
    try {
      const info = await getResource(subject.reference);
      this.blame(subject, await subject.check(info, floor));
      const late = () => new Error(`${info.currentSize} bytes cannot be read in time`);
      await within(LOOK_DEADLINE_MS, this.#readPieces(subject, info.currentSize), late);
      this.result.looks++;
    } catch (error) {
      if (isAway(error)) await sleep(20);
      else this.blame(subject, [`a look at it: ${error}`]);
    }
  }

  /** Reads the end and a piece from anywhere. */
  async #readPieces(subject: Subject, size: number): Promise<void> {
    const download = await open(subject.reference, { retryForMs: 0 });
    try {
      for (const from of [Math.max(0, size - PIECE_BYTES), this.chance.whole(0, size)]) {
        let at = from;
        const to = Math.min(size, from + PIECE_BYTES);
        for await (const bytes of download.read({ from, to })) {
          this.blame(subject, subject.checkBytes(at, bytes));
          at += bytes.length;
        }
        if (at !== to) this.blame(subject, [`bytes ${from} to ${to} end at ${at}`]);
      }
    } finally {
      download.close();
    }
  }

  /** What was completed stays so; what nobody knows was never begun. */
  #checkEnded(info: ResourceInfo, ended: { size: number; digest: string } | undefined): void {
    const { transferStatus, currentSize, digest } = info;
    const isRight = ended === undefined
      ? currentSize === 0 && transferStatus !== "COMPLETED"
      : currentSize === ended.size && transferStatus === "COMPLETED" &&
        digest?.value === ended.digest;
    if (!isRight) this.result.violations.push(`in the end: ${JSON.stringify({ info, ended })}`);
  }

  async #checkDirectory(workspace: Workspace): Promise<void> {
    const program = workspace.start(this.options.kind, ["check", "--data", "data"]);
    const { stdout } = await program.exit(RETRY_FOR_MS);
    // The last line is the sum; a hint that there are orphans is none itself.
    const problems = stdout.trimEnd().split("\n").slice(0, -1)
      .filter((line) => !line.startsWith("logs without a record: "));
    const orphans = problems.filter((problem) => problem.includes(": no record names "));
    this.result.orphans = orphans.length;
    this.result.violations.push(...problems.filter((problem) => !orphans.includes(problem)));
    if (stdout === "") this.result.violations.push("stream check said nothing");
  }
}

/** Tries until the server is there. */
export async function whenever<T>(step: () => Promise<T>): Promise<T> {
  const deadlineAtMs = performance.now() + RETRY_FOR_MS;
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (!isAway(error) || performance.now() > deadlineAtMs) throw error;
      await sleep(20);
    }
  }
}

function isAway(error: unknown): boolean {
  return error instanceof StreamError && AWAY.has(error.code);
}
