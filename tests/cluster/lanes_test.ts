/** Logs that go on in their spare streams: streams stand still for one node at a time, and what is sent there is lost, or stored late. */
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { connectEngine, type Engine } from "../../src/cluster/engine.ts";
import { placeIn, placeOf, streamOf as streamOfShard } from "../../src/cluster/logs.ts";
import type { ResourceStatus, StreamError } from "../../src/protocol.ts";
import type { LogEnd, LogWriter } from "../../src/storage.ts";
import { NatsStorage } from "../../src/storage/nats.ts";
import { concat, utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { assertBytes, eventually } from "../helpers/frames/connection.ts";
import { type Chance, withChance } from "../helpers/random.ts";
import { engineOfLogs, SHARDS } from "./logs.ts";

const STALL_MS = 60;
/** Sooner than anybody gives up to wait for an engine, in ms. */
const SOON_MS = 5000;

/** A node for which streams stand still: nothing is acknowledged there, and what it sends may be stored at any time. */
class Node implements AsyncDisposable {
  readonly #down = new Set<string>();
  readonly #late: Promise<unknown>[] = [];
  /** What was sent to streams that stand still, for a test that has it stored at a time of its own. */
  kept: (() => Promise<unknown>)[] | null = null;

  private constructor(
    readonly storage: NatsStorage,
    readonly engine: Engine,
    readonly chance: Chance,
  ) {
    const { js, jsm: { streams } } = engine;
    const publish = js.publish.bind(js);
    js.publish = async (subject, ...given) => {
      if (!this.#isDown(`log-${subject.slice(4, 6)}`)) return await publish(subject, ...given);
      const later = () => publish(subject, ...given).catch(() => {});
      if (this.kept !== null) this.kept.push(later);
      else if (chance.happens(0.3)) this.#late.push(later());
      else if (chance.happens(0.5)) this.#late.push(delay(chance.whole(0, 200)).then(later));
      await delay(given[1]?.timeout);
      throw new Error("nobody answers");
    };
    const getMessage = streams.getMessage.bind(streams);
    streams.getMessage = async (stream, query) => {
      if (!this.#isDown(stream)) return await getMessage(stream, query);
      await delay(10);
      throw new Error("no leader answers");
    };
  }

  static async start(chance: Chance): Promise<Node> {
    const { members } = await engineOfLogs();
    const engine = await connectEngine({ servers: members.map(({ port }) => `127.0.0.1:${port}`) });
    return new Node(await NatsStorage.open(engine, { stallMs: STALL_MS }), engine, chance);
  }

  /** Nothing more of some streams is answered, until `rise`. */
  fall(...streams: readonly string[]): void {
    for (const stream of streams) this.#down.add(stream);
  }

  rise(): void {
    this.#down.clear();
  }

  /** Everything that was sent is stored, or refused. */
  async settled(): Promise<void> {
    await Promise.all(this.#late);
  }

  #isDown(stream: string): boolean {
    return this.#down.has(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.rise();
    await this.storage.close();
    await this.settled();
    await this.engine.close();
  }
}

const streamOf = (id: string) => placeOf(id, SHARDS).stream;

/** An id whose log would begin in a stream. */
function idIn(stream: string): string {
  let id: string;
  do id = crypto.randomUUID(); while (streamOf(id) !== stream);
  return id;
}

function shown(epoch: number, { size, lineBreaks }: LogEnd, sequence: number): ResourceStatus {
  return {
    transferStatus: "IN_PROGRESS",
    currentSize: size,
    numberOfLines: lineBreaks,
    durableSize: size,
    epoch,
    sequence,
    life: "1",
    failure: null,
  };
}

test("spare stream: an upload goes on there, what was sent before is there once, and others read and take over all of it", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    const id = crypto.randomUUID();
    const log = await a.storage.create(id, { lineAccess: true, epoch: 1 });
    const told: number[] = [];
    const tail = await b.storage.follow(id, {
      appended() {},
      told: ({ currentSize }) => told.push(currentSize),
    });
    const append = (text: string, sequence: number) =>
      log.append(log.size, [utf8(text)], (end) => shown(1, end, sequence));
    await append("one\n", 1);
    a.fall(streamOf(id));
    await append("two\n", 2);
    await append("three\n", 3);
    assertEquals(a.storage.moves, 1);
    a.rise();
    await a.settled();
    await append("four\n", 4);
    const all = utf8("one\ntwo\nthree\nfour\n");
    await eventually("the last status there", () => told.at(-1) === all.length);
    assertEquals(told, told.toSorted((x, y) => x - y));
    const reader = await b.storage.openReader(id);
    assertBytes(await reader.read(0, all.length), all);
    assertEquals(await reader.lineBreak(2), 13);
    const next = await b.storage.recover(id, { lineAccess: true, epoch: 2 });
    assertEquals([next.size, next.lines], [all.length, 4]);
    await next.append(next.size, [utf8("five\n")]);
    await log.append(log.size, [utf8("lost\n")]).then(
      () => assert(false),
      ({ code }: StreamError) => assertEquals(code, "FENCED"),
    );
    assertBytes(await reader.read(all.length, 5), utf8("five\n"));
    tail.close();
    await Promise.all([log.close(), next.close(), reader.close()]);
    assert(await b.storage.delete(id));
    const again = await a.storage.create(id, { lineAccess: false, epoch: 1 });
    assertEquals(again.size, 0);
    await again.close();
    await a.storage.delete(id);
  }));

test("a status is none that a leader tells who was left behind, nor a replica that lags", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    const id = crypto.randomUUID();
    const { log, append } = await begun(id, a);
    const { direct, streams } = b.engine.jsm;
    const behind = new Map<string, Awaited<ReturnType<typeof streams.getMessage>>>();
    for (let shard = 0; shard < SHARDS; shard++) {
      const { stream, subject } = placeIn(id, shard);
      behind.set(stream, await streams.getMessage(stream, { last_by_subj: subject }));
    }
    streams.getMessage = (stream) => Promise.resolve(behind.get(stream)!);
    const { seq } = behind.get(streamOf(id))!;
    const getBatch = direct.getBatch.bind(direct);
    let lags = 2;
    direct.getBatch = (stream, options) =>
      getBatch(stream, lags-- > 0 ? Object.assign({}, options, { up_to_seq: seq }) : options);
    await append(2);
    assertEquals((await b.storage.newest(id))?.sequence, 2);
    assertLess(lags, 1);
    await log.close();
    await a.storage.delete(id);
  }));

