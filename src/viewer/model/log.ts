/**
 * One log as it is looked at: its status, the lines near the view, what is folded, searched and selected.
 * @module
 */
import { type ResourceInfo, type ResourceStatus, retrying, StreamError } from "../../client.ts";
import { checkLife, isFinal, isTransient, toStreamError } from "../../protocol.ts";
import { LineCache, type LoadedLines } from "./line_cache.ts";
import { type Link, lostLink } from "./link.ts";
import { LiveText, TAIL_CHARS } from "./live_text.ts";
import { Outline, OUTLINE_PATTERN } from "./outline.ts";
import { Reading } from "./reading.ts";
import { type Find, type Query, Searcher } from "./searcher.ts";
import type { SettingsStore } from "./settings.ts";
import { ShownRows } from "./shown_rows.ts";
import type { LogSource, OnRetry, OnText } from "./source.ts";
import { withoutBreak } from "./terminal.ts";
import { NOTHING, type ShownTime, shownTime } from "./times.ts";
import { Throttle } from "./throttle.ts";
import { VisibleLines } from "./visible_lines.ts";

/** Logs up to this size are looked through for groups and errors by themselves. */
const OUTLINE_BYTES = 32 * 1024 * 1024;
/** Longest character of UTF-8: so much less one byte may be missing at the end of text that came. */
const MAX_CHARACTER_BYTES = 4;
/** What is found is shown at once, and what follows so often, in ms. */
const FOUND_MS = 100;
/** What comes in is searched at once, and what follows so often, in ms. */
const GROWTH_MS = 500;

/** One log. */
export class Log {
  readonly source: LogSource;
  readonly cache: LineCache;
  readonly search: Searcher;
  readonly outliner: Searcher;
  readonly settings: SettingsStore;
  outline = new Outline();
  /** Whether all of it was looked through for groups and errors once. */
  outlined = false;
  info: ResourceInfo | null = null;
  status: ResourceStatus | null = null;
  link: Link = { state: "connecting" };
  /** Why nothing can be shown; null while something can. */
  problem: StreamError | null = null;
  /** Whether lines that are wanted can be read. */
  readonly reading = new Reading(() => this.cache.retry(), () => this.changed());
  /** Lines that were shown once and are gone: the server lost them before they were on its disk. */
  lost: { line: number; count: number } | null = null;
  /** What each line shows. */
  readonly rows: ShownRows;
  /** Which lines have a row. */
  readonly visible: VisibleLines;
  readonly #listeners = new Set<() => void>();
  /** The last line whose end is known, and that end. */
  #end = { line: 0, offset: 0 };
  #tail: { line: number; isWhole: boolean } | null = null;
  #readingTail = false;
  /** Whether it comes with each status, and need not be read. */
  #tailComes = false;
  #hasTimes = false;
  /** What came by itself, and the newest of it. */
  #live = new LiveText();
  #appended: Parameters<OnText>[0] | null = null;
  readonly #grown: () => void;
  #stop = new AbortController();

