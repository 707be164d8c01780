/** An upload whose engine is not spared: it knows every byte that was acknowledged, and a follower on another node. */
import { setTimeout as delay } from "node:timers/promises";
import { assertEquals } from "@std/assert";
import type { Engine } from "../../src/cluster/engine.ts";
import { placeOf } from "../../src/cluster/logs.ts";
import type { ResourceStatus } from "../../src/protocol.ts";
import type { FollowedTail, LogEnd, LogWriter, Storage } from "../../src/storage.ts";
import type { EngineCluster, Member } from "./engine.ts";
import { SHARDS } from "./logs.ts";

const MOST_BYTES = 50_000;
const LIMIT_MS = 60_000;

/** The byte of the content at a position. */
const byteAt = (at: number) => (at * 7919 + (at >> 8)) & 255;

function content(from: number, byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, at) => byteAt(from + at));
}

/** Appends, one after the other, until it is told to end. */
export class BusyUpload {
  readonly id: string = crypto.randomUUID();
  /** Bytes that were acknowledged. */
  acknowledged = 0;
  /** The newest size that the follower was told. */
  told = 0;
  readonly #running: Promise<void>;
  #writer: LogWriter | null = null;
  #tail: FollowedTail | null = null;
  #isOver = false;

  /**
   * @param here Where it is written.
   * @param there Where it is followed.
   */
  constructor(here: Storage, there: Storage) {
    this.#running = this.#run(here, there);
  }

  /** The member that leads its stream. */
  leader(cluster: EngineCluster, engine: Engine): Promise<Member> {
    return cluster.leaderOf(engine, placeOf(this.id, SHARDS).stream);
  }

  /** Waits until more is acknowledged, and the follower knows. */
  async progress(): Promise<void> {
    const from = this.acknowledged;
    await this.#until(() => this.acknowledged > from && this.told > from);
  }

  /** Ends it, and checks all that was ever acknowledged, on a third node. */
  async check(elsewhere: Storage): Promise<void> {
    this.#isOver = true;
    await this.#running;
    const { acknowledged } = this;
    assertEquals(this.#writer!.size, acknowledged);
    await this.#until(() => this.told === acknowledged);
    const reader = await elsewhere.openReader(this.id);
    for (let at = 0; at < acknowledged;) {
      const count = Math.min(1024 * 1024, acknowledged - at);
      const bytes = await reader.read(at, count);
      const wrong = bytes.findIndex((byte, index) => byte !== byteAt(at + index));
      assertEquals(wrong, -1, `byte ${at + wrong}`);
      at += count;
    }
    await reader.close();
    this.#tail!.close();
    await this.#writer!.close();
    // Nothing is there that was not acknowledged: nothing was stored twice.
    const next = await elsewhere.recover(this.id, { lineAccess: true, epoch: 2 });
    assertEquals(next.size, acknowledged);
    await next.close();
  }

  async #run(here: Storage, there: Storage): Promise<void> {
    this.#writer = await here.create(this.id, { lineAccess: true, epoch: 1 });
    this.#tail = await there.follow(this.id, {
      appended() {},
      told: ({ currentSize }) => this.told = currentSize,
    });
    for (let sequence = 1; !this.#isOver; sequence++) {
      const byteCount = 1 + (sequence * 7919) % MOST_BYTES;
      const bytes = content(this.acknowledged, byteCount);
      await this.#writer.append(this.acknowledged, [bytes], (end) => shown(end, sequence));
      this.acknowledged += byteCount;
      await delay(1);
    }
  }

  async #until(holds: () => boolean): Promise<void> {
    const untilMs = performance.now() + LIMIT_MS;
    const failed = this.#running.then(() => {}, (error) => Promise.reject(error));
    while (!holds()) {
      if (performance.now() > untilMs) {
        throw new Error(
          `${this.acknowledged} acknowledged, ${this.told} told, and nothing goes on`,
        );
      }
      await (this.#isOver ? delay(5) : Promise.race([delay(5), failed]));
    }
  }
}

function shown({ size, lineBreaks }: LogEnd, sequence: number): ResourceStatus {
  return {
    transferStatus: "IN_PROGRESS",
    currentSize: size,
    numberOfLines: lineBreaks,
    durableSize: size,
    epoch: 1,
    sequence,
    life: "1",
    failure: null,
  };
}
