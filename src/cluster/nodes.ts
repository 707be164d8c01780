/**
 * The nodes of a cluster: which are there, and which of them does what only one may do.
 *
 * A node says again and again that it is there; what it said is forgotten by the engine when it says nothing any more.
 * @module
 */
import { StreamError, toStreamError } from "../protocol.ts";
import { Bucket, type Entry } from "./bucket.ts";
import { type Engine, NODE_BUCKET } from "./engine.ts";

/** How often a node says that it is there, in ms. */
const SAY_MS = 1500;
/** Time after which the engine forgets what a node said, in ms. */
export const FORGET_MS = 6000;
/** So long a node counts on what only one may do, after it was granted that last, in ms. */
const COUNT_ON_MS = 4000;
/** A node waits so long for an answer, in ms. */
const WAIT_MS = 1000;

const DUTY_KEY = "duty";
const NODE_KEY = "node.";

/** What a node says of itself. */
export interface NodeInfo {
  /** Its id. */
  id: string;
  /** Version of its program. */
  version: string;
  /** HTTP base URL by which clients reach it, if they can. */
  address?: string;
  /** For how long its process has run, in ms, as clocks of two machines differ; an earlier version does not say. */
  upMs?: number;
  /** Uploads that it appends to. */
  uploads: number;
  /** Whether it takes new work, or hands over what it has. */
  state: "SERVING" | "DRAINING";
  /** Bytes of its copy of the catalog that are missing, as time, in ms. */
  lagMs: number;
  /** Number of what its run said first; that of this for the first one. */
  first?: number;
  /** What it was given, in words, of what all nodes must be given alike; an earlier version does not say. */
  settings?: Record<string, string>;
}

/** One node among others. */
export class Membership {
  readonly #engine: Engine;
  readonly #bucket: Bucket;
  readonly #info: () => Omit<NodeInfo, "id" | "first">;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #met: (isLater: boolean) => void;
  readonly #run = crypto.randomUUID();
  #said = 0;
  /** Sequences of what this run said first, and last. */
  #first = 0;
  #sequence = 0;
  #dutySequence = 0;
  #onDutyUntilMs = -Infinity;
  #saying: Promise<void> = Promise.resolve();

  /**
   * Begins to say that it is there.
   * @param engine Where that is said.
   * @param id Id of this node.
   * @param info What else is to be said.
   * @param met Hears, again and again, of another one that has the same id, and whether this one came later.
   */
  constructor(
    engine: Engine,
    readonly id: string,
    info: () => Omit<NodeInfo, "id" | "first">,
    met: (isLater: boolean) => void = () => {},
  ) {
    this.#engine = engine;
    this.#met = met;
    this.#bucket = new Bucket(engine, NODE_BUCKET, WAIT_MS);
    this.#info = info;
    this.#timer = setInterval(() => this.#sayAgain(), SAY_MS);
    this.#sayAgain();
  }

  /** Whether this node does what only one may do. */
  get isOnDuty(): boolean {
    return performance.now() < this.#onDutyUntilMs;
  }

  /** Waits for what is being said now. */
  async said(): Promise<void> {
    await this.#saying;
  }

  /** Says what it has to say at once. */
  sayNow(): Promise<void> {
    this.#sayAgain();
    return this.#saying;
  }

