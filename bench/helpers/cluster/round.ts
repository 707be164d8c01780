/** One upload of each activity while something fails, and what is wrong with what was seen. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  deleteResource,
  type Download,
  getResource,
  open,
  push,
  type PushedUpload,
  resumePush,
} from "../../../src/client.ts";
import { StreamError } from "../../../src/protocol.ts";
import { within } from "../../../tests/helpers/cli.ts";
import type { Chance } from "../../../tests/helpers/random.ts";
import { GROUND, Subject } from "../subject.ts";
import { type Fault, placesOf, suffer } from "./faults.ts";
import { Relay } from "./relay.ts";
import type { World } from "./world.ts";

export const ACTIVITIES = ["push", "follow", "range", "resume", "takeover"] as const;
export type Activity = typeof ACTIVITIES[number];

const RETRY_FOR_MS = 90_000;
const ROUND_MS = 150_000;
const PIECE = { bytes: 4096, pauseMs: 40 };
const RANGE_BYTES = 65_536;
/** The upload is under way before something fails, and goes on for so long after that. */
const LEAD_MS = { least: 300, most: 1200 };
const AFTER_MS = 1000;

/** What came of a round. */
export interface RoundResult {
  /** How long each activity stood still at most, or took, in ms. */
  times: Map<Activity, number>;
  /** Statuses and ranges that were compared. */
  looks: number;
  violations: string[];
}

/** The longest time without a step since something failed. */
class Standstill {
  longestMs = 0;
  #lastMs = performance.now();

  step(): void {
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }

  /** Counts from now on. */
  begin(): void {
    this.step();
    this.longestMs = 0;
  }
}

export class Round {
  readonly #result: RoundResult = { times: new Map(), looks: 0, violations: [] };
  readonly #pushing = new Standstill();
  readonly #following = new Standstill();
  readonly #failed = Promise.withResolvers<void>();
  readonly #ids = new Map<Activity, string>();
  #isMended = false;

  constructor(
    readonly world: World,
    readonly fault: Fault,
    readonly chance: Chance,
    /** Size of each upload. */
    readonly byteCount: number,
  ) {}

