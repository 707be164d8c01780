/**
 * What is known of the streams of logs: how full they are, and who leads them.
 * @module
 */
import type { StreamInfo } from "@nats-io/jetstream";
import type { Engine } from "../../cluster/engine.ts";
import { streamOf } from "../../cluster/logs.ts";

/** They are asked so often at most, in ms. */
const AGAIN_MS = 5000;
/** Who needs to know waits so long for what is new, in ms: a stream without a leader does not answer. */
const WAIT_MS = 100;

/** Looks at all streams from time to time. */
export class Survey {
  readonly #engine: Engine;
  readonly #infos: (StreamInfo | undefined)[];
  #asking: Promise<unknown> = Promise.resolve();
  #askedAtMs = -Infinity;

  /**
   * @param engine Where they are.
   * @param shards How many there are.
   */
  constructor(engine: Engine, shards: number) {
    this.#engine = engine;
    this.#infos = Array.from({ length: shards }, () => undefined);
  }

  /** What each of them said last, as new as can be; undefined for one that never said anything. */
  async infos(): Promise<readonly (StreamInfo | undefined)[]> {
    const nowMs = performance.now();
    if (nowMs - this.#askedAtMs > AGAIN_MS) {
      this.#askedAtMs = nowMs;
      this.#asking = Promise.all(this.#infos.map((_, shard) => this.#ask(shard)));
    }
    if (this.#infos.includes(undefined)) await this.#asking;
    else await this.#forAWhile();
    return this.#infos;
  }

  async #ask(shard: number): Promise<void> {
    const { streams } = this.#engine.jsm;
    try {
      this.#infos[shard] = await this.#engine.request(() => streams.info(streamOf(shard)));
    } catch { /* What it said before is the newest there is. */ }
  }

  async #forAWhile(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, WAIT_MS);
    await Promise.race([this.#asking, promise]);
    clearTimeout(timer);
  }
}