  /** What nodes were not given alike, this one among them, as far as they are known. */
  async disagreements(): Promise<string[]> {
    await this.#saying;
    const { nodes } = await nodesOf(this.#engine).catch(() => ({ nodes: [] }));
    const others = disagreements(nodes.filter(({ id }) => id !== this.id));
    return disagreements(nodes).filter((line) => !others.includes(line));
  }

  /** Addresses of the others that take new work, as far as they are known. */
  async others(): Promise<string[]> {
    // Who ends meanwhile waits for nothing that cannot come.
    if (!this.#engine.isConnected) return [];
    const { nodes } = await nodesOf(this.#engine).catch(() => ({ nodes: [] }));
    return nodes.filter(({ id, state }) => id !== this.id && state === "SERVING")
      .flatMap(({ address }) => address ?? []);
  }

  /** Leaves: others need not wait until they notice. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#saying;
    if (!this.#engine.isConnected) return;
    if (this.isOnDuty) await this.#leaveDuty().catch(() => {});
    this.#onDutyUntilMs = -Infinity;
    if (this.#sequence === 0) return;
    // What another one says that has the same id stays.
    await this.#bucket.write(NODE_KEY + this.id, this.#sequence, null, this.#nameChange())
      .catch(() => {});
  }

  #sayAgain(): void {
    // What fails now is said again soon.
    this.#saying = this.#saying.then(() => this.#say()).catch(() => {});
  }

  async #say(): Promise<void> {
    if (!this.#engine.isConnected) return;
    const first = this.#first || undefined;
    const value = encode({ id: this.id, first, ...this.#info() });
    // What its last run said, or nobody any more, is no obstacle.
    if (!await this.#sayAs(value)) await this.#sayAs(value);
    await this.#takeDuty();
  }

  /** @returns False when something else is known under its id, and this was not said. */
  async #sayAs(value: Uint8Array): Promise<boolean> {
    const key = NODE_KEY + this.id;
    const outcome = await this.#bucket.write(key, this.#sequence, value, this.#nameChange());
    if ("sequence" in outcome) {
      this.#sequence = outcome.sequence;
      this.#first ||= outcome.sequence;
      return true;
    }
    this.#sequence = outcome.found?.sequence ?? 0;
    this.#meet(outcome.found);
    return false;
  }

  /** @throws {StreamError} CONFLICT where the other one was there before: that one goes on. */
  #meet(found: Entry | null): void {
    if (this.#first === 0 || !found?.value || found.change.startsWith(this.#run)) return;
    const { first = found.sequence } = decode(found.value) as NodeInfo;
    const isLater = first < this.#first;
    this.#met(isLater);
    if (!isLater) return;
    this.#sequence = 0;
    throw new StreamError("CONFLICT", `another node has the id ${this.id}`);
  }

  /** Takes the duty if nobody has it, or keeps it. */
  async #takeDuty(): Promise<void> {
    const askedAtMs = performance.now();
    const value = encode(this.id);
    const change = this.#nameChange();
    const outcome = await this.#bucket.write(DUTY_KEY, this.#dutySequence, value, change);
    if ("sequence" in outcome) {
      this.#dutySequence = outcome.sequence;
      this.#onDutyUntilMs = askedAtMs + COUNT_ON_MS;
      return;
    }
    this.#onDutyUntilMs = -Infinity;
    // A marker of whoever left is taken like nothing.
    this.#dutySequence = outcome.found?.value === null ? outcome.found.sequence : 0;
  }

  async #leaveDuty(): Promise<void> {
    await this.#bucket.write(DUTY_KEY, this.#dutySequence, null, this.#nameChange());
  }

  #nameChange(): string {
    return `${this.#run}.${++this.#said}`;
  }
}

/**
 * The nodes that are there.
 * @param engine Where they say so.
 * @returns What each said last, and which one is on duty.
 * @throws {StreamError} NOT_READY.
 */
export async function nodesOf(
  engine: Engine,
): Promise<{ nodes: NodeInfo[]; onDuty: string | null }> {
  const bucket = new Bucket(engine, NODE_BUCKET, WAIT_MS);
  try {
    const entries = await bucket.all();
    const nodes = entries.filter(({ key }) => key.startsWith(NODE_KEY))
      .map(({ value }) => decode(value) as NodeInfo)
      .toSorted((a, b) => a.id < b.id ? -1 : 1);
    const duty = entries.find(({ key }) => key === DUTY_KEY);
    return { nodes, onDuty: duty === undefined ? null : decode(duty.value) as string };
  } catch (error) {
    const { message } = toStreamError(error);
    throw new StreamError("NOT_READY", `the nodes are not known: ${message}`, { cause: error });
  }
}

/**
 * What nodes were not given alike, and must be.
 * @param nodes The nodes that are there.
 * @returns A line for each such setting: who has which value.
 */
export function disagreements(nodes: readonly NodeInfo[]): string[] {
  const given = new Map<string, Map<string, string[]>>();
  for (const { id, settings = {} } of nodes) {
    for (const [name, value] of Object.entries(settings)) {
      const values = given.get(name) ?? new Map<string, string[]>();
      given.set(name, values.set(value, [...values.get(value) ?? [], id]));
    }
  }
  return [...given].filter(([, values]) => values.size > 1).map(([name, values]) =>
    `${name}: ${[...values].map(([value, ids]) => `${value} at ${ids.join(", ")}`).join("; ")}`
  );
}

/**
 * Checks the id of a node.
 * @param id The id.
 * @returns The same.
 * @throws {StreamError} BAD_REQUEST.
 */
export function checkNodeId(id: string): string {
  if (/^[\w-]{1,64}$/.test(id)) return id;
  throw new StreamError("BAD_REQUEST", `${id}: an id of a node has letters, digits, _ and -`);
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function decode(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(bytes));
}