  /** Lets it happen to five uploads. */
  async run(): Promise<RoundResult> {
    const running = ACTIVITIES.map((activity) => this.#lane(activity));
    const late = (what: string) => () => new Error(`${what} did not end in ${ROUND_MS} ms`);
    const all = Promise.all(running);
    try {
      await Promise.race([this.#fail(), all]);
      this.#isMended = true;
      await within(ROUND_MS, all, late("the uploads"));
      const { times } = this.#result;
      times.set("push", this.#pushing.longestMs).set("follow", this.#following.longestMs);
    } catch (error) {
      this.#blame(null, [`${error}`]);
    }
    return this.#result;
  }

  /** Ends when what failed is mended, and all of it is there again. */
  async #fail(): Promise<void> {
    await sleep(this.chance.whole(LEAD_MS.least, LEAD_MS.most));
    while (this.#ids.size < ACTIVITIES.length) await sleep(20);
    const { world, fault, chance } = this;
    const places = await placesOf(world, fault.target, this.#ids.get("push")!, world.nodes[0]);
    this.#pushing.begin();
    this.#following.begin();
    this.#failed.resolve();
    await suffer(fault, places, chance);
    await sleep(AFTER_MS);
  }

  async #lane(activity: Activity): Promise<void> {
    const [a, b, c] = this.world.nodes.map(({ url }) => url);
    const name = `${activity}-${this.chance.whole(0, 1e9)}`;
    const subject = Subject.make(name, this.byteCount, this.chance);
    await using relay = await Relay.open(this.world.nodes[0].url);
    const isLeft = activity === "resume" || activity === "takeover";
    const first = activity === "resume" ? relay.url : isLeft ? a : [a, b, c].join(",");
    const upload = await push(first, subject.metadata, {
      retryForMs: isLeft ? 0 : RETRY_FOR_MS,
    });
    subject.reference = upload.reference;
    this.#ids.set(activity, subject.id);
    const others = [this.#follow(subject, [b, c, a].join(","), activity)];
    if (activity === "range") others.push(this.#ranges(subject, [a, b, c]));
    if (isLeft) await this.#leave(subject, upload, relay, activity, [c, b, a].join(","));
    else await this.#write(subject, upload, activity);
    await Promise.all(others);
    await this.#finish(subject, [a, b, c]);
  }

  /** The first owner stops, its link broken or not, and another one goes on. */
  async #leave(
    subject: Subject,
    upload: PushedUpload,
    relay: Relay,
    activity: Activity,
    servers: string,
  ): Promise<void> {
    const writer = upload.writable.getWriter();
    const head = subject.content.slice(0, this.chance.whole(0, RANGE_BYTES));
    await writer.write(head);
    await this.#failed.promise;
    await sleep(this.chance.whole(0, 1500));
    if (activity === "resume") relay.cut();
    const sinceMs = performance.now();
    const resumed = await resumePush(servers, upload.resumeToken, { retryForMs: RETRY_FOR_MS });
    const { epoch } = resumed.status;
    this.#result.times.set(activity, performance.now() - sinceMs);
    // What it says from now on nobody may ever read.
    await writer.write(new Uint8Array(100).fill(7)).catch(() => {});
    await this.#write(subject, resumed, activity);
    // Whose connection broke without a word does not hear of it.
    const told = await Promise.race([
      upload.done.then(() => "done", (error: StreamError) => error.code),
      sleep(5000, "nothing"),
    ]);
    if (told === "done") this.#blame(subject, [`two owners: that of before ${epoch} is done, too`]);
    if (told === "nothing") upload.abort().catch(() => {});
  }

  async #write(subject: Subject, upload: PushedUpload, activity: Activity): Promise<void> {
    const hearing = this.#hear(subject, upload, activity);
    const writer = upload.writable.getWriter();
    const { content } = subject;
    const known = upload.status.currentSize;
    for (let at = 0; at < content.length;) {
      const isBusy = at >= known && !this.#isMended;
      const most = isBusy ? this.chance.whole(1, PIECE.bytes) : RANGE_BYTES;
      await writer.write(content.slice(at, at + most));
      at += most;
      if (isBusy) await sleep(this.chance.whole(0, PIECE.pauseMs));
    }
    subject.finished = true;
    await writer.close();
    const { size } = await upload.done;
    if (size !== content.length) this.#blame(subject, [`${size} bytes were acknowledged`]);
    await hearing;
  }

  /** Hears what the pusher is told. */
  async #hear(subject: Subject, upload: PushedUpload, activity: Activity): Promise<void> {
    let floor = GROUND;
    for await (const status of upload.statuses()) {
      if (status.epoch === 0) continue;
      this.#blame(subject, await subject.check(status, floor));
      this.#result.looks++;
      if (activity === "push" && status.currentSize > floor.size) this.#pushing.step();
      floor = { ...status, size: status.currentSize, isCompleted: false };
    }
  }

  async #follow(subject: Subject, server: string, activity: Activity): Promise<void> {
    const download = await open(subject.id, { server, retryForMs: RETRY_FOR_MS });
    let at = 0;
    for await (const bytes of download.read()) {
      this.#blame(subject, subject.checkBytes(at, bytes));
      at += bytes.length;
      if (activity === "follow") this.#following.step();
    }
    const { transferStatus } = download.status;
    download.close();
    if (at === subject.content.length && transferStatus === "COMPLETED") return;
    this.#blame(subject, [`the follower got ${at} bytes, ${transferStatus}`]);
  }

  /** Looks at it at any node, and reads what its status shows there. */
  async #ranges(subject: Subject, urls: readonly string[]): Promise<void> {
    let longestMs = 0;
    while (!subject.finished) {
      const server = [...urls].sort(() => this.chance.next() - 0.5).join(",");
      const { floor } = subject;
      const sinceMs = performance.now();
      const info = await patiently(() => getResource(subject.id, { server }));
      this.#blame(subject, await subject.check(info, floor));
      const to = info.currentSize;
      const from = Math.max(0, this.chance.whole(0, to) - 1);
      const end = Math.min(to, from + RANGE_BYTES);
      const download = await patiently(() =>
        open(subject.id, { server, retryForMs: RETRY_FOR_MS })
      );
      await this.#readRange(subject, download, from, end);
      longestMs = Math.max(longestMs, performance.now() - sinceMs);
      this.#result.looks++;
      await sleep(20);
    }
    this.#result.times.set("range", longestMs);
  }

  async #readRange(subject: Subject, download: Download, from: number, to: number) {
    let at = from;
    for await (const bytes of download.read({ from, to })) {
      this.#blame(subject, subject.checkBytes(at, bytes));
      at += bytes.length;
    }
    download.close();
    if (at !== to) this.#blame(subject, [`bytes ${from} to ${to} end at ${at}`]);
  }

  /** It is there at every node, from its first byte to its last; then it is deleted. */
  async #finish(subject: Subject, urls: readonly string[]): Promise<void> {
    for (const server of urls) {
      const { floor } = subject;
      this.#blame(
        subject,
        await subject.check(await patiently(() => getResource(subject.id, { server })), floor),
      );
      const download = await open(subject.id, { server, retryForMs: RETRY_FOR_MS });
      await this.#readRange(subject, download, 0, subject.content.length);
      this.#result.looks++;
    }
    await patiently(() => deleteResource(subject.id, { server: urls.join(",") }));
  }

  #blame(subject: Subject | null, wrong: readonly string[]): void {
    const { target, fault } = this.fault;
    const place = `${fault}, ${target}, ${subject?.name ?? "all"} (${subject?.reference ?? ""})`;
    this.#result.violations.push(...wrong.map((what) => `${place}: ${what}`));
  }
}

/** Asks again while nobody answers, as clients of single requests do. */
async function patiently<T>(step: () => Promise<T>): Promise<T> {
  for (const untilMs = performance.now() + RETRY_FOR_MS;;) {
    try {
      return await step();
    } catch (error) {
      const isAway = error instanceof StreamError &&
        ["UNREACHABLE", "INTERRUPTED", "SHUTDOWN", "NOT_READY", "STORAGE_FAILED"]
          .includes(error.code);
      if (!isAway || performance.now() > untilMs) throw error;
      await sleep(50);
    }
  }
}