  /**
   * @param source Where it comes from.
   * @param settings What the reader has chosen.
   */
  constructor(source: LogSource, settings: SettingsStore) {
    this.source = source;
    this.settings = settings;
    this.#hasTimes = settings.all.times !== "off";
    this.cache = new LineCache(
      (start, count, signal) => this.#load(start, count, signal),
      () => this.#arrived(),
      (error) => this.#notRead(error),
    );
    const find: Find = source.find ?? nothing;
    this.search = new Searcher(find, new Throttle(() => this.#searched(), FOUND_MS).ask);
    this.outliner = new Searcher(
      (query, from, limit, signal, onProgress) =>
        outlined(find(query, from, limit, signal, onProgress), this.outline),
      new Throttle(() => this.#outlined(), FOUND_MS).ask,
    );
    this.rows = new ShownRows(this);
    this.visible = new VisibleLines(this);
    this.#grown = new Throttle(() => {
      if (this.#stop.signal.aborted) return;
      this.search.grow(this.lines);
      this.#look();
    }, GROWTH_MS).ask;
  }

  /** Lines that can be read. */
  get lines(): number {
    return this.status?.numberOfLines ?? 0;
  }

  /** Whether more may come. */
  get live(): boolean {
    return this.status !== null && !isFinal(this.status.transferStatus);
  }

  /** Lines that have a place: those that can be read, and one that is not ended yet. */
  get places(): number {
    return this.lines + (this.#tail === null ? 0 : 1);
  }

  /** Whether a line is not ended yet, and then, whether all is shown that is there of it. */
  openEnd(line: number): "whole" | "cut" | null {
    if (this.#tail === null || line !== this.lines) return null;
    return this.#tail.isWhole ? "whole" : "cut";
  }

  /** Hears of every change; returns its end. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Reads what the resource is, and listens to what becomes of it.
   * @param first The line that is shown first, if it is a log that has ended.
   */
  async open(first?: number): Promise<void> {
    this.#stop.abort();
    const { signal } = this.#stop = new AbortController();
    try {
      // Who was asleep knows it; the first status tells what became of it, as soon as there is a connection.
      if (this.info === null) await this.#introduce(first, signal);
      if (!this.live) return;
      await this.#watch(signal);
      checkKept(this.status);
      const info = await this.#lastInfo();
      if (info !== null && !signal.aborted) this.#take(this.info = info);
    } catch (error) {
      if (!signal.aborted) this.#giveUp(toStreamError(error));
    }
  }

  async #introduce(first: number | undefined, signal: AbortSignal): Promise<void> {
    const wanted = this.#hasTimes ? undefined : first;
    const { window, ...info } = await retrying(() => this.source.info(wanted), {
      retryForMs: Infinity,
      onRetry: this.#lost,
      signal,
    });
    signal.throwIfAborted();
    // A page that ends within a line is read again, piece by piece.
    if (window && !window.next) {
      this.cache.putLines(window.startingLineIndex, window.lines.map(withoutBreak));
    }
    this.#take(this.info = info);
  }

  /** What the last status does not tell, as the digest; null where it cannot be asked for now. */
  async #lastInfo(): Promise<ResourceInfo | null> {
    try {
      return await this.source.info();
    } catch (error) {
      if (isTransient(toStreamError(error))) return null;
      throw error;
    }
  }

  /** Stops listening while nobody looks. */
  sleep(): void {
    if (this.link.state === "ended") return;
    this.#stop.abort();
    this.link = { state: "asleep" };
    this.changed();
  }

  /** Asks once what became of it, while nobody looks. */
  async peek(): Promise<void> {
    if (this.link.state !== "asleep") return;
    try {
      const info = await this.source.info();
      if (this.link.state !== "asleep") return;
      this.#take(this.info = info);
      if (this.live) this.link = { state: "asleep" };
    } catch (error) {
      if (this.link.state === "asleep") this.#failed(error);
    }
  }

  /** Ends everything. */
  close(): void {
    this.#stop.abort();
    this.search.cancel();
    this.outliner.cancel();
    this.cache.want([]);
    this.reading.stop();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const onText: OnText = (appended) => this.#appended = appended;
    for await (const status of this.source.statuses(signal, this.#lost, onText)) {
      this.link = { state: "live" };
      this.#take(status);
    }
  }

  readonly #lost: OnRetry = (error, delayMs) => {
    this.link = lostLink(error, delayMs);
    this.changed();
  };

  #take(status: ResourceStatus): void {
    const before = this.status;
    checkLife(status, before?.life);
    this.status = status;
    const isTailOld = this.#tail !== null &&
      (this.#tail.line !== this.lines || !this.live);
    if (isTailOld) this.#setTail(null);
    if (before !== null && status.epoch !== before.epoch) this.#reread(before);
    this.link = { state: this.live ? "live" : "ended" };
    this.reading.again();
    this.#append(status);
    this.visible.update();
    this.#grown();
    this.changed();
    void this.#readTail();
  }

  /** Takes lines that came with a status; with times they are read instead. */
  #append(status: ResourceStatus): void {
    const appended = this.#appended;
    this.#appended = null;
    if (appended === null || status.numberOfLines === null) return;
    // Its lines are counted from the end of the log: of another status they would be others.
    const missing = status.currentSize - appended.endOffset;
    if (missing < 0 || missing >= MAX_CHARACTER_BYTES) return;
    this.#tailComes = true;
    const { first, lines, rest, isRestWhole } = this.#live.take(appended, status);
    if (this.#hasTimes) return;
    if (lines.length > 0) this.rows.keepStyle(first);
    this.#setTail(rest === "" ? null : rest, isRestWhole);
    this.cache.putLines(first, lines);
    this.rows.append(first, lines);
  }

  /** After a server came back, lines may be gone that were never on its disk, and others stand there. */
  #reread(before: ResourceStatus): void {
    if (this.status!.currentSize < before.currentSize) this.#live = new LiveText();
    this.#end = { line: 0, offset: 0 };
    this.cache.doubt();
    const gone = (before.numberOfLines ?? 0) - this.lines;
    if (gone <= 0) return;
    this.lost = { line: this.lines, count: gone };
    this.cache.forget(this.lines);
    this.rows.forget(this.lines);
    this.search.forget(this.lines);
    this.outline = new Outline();
    this.outlined = false;
    this.outliner.start(this.outliner.query, this.lines);
  }

  #giveUp(error: StreamError): void {
    this.close();
    this.link = { state: "ended" };
    // What was there once, and is not any more, was deleted.
    this.problem = error.code === "NOT_FOUND" && this.status !== null
      ? new StreamError("DELETED", "the resource was deleted")
      : error;
    this.changed();
  }

