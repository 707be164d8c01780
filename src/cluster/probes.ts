/**
 * What proves that an answer is no older than its question: something that a majority has stored since.
 * @module
 */
import { headers } from "@nats-io/transport-node";
import type { Engine } from "./engine.ts";

/** Only the newest one is kept; to whoever looks at a bucket it is nothing. */
const fields = headers();
fields.set("Nats-Rollup", "sub");
fields.set("KV-Operation", "PURGE");

/** Has majorities store something, once for all who ask at the same time. */
export class Probes {
  readonly #engine: Engine;
  /** The last one of each subject, and the one that is asked for behind it. */
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #next = new Map<string, Promise<number>>();

  /** @param engine Whose members are asked. */
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Has a majority store something that is sent after this is called: one that is on its way says nothing of what was
   * stored since.
   * @param subject Where; the stream of this subject is asked.
   * @returns Its sequence: whoever has that has everything that was stored before this was called.
   */
  send(subject: string): Promise<number> {
    const asked = this.#next.get(subject);
    if (asked !== undefined) return asked;
    const last = this.#last.get(subject) ?? Promise.resolve();
    const next = last.then(() => {
      this.#next.delete(subject);
      const sent = this.#store(subject);
      const settled = sent.catch(() => {}).then(() => {
        if (this.#last.get(subject) === settled) this.#last.delete(subject);
      });
      this.#last.set(subject, settled);
      return sent;
    });
    this.#next.set(subject, next);
    return next;
  }

  async #store(subject: string): Promise<number> {
    const { js } = this.#engine;
    const { seq } = await this.#engine.request(() => js.publish(subject, "", { headers: fields }));
    return seq;
  }
}