test("a status that was told in the spare stream is waited for while that has no leader, though the other one stores an append late", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    const id = crypto.randomUUID();
    const { log, append } = await begun(id, a);
    a.kept = [];
    a.fall(streamOf(id));
    await append(2);
    await append(3);
    const spare = await spareStreamOf(id, b);
    b.fall(spare);
    const { direct } = b.engine.jsm;
    const getMessage = direct.getMessage.bind(direct);
    let asked = 0;
    direct.getMessage = async (stream, query) => {
      if (stream !== spare) return await getMessage(stream, query);
      asked++;
      return null;
    };
    let isTold = false;
    const newest = b.storage.newest(id).finally(() => isTold = true);
    await eventually("a look at a replica", () => asked > 0);
    const [late] = a.kept;
    await late();
    const before = asked;
    await eventually("looks after the late append", () => asked > before + 1);
    assert(!isTold);
    b.rise();
    assertEquals((await newest)?.sequence, 3);
    a.rise();
    await log.close();
    await a.storage.delete(id);
  }));

test("a status is told soon, and what is missing is missing, while the streams of the log are full", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    const id = crypto.randomUUID();
    const { log, append } = await begun(id, a);
    await append(2);
    const { streams } = b.engine.jsm;
    const names = [streamOf(id), await spareStreamOf(id, b)];
    const before = await Promise.all(names.map(async (name) => (await streams.info(name)).config));
    try {
      for (const name of names) await streams.update(name, { max_bytes: 1 });
      const askedAtMs = performance.now();
      assertEquals((await b.storage.newest(id))?.sequence, 2);
      const other = idIn(names[0]);
      await assertFails("NOT_FOUND", () => b.storage.openReader(other));
      assertEquals(await b.storage.delete(other), false);
      assertLess(performance.now() - askedAtMs, SOON_MS);
      await assertFails("QUOTA_EXCEEDED", () => append(3));
    } finally {
      for (const { name, max_bytes } of before) await streams.update(name, { max_bytes });
    }
    await log.close();
    await a.storage.delete(id);
  }));

test("a status of an owner who goes on appending is told while the spare stream has no leader", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    const id = crypto.randomUUID();
    const { log, append } = await begun(id, a);
    b.fall(await spareStreamOf(id, b));
    let told: number | null = null;
    const looking = b.storage.newest(id).then((status) => told = status!.sequence!);
    let sequence = 1;
    while (told === null) await append(++sequence);
    await looking;
    assertGreater(told, 2);
    await log.close();
    await a.storage.delete(id);
  }));

/** A log with its first status; each append is a line with the next one. */
async function begun(id: string, { storage }: Node) {
  const log = await storage.create(id, { lineAccess: true, epoch: 1 });
  const append = (sequence: number) =>
    log.append(log.size, [utf8("line\n")], (end) => shown(1, end, sequence));
  await append(1);
  return { log, append };
}

/** The stream that is led elsewhere. */
async function spareStreamOf(id: string, { engine }: Node): Promise<string> {
  const { stream, subject } = placeOf(id, SHARDS);
  const first = await engine.jsm.direct.getMessage(stream, { last_by_subj: subject });
  return streamOfShard(Number(first!.header.get("X")));
}