  #failed(thrown: unknown): void {
    const error = toStreamError(thrown);
    if (["NOT_FOUND", "DELETED", "UNAUTHORIZED", "FORBIDDEN"].includes(error.code)) {
      this.#giveUp(error);
    }
  }

  #notRead(thrown: unknown): void {
    this.#failed(thrown);
    if (this.problem === null) this.reading.failed(toStreamError(thrown));
  }

  async #load(start: number, count: number, signal: AbortSignal): Promise<LoadedLines> {
    const loaded = await this.source.lines(
      start,
      count,
      signal,
      this.settings.all.times !== "off",
    );
    checkLife(loaded, this.status?.life);
    const line = start + loaded.linesCount;
    if (line >= this.#end.line) this.#end = { line, offset: loaded.endOffset };
    const isPiece = count === 1 && loaded.next !== null;
    if (!isPiece || !loaded.lines[0].includes("\r")) return loaded;
    return { ...loaded, end: withoutBreak(await this.#read(loaded.endOffset, signal)) };
  }

  /** The last text before an offset. */
  async #read(endOffset: number, signal: AbortSignal, startOffset = 0): Promise<string> {
    const from = Math.max(startOffset, endOffset - TAIL_CHARS);
    return decoder.decode(await this.source.read(from, endOffset, signal));
  }

  /** Shows what stands behind the last line break of a log that runs: half a line, or a progress bar. */
  async #readTail(): Promise<void> {
    const { status, source } = this;
    if (status === null || !this.live || this.#readingTail || source.find === null) return;
    if (this.#tailComes && !this.#hasTimes) return;
    if (this.#end.line !== this.lines || this.#end.offset >= status.currentSize) return;
    this.#readingTail = true;
    const { line, offset } = this.#end;
    try {
      const text = await this.#read(status.currentSize, this.#stop.signal, offset);
      if (line === this.lines && (!this.#tailComes || this.#hasTimes)) {
        this.#setTail(text, status.currentSize - offset <= TAIL_CHARS);
        this.visible.update();
        this.changed();
      }
      this.#readingTail = false;
      // A status that came meanwhile found this reading under way, and may be the last for long.
      if (this.status !== status) void this.#readTail();
    } catch {
      /* The next status brings another chance. */
      this.#readingTail = false;
    }
  }

  /** Keeps the line that is not ended yet, as long as it is not. */
  #setTail(text: string | null, isWhole = true): void {
    const before = this.#tail;
    if (before !== null) {
      this.cache.drop(before.line);
      this.rows.undo(before.line);
    }
    this.#tail = text === null ? null : { line: this.lines, isWhole };
    if (text !== null) this.cache.put(this.lines, { text, longBytes: null });
    this.rows.showEnd(this.lines);
  }

  /** Looks for groups and errors, by itself where that is cheap. */
  #look(): void {
    const { currentSize = 0 } = this.status ?? {};
    if (this.outliner.query !== null) this.outliner.grow(this.lines);
    else if (currentSize <= OUTLINE_BYTES && this.source.find !== null) this.findOutline();
  }

  /** Looks for groups and errors. */
  findOutline(): void {
    if (this.outliner.query !== null) return;
    this.outliner.start({ pattern: OUTLINE_PATTERN, regex: true, ignoreCase: false }, this.lines);
  }

  #outlined(): void {
    const { query, running, error } = this.outliner;
    if (query !== null && !running && error === null) this.outlined = true;
    this.rows.clear();
    this.visible.update();
    this.changed();
  }

  #searched(): void {
    this.rows.found();
    this.visible.update();
    this.changed();
  }

  /** Begins a search; null ends it. */
  find(query: Query | null): void {
    this.search.start(query, this.lines);
    if (query === null) this.visible.filter(false);
  }

  /** What stands between two lines in the text of both. */
  get joint(): string {
    return this.source.unit === "line" ? "\n" : "";
  }

  /** Text of a line as it is shown; null for one without a row, or that is not there. */
  shownText(line: number): string | null {
    return this.visible.map.isHidden(line) ? null : this.rows.at(line)?.row.text ?? null;
  }

  /** When a line arrived, as the reader wants to see it. */
  timeOf(line: number): ShownTime {
    const { times } = this.settings.all;
    if (times === "off") return NOTHING;
    const startMs = Date.parse(this.info?.createdAt ?? "");
    return shownTime(this.cache.get(line)?.timeMs, times, startMs, Date.now());
  }

  /**
   * Shows a line whose predecessors are not there in the style in which it begins.
   * @param line The first line seen.
   */
  async lookBehind(line: number): Promise<void> {
    const { find } = this.source;
    if (find === null) return;
    if (await this.rows.lookBehind(line, find, this.#stop.signal)) this.changed();
  }

  /** Forgets how lines are shown, as that was chosen anew. */
  redraw(): void {
    const wantsTimes = this.settings.all.times !== "off";
    // Lines that were read without their times are read again.
    if (wantsTimes && !this.#hasTimes) this.cache.forget();
    this.#hasTimes = wantsTimes;
    this.rows.clear();
    this.visible.update();
    this.changed();
  }

  #arrived(): void {
    this.rows.clear();
    this.visible.update();
    this.reading.succeeded();
    void this.#readTail();
  }

  /** Tells everybody. */
  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A byte order mark is a character like any other. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Finds nothing, where nothing can be searched. */
// deno-lint-ignore require-yield
async function* nothing(): ReturnType<Find> {
  return { nextLine: Infinity, truncated: false };
}

/** Lets the outline see what a search finds. */
async function* outlined(found: ReturnType<Find>, outline: Outline): ReturnType<Find> {
  for (;;) {
    const { done, value } = await found.next();
    if (done) return value;
    outline.add(value.line, value.text);
    yield value;
  }
}

/** A deletion by force ends the upload first: what is still there then is gone in a moment. */
function checkKept(status: ResourceStatus | null): void {
  if (!status?.failure?.startsWith("DELETED: ")) return;
  throw new StreamError("DELETED", "the resource was deleted");
}
