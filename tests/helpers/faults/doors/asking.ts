/** Those who ask servers at random, and what they share. */
import { assert } from "@std/assert";
import type { Connection, Session } from "../../../../src/runtime.ts";
import type { Chance } from "../../random.ts";

/** What was answered. */
export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** Whether the content broke off. */
  isBroken: boolean;
  /** Whether what was granted may have ended meanwhile. */
  isBrief: boolean;
}

/** A request. */
export interface Asked {
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer> | string | ReadableStream<Uint8Array>;
  /** Called where the request is upgraded, with what makes the session of a connection. */
  opens?: (open: (connection: Connection) => Session) => void;
}

/** Asks one of the servers. */
export type Ask = (method: string, path: string, asked?: Asked) => Promise<Answer>;

/** What those who ask have. */
export interface Asking {
  chance: Chance;
  ask: Ask;
  /** Whether what is finished may be deleted at any time, to make room. */
  sweeps: boolean;
  /** Whether calls are refused. */
  refuses: boolean;
}

/** Upload contexts, the last of which may be open. */
export class Contexts {
  readonly #asking: Asking;
  readonly #closed = new Set<string>();
  #count = 1;

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  /** Begins an upload, possibly in a context; one that was closed before takes none. */
  async begin(begin: (query: string) => Promise<Answer>): Promise<Answer> {
    const { chance } = this.#asking;
    if (chance.happens(0.6)) return await begin("");
    const id = this.#id(chance.happens(0.2) ? this.#count - 1 : this.#count);
    const wasClosed = this.#closed.has(id);
    const answer = await begin(`context=${id}`);
    assert(!wasClosed || answer.status >= 300, `${id} was closed, and took an upload`);
    return answer;
  }

  /** Closes the last one. */
  async close(): Promise<void> {
    const id = this.#id(this.#count);
    const { status } = await this.#asking.ask("DELETE", `/contexts/${id}`);
    if (status !== 200) return;
    this.#closed.add(id);
    if (id === this.#id(this.#count)) this.#count++;
  }

  #id(number: number): string {
    return `context-${number}`;
  }
}