/** An upload whose owners change, what they said is stored, and what others were shown. */
class Wanderer {
  readonly id: string = crypto.randomUUID();
  /** What is acknowledged, and what may be behind it. */
  acknowledged: Uint8Array = new Uint8Array(0);
  attempted: Uint8Array = new Uint8Array(0);
  /** The most bytes that anybody was shown. */
  seen: Uint8Array = new Uint8Array(0);
  #epoch = 0;
  #sequence = 0;
  /** The owner before, and the node that nobody answers. */
  #last: Promise<unknown> = Promise.resolve();
  #fallen: Node | null = null;

  constructor(readonly nodes: readonly Node[], readonly chance: Chance) {}

  /** Whoever follows reads all that a status shows, which must be what it was ever shown. */
  async follow(node: Node): Promise<() => Promise<void>> {
    let newest = 0, isOver = false;
    const tail = await node.storage.follow(this.id, {
      appended() {},
      told: ({ currentSize }) => newest = Math.max(newest, currentSize),
    });
    const reader = await node.storage.openReader(this.id);
    const reading = (async () => {
      while (!isOver) {
        const bytes = await reader.read(0, newest);
        const common = Math.min(bytes.length, this.seen.length);
        assertBytes(bytes.slice(0, common), this.seen.slice(0, common));
        if (bytes.length > this.seen.length) this.seen = bytes;
        await delay(5);
      }
    })();
    reading.catch(() => {});
    return async () => {
      isOver = true;
      tail.close();
      await reading;
      await reader.close();
    };
  }

  /** Makes it, or takes it over: all that was acknowledged is there, and of what was sent whole messages. */
  async own(node: Node): Promise<LogWriter> {
    const options = { lineAccess: true, epoch: ++this.#epoch };
    if (this.#epoch === 1) return await node.storage.create(this.id, options);
    const log = await node.storage.recover(this.id, options);
    const all = concat([this.acknowledged, this.attempted]);
    assert([this.acknowledged.length, all.length].includes(log.size), `${log.size} bytes`);
    this.acknowledged = all.slice(0, log.size);
    this.attempted = new Uint8Array(0);
    return log;
  }

  async append(log: LogWriter): Promise<void> {
    const { chance } = this;
    const epoch = this.#epoch, sequence = ++this.#sequence;
    const bytes = chance.text(chance.whole(0, 2000));
    this.attempted = bytes;
    await log.append(log.size, [bytes], (end) => shown(epoch, end, sequence));
    // Somebody else has taken it over meanwhile, and counted it.
    if (this.attempted !== bytes) return;
    this.acknowledged = concat([this.acknowledged, bytes]);
    this.attempted = new Uint8Array(0);
  }

  /** Lets streams stand still for an owner, which goes on, until another one has it. */
  async hop(): Promise<void> {
    const { chance } = this;
    const node = chance.pick(this.nodes.filter((each) => each !== this.#fallen));
    const log = await this.own(node);
    await this.left();
    const places = Array.from({ length: SHARDS }, (_, shard) => `log-0${shard}`);
    let isTaken = false;
    const writing = (async () => {
      while (!isTaken) await this.append(log);
    })().catch((error) => {
      if (!isTaken) throw error;
    });
    for (let times = chance.whole(0, 3); times > 0; times--) {
      node.fall(...places.filter(() => chance.happens(0.5)));
      await Promise.race([writing, delay(chance.whole(0, 4 * STALL_MS))]);
      node.rise();
      await Promise.race([writing, delay(chance.whole(0, 20))]);
    }
    if (chance.happens(0.5)) node.fall(...places.filter(() => chance.happens(0.7)));
    isTaken = true;
    // It goes on to send while the next one takes over.
    this.#last = writing.finally(() => log.close().catch(() => {}));
    this.#fallen = node;
  }

  /** The next owner has it: the last one gets no answer but that. */
  async left(): Promise<void> {
    this.#fallen?.rise();
    await this.#last;
  }
}

test("spare stream: whatever stands still, and whoever takes over, nothing acknowledged is lost, and nothing seen changes", () =>
  withChance(async (chance) => {
    await using a = await Node.start(chance);
    await using b = await Node.start(chance);
    await using c = await Node.start(chance);
    const upload = new Wanderer([a, b], chance);
    await upload.hop();
    await upload.left();
    const unfollow = await upload.follow(c);
    for (let hops = 0; hops < 12; hops++) await upload.hop();
    await upload.left();
    const moves = a.storage.moves + b.storage.moves;
    const log = await upload.own(a);
    await upload.append(log);
    await unfollow();
    await a.settled();
    await b.settled();
    const { acknowledged, seen } = upload;
    const fresh = await c.storage.openReader(upload.id);
    assertBytes(await fresh.read(0, acknowledged.length), acknowledged);
    assertBytes(acknowledged.slice(0, seen.length), seen);
    assertGreater(moves, 0);
    await fresh.close();
    await log.close();
    await a.storage.delete(upload.id);
  }));
