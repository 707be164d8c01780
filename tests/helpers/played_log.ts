/** A log for the viewer's model whose source a test plays: what is there, what is told, what fails. */
import type { StreamError } from "../../mod.ts";
import type { ResourceStatus } from "../../src/client.ts";
import { isFinal } from "../../src/protocol.ts";
import { Log } from "../../src/viewer/model/log.ts";
import type { Find } from "../../src/viewer/model/searcher.ts";
import { SettingsStore } from "../../src/viewer/model/settings.ts";
import type { LogSource } from "../../src/viewer/model/source.ts";
import { within } from "./frames/connection.ts";
import { utf8 } from "./bytes.ts";

type Told = { status: ResourceStatus; text: [startOffset: number, text: string] | null };

/** What a server would say of one log. */
export class PlayedSource implements LogSource {
  readonly unit = "line";
  readonly lineSince = null;
  /** All bytes, in ASCII. */
  content: string;
  status: ResourceStatus;
  /** What questions fail with, but for the statuses. */
  failure: StreamError | null = null;
  /** Whether what was appended comes with the statuses. */
  tellsText = true;
  /** Longest text of one answer. */
  answerChars = 256 * 1024;
  readonly asked: string[] = [];
  #told: Told[] = [];
  #wake = () => {};

  constructor(content: string, status: Partial<ResourceStatus> = {}) {
    this.content = content;
    this.status = {
      transferStatus: "IN_PROGRESS",
      epoch: 1,
      sequence: 0,
      life: "one",
      failure: null,
      ...sizeOf(content),
      ...status,
    } as ResourceStatus;
  }

  /** Tells a new status, and with it what was appended, if that comes along. */
  tell(status: Partial<ResourceStatus> = {}, text: Told["text"] = null): void {
    const { sequence } = this.status;
    this.status = {
      ...this.status,
      ...sizeOf(this.content),
      sequence: sequence + 1,
      ...status,
    };
    this.#told.push({ status: this.status, text });
    this.#wake();
  }

  /** Appends, and tells of it. */
  append(text: string): void {
    const startOffset = this.content.length;
    this.content += text;
    this.tell({}, [startOffset, text]);
  }

  /** Tells that it is complete: its last line needs no line break. */
  complete(): void {
    const rest = /[^\n]$/.test(this.content) ? 1 : 0;
    const numberOfLines = this.content.split("\n").length - 1 + rest;
    this.tell({ transferStatus: "COMPLETED", numberOfLines });
  }

  #ask(what: string): void {
    this.asked.push(what);
    if (this.failure !== null) throw this.failure;
  }

  // deno-lint-ignore require-await
  async info(): ReturnType<LogSource["info"]> {
    this.#ask("info");
    return { ...this.status, createdAt: new Date().toISOString() } as Awaited<
      ReturnType<LogSource["info"]>
    >;
  }

  /** As a server tells them: at first what is there. */
  async *statuses(...[signal, , onText]: Parameters<LogSource["statuses"]>) {
    this.asked.push("statuses");
    signal.addEventListener("abort", () => this.#wake());
    this.#told = [{ status: this.status, text: [0, this.content] }];
    for (;;) {
      signal.throwIfAborted();
      const told = this.#told.shift();
      if (told === undefined) {
        await new Promise<void>((resolve) => this.#wake = resolve);
        continue;
      }
      if (told.text !== null && this.tellsText) {
        const [startOffset, text] = told.text;
        onText({ startOffset, endOffset: startOffset + text.length, text });
      }
      yield told.status;
      if (isFinal(told.status.transferStatus)) return;
    }
  }

  // deno-lint-ignore require-await
  async lines(start: number, count: number): ReturnType<LogSource["lines"]> {
    this.#ask(`lines ${start}+${count}`);
    const all = this.#lines();
    const before = all.slice(0, start).join("").length;
    const lines = all.slice(start, start + count);
    const answer: string[] = [];
    let left = this.answerChars, next = null;
    for (const [at, line] of lines.entries()) {
      if (line.length > left) {
        const byteOffset = at === 0 ? left : 0;
        if (at === 0) answer.push(line.slice(0, left));
        next = { lineIndex: start + at, byteOffset };
        break;
      }
      answer.push(line);
      left -= line.length;
    }
    return {
      lines: answer,
      next,
      linesCount: lines.length,
      startOffset: before,
      endOffset: before + lines.join("").length,
      life: this.status.life,
    };
  }

  #lines(): string[] {
    return this.content.match(/.*\n|.+$/gs)?.flatMap((part) =>
      part.match(/[^\n]*\n|[^\n]+$/g) ?? []
    )
      .slice(0, this.status.numberOfLines ?? 0) ?? [];
  }

  // deno-lint-ignore require-await
  async texts([from, to]: readonly [number, number]): Promise<string[]> {
    return this.content.split("\n").slice(from, to);
  }

  // deno-lint-ignore require-await
  readonly read: LogSource["read"] = async (from, to) => {
    this.#ask(`read ${from}-${to}`);
    return utf8(this.content.slice(from, to));
  };

  readonly find: Find = (query, from) => this.#find(query, from);

  async *#find(
    { pattern, regex, to = this.status.numberOfLines ?? 0 }: Parameters<Find>[0],
    from: number,
  ): ReturnType<Find> {
    await Promise.resolve();
    this.#ask(`search ${from}`);
    const lines = this.#lines();
    const matches = (text: string) =>
      regex ? /\b(?:error|fatal)\b|::(?:group|endgroup)::/.test(text) : text.includes(pattern);
    for (let line = from; line < to; line++) {
      const text = lines[line].replace(/\n$/, "");
      if (matches(text)) yield { line, text };
    }
    return { nextLine: to, truncated: false };
  }
}

function sizeOf(content: string): Pick<ResourceStatus, "currentSize" | "numberOfLines"> {
  return { currentSize: content.length, numberOfLines: content.split("\n").length - 1 };
}

/** A log of a source, and waiting for what it becomes. */
export class PlayedLog implements Disposable {
  readonly log: Log;
  /** Settled when the last status was heard. */
  opened: Promise<void> = Promise.resolve();

  constructor(readonly source: LogSource) {
    this.log = new Log(source, new SettingsStore({ getItem: () => null, setItem: () => {} }));
  }

  /** Waits until something is true of the log. */
  async until(what: string, isTrue: (log: Log) => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => isTrue(this.log) && resolve();
    const unlisten = this.log.listen(look);
    look();
    await within(what, promise).finally(unlisten);
  }

  /** Opens it, and reads lines. */
  async open(from: number, to: number): Promise<void> {
    this.opened = this.log.open();
    await this.until("a status", ({ status }) => status !== null);
    await this.read(from, to);
  }

  /** Reads lines. */
  async read(from: number, to: number): Promise<void> {
    this.log.cache.want([[from, to]]);
    await this.until("lines", ({ cache }) => cache.has([from, to]));
  }

  /** Texts of the rows, by line from 0. */
  get rows(): [line: number, text: string | null][] {
    const { map } = this.log.visible;
    return Array.from({ length: map.rows }, (_, row) => {
      const line = map.lineAt(row);
      return [line, this.log.rows.at(line)?.row.text ?? null];
    });
  }

  [Symbol.dispose](): void {
    this.log.close();
  }
}
