/** Durable streams at once: created, appended to by producers and by anybody, closed, deleted, read. */
import { assert, assertEquals } from "@std/assert";
import type { Answer, Asking } from "./asking.ts";

const PATHS = ["one", "two"];
const PRODUCERS = 4;
const TEXT = { "content-type": "text/plain" };

/** One who appends in an order of its own, each message until it is told that it is there. */
interface Producer {
  id: string;
  path: string;
  epoch: number;
  seq: number;
  /** The message that comes next. */
  message: string | null;
}

/** One life of a stream as it was told of. */
class Life {
  /** Messages that were acknowledged. */
  readonly acknowledged = new Set<string>();
  /** The most that was read. */
  longest = "";
  isClosed = false;
}

/** Those who use durable streams. */
export class StreamDoors {
  readonly #asking: Asking;
  readonly #lives = new Map<string, Life>();
  readonly #refused = new Set<string>();
  readonly #producers: Producer[];
  #messages = 0;

  constructor(asking: Asking) {
    this.#asking = asking;
    this.#producers = Array.from({ length: PRODUCERS }, (_, at) => {
      const path = asking.chance.pick(PATHS);
      return { id: `producer${at}`, path, epoch: 0, seq: 0, message: null };
    });
  }

  async create(): Promise<void> {
    const { chance, ask } = this.#asking;
    const path = chance.pick(PATHS);
    const body = chance.happens(0.5) ? `first.${++this.#messages};` : "";
    const answer = await ask("PUT", `/streams/${path}`, { headers: TEXT, body });
    if (answer.status === 201 && body !== "") this.#lifeIn(path, answer).acknowledged.add(body);
  }

  async produce(): Promise<void> {
    const producer = this.#asking.chance.pick(this.#producers);
    const { id, path, epoch, seq } = producer;
    const message = producer.message ??= `${id}.${epoch}.${seq}.${++this.#messages};`;
    const numbers = { "producer-epoch": String(epoch), "producer-seq": String(seq) };
    const headers = { ...TEXT, "producer-id": id, ...numbers };
    const answer = await this.#asking.ask("POST", `/streams/${path}`, { headers, body: message });
    // What was there already may be another message, where the stream began anew.
    if (answer.status === 200) this.#lifeIn(path, answer).acknowledged.add(message);
    if (producer.message !== message) return;
    if (answer.status < 300) Object.assign(producer, { seq: seq + 1, message: null });
    else if (answer.headers.has("producer-expected-seq")) {
      Object.assign(producer, { epoch: epoch + 1, seq: 0, message: null });
    }
  }

  async append(): Promise<void> {
    const { chance, ask } = this.#asking;
    const path = chance.pick(PATHS);
    const body = `plain.${++this.#messages};`;
    const closes = chance.happens(0.05);
    const headers = { ...TEXT, ...(closes ? { "stream-closed": "true" } : {}) };
    const closed = new Set([...this.#lives.values()].filter(({ isClosed }) => isClosed));
    const answer = await ask("POST", `/streams/${path}`, { headers, body });
    // Of what could not be taken now nobody says that it is not there.
    if (answer.status >= 300) return void (answer.status < 500 && this.#refused.add(body));
    const life = this.#lifeIn(path, answer);
    assert(!closed.has(life), "a closed stream took an append");
    life.acknowledged.add(body);
    life.isClosed ||= closes;
  }

  async close(): Promise<void> {
    const path = this.#asking.chance.pick(PATHS);
    const headers = { "stream-closed": "true" };
    const answer = await this.#asking.ask("POST", `/streams/${path}`, { headers });
    if (answer.status < 300) this.#lifeIn(path, answer).isClosed = true;
  }

  async delete(): Promise<void> {
    await this.#asking.ask("DELETE", `/streams/${this.#asking.chance.pick(PATHS)}`);
  }

  async readAll(): Promise<void> {
    for (const path of PATHS) await this.#read(path);
  }

  async read(): Promise<void> {
    await this.#read(this.#asking.chance.pick(PATHS));
  }

  async #read(path: string): Promise<void> {
    const before = new Map([...this.#lives].map(([name, { acknowledged, longest }]) => {
      return [name, { acknowledged: [...acknowledged], longest }];
    }));
    const answer = await this.#asking.ask("GET", `/streams/${path}?offset=-1`);
    if (answer.status !== 200 || answer.isBroken) return;
    const { text } = answer;
    assertEquals(text.length, Number(offsetIn(answer)[1]));
    const { acknowledged, longest } = before.get(nameOf(path, answer)) ??
      { acknowledged: [], longest: "" };
    assert(text.startsWith(longest), `${path} had ${longest}, and then ${text}`);
    for (const message of acknowledged) {
      assert(text.includes(message), `${message} was acknowledged, and is not in ${text}`);
    }
    this.#checkMessages(text);
    const life = this.#lifeIn(path, answer);
    if (text.length > life.longest.length) life.longest = text;
  }

  /** Each is there once, those of a producer in their order, and none that was refused. */
  #checkMessages(text: string): void {
    const messages = text.split(";").filter((message) => message !== "");
    assertEquals(new Set(messages).size, messages.length, `something is twice in ${text}`);
    const next = new Map<string, number>();
    for (const message of messages) {
      assert(!this.#refused.has(`${message};`), `${message} was refused, and is in ${text}`);
      const [id, epoch, seq] = message.split(".");
      if (!id.startsWith("producer")) continue;
      const name = `${id}.${epoch}`;
      assertEquals(Number(seq), next.get(name) ?? 0, `${name} is out of order in ${text}`);
      next.set(name, Number(seq) + 1);
    }
  }

  #lifeIn(path: string, answer: Answer): Life {
    const name = nameOf(path, answer);
    const life = this.#lives.get(name) ?? new Life();
    this.#lives.set(name, life);
    return life;
  }
}

function nameOf(path: string, answer: Answer): string {
  return `${path} ${offsetIn(answer)[0]}`;
}

/** The life of a stream, and where it ends. */
function offsetIn({ headers }: Answer): string[] {
  return headers.get("stream-next-offset")!.split("_");
}
