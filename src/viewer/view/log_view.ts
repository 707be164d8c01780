/**
 * Shows the lines of a log that are in view, and no others: places them, scrolls, follows.
 * @module
 */
import type { Theme } from "../model/colour.ts";
import type { Log } from "../model/log.ts";
import { fragmentOf, linesIn, type LinkedLines } from "../model/permalink.ts";
import { type Anchor, placeAround, placeEnd, SPARE_ROWS } from "../model/placement.ts";
import { fromScroll, type Heights, scrollHeight, toScroll } from "../model/scale.ts";
import { Throttle } from "../model/throttle.ts";
import { timeInFragment } from "../model/times.ts";
import { wantedLines } from "../model/wanted_lines.ts";
import { DrawnRows } from "./drawn_rows.ts";
import { type ViewElements, viewElements } from "./elements.ts";
import { drawMarks } from "./marks.ts";
import { leftOut, printedLines } from "./paper.ts";
import { type Fragment, viewAddress } from "./place.ts";
import type { Placed } from "./row.ts";
import { LogSelection } from "./selection.ts";

/** After so long without a scroll event the bar is put where it belongs, in ms. */
const IDLE_MS = 150;
/** While it follows, the bar and the marks are moved so often: each time costs a layout. */
const FOLLOW_MS = 250;
/** While it follows, styles behind what is loaded are looked up so often, in ms. */
const LOOK_MS = 2000;

/** What the page can tell of a view. */
export interface ViewState {
  /** Whether the view stays at the end. */
  following: boolean;
  /** Lines that came since it stopped following. */
  missed: number;
  /** First line in view. */
  top: number;
  /** The hit or error that was gone to. */
  current: number | null;
}

/** The view of one log. */
export class LogView {
  readonly #elements: ViewElements;
  readonly selection: LogSelection;
  readonly #log: Log;
  readonly #rows: DrawnRows;
  readonly #fragment: Fragment;
  readonly #told: (state: ViewState) => void;
  readonly #ended = new AbortController();
  readonly #trim = new Throttle(() => this.#moveBar(), FOLLOW_MS);
  readonly #lookBehind = new Throttle(() => {
    if (!this.#ended.signal.aborted) void this.#log.lookBehind(this.#firstShown());
  }, LOOK_MS);
  #theme: Theme = "light";
  #rowPx = 18;
  /** Size of the view without scroll bars; asked for seldom, as that makes the browser lay out. */
  #viewPx = 0;
  #viewWidthPx = 0;
  #anchor: Anchor = { line: 0, px: 0 };
  #stick = false;
  #seenLines = 0;
  /** Lines shown while following: those whose text is there. */
  #shownLines = 0;
  #linked: LinkedLines | null = null;
  #current: number | null = null;
  #expectedTop = 0;
  #dragging = false;
  #frame = 0;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #widest = 0;
  #digits = 0;
  #opened = false;
  /** Whether a line in view waits for its text: what is waited for does not wait for a frame, too. */
  #waits = true;

  /**
   * @param log What is shown.
   * @param id Its id.
   * @param fragment Names lines of it.
   * @param told Hears where the view is.
   */
  constructor(log: Log, id: string, fragment: Fragment, told: (state: ViewState) => void) {
    this.#log = log;
    this.#fragment = fragment;
    this.#told = told;
    this.#rows = new DrawnRows(log, {
      isSelected: () => this.selection.current !== null,
      linked: () => this.#linked,
      current: () => this.#current,
      addressOf: (line) => `${fragment.page}#L${line + 1}`,
      wholeAddressOf: (line) => viewAddress(id, line),
    });
    this.#elements = viewElements(this.#rows.element);
    this.selection = new LogSelection(log, this.#rows.element);
    this.#linked = linesIn(fragment.get());
    const { signal } = this.#ended;
    const unlisten = log.listen(() => this.#logChanged());
    signal.addEventListener("abort", unlisten);
    this.element.addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    this.element.addEventListener("pointerdown", (event) => {
      this.#dragging = event.offsetX >= this.element.clientWidth && event.target === this.element;
    }, { signal });
    this.#rows.element.addEventListener(
      "pointerdown",
      (event) => this.selection.dragStarts(event),
      { signal },
    );
    addEventListener("pointerup", () => {
      this.#dragging = false;
      this.selection.dragEnds();
    }, { signal });
    this.#rows.element.addEventListener("click", (event) => this.#clicked(event), { signal });
    addEventListener("hashchange", () => this.goToLinked(), { signal });
    document.addEventListener("selectionchange", () => this.selection.changed(), { signal });
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.element);
    const widths = new ResizeObserver(() => this.#widen());
    widths.observe(this.#rows.element);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      widths.disconnect();
    });
  }

  /** What there is to tell. */
  get state(): ViewState {
    return {
      following: this.#stick && this.#log.live,
      missed: this.#stick ? 0 : Math.max(0, this.#log.lines - this.#seenLines),
      top: this.#anchor.line,
      current: this.#current,
    };
  }

  /** Ends the view. */
  close(): void {
    this.#ended.abort();
    clearTimeout(this.#idle);
    cancelAnimationFrame(this.#frame);
    this.element.remove();
  }

  /** Draws everything anew, as colours or settings have changed. */
  refresh(theme: Theme): void {
    this.#theme = theme;
    this.element.classList.toggle("wrap", this.#log.settings.all.wrap);
    this.#widest = 0;
    this.#elements.spacer.style.setProperty("--widest", "0px");
    this.#rows.clear(theme);
    this.#measureRow();
    this.schedule();
  }

  /** Draws what is at hand as it is to be printed, until `refresh`. */
  print(): void {
    const lines = printedLines(this.#log, this.#rows.lines);
    this.element.classList.add("wrap");
    this.#rows.clear("light");
    this.#rows.show(lines);
    this.#elements.paper.textContent = leftOut(this.#log, lines);
  }

  /** Scrolls by rows. */
  moveBy(rows: number): void {
    this.#nudge(rows * this.#rowPx);
  }

  /** Scrolls by views. */
  pageBy(views: number): void {
    this.#nudge(views * Math.max(this.#rowPx, this.#viewPx - 2 * this.#rowPx));
  }

  /** Shows the first line. */
  goToStart(): void {
    this.#current = null;
    this.#setAnchor(this.#log.visible.map.lineAt(0), 0);
    this.#stop();
    this.#jump();
  }

  /** Shows the last line, and follows what comes. */
  goToEnd(): void {
    this.#current = null;
    this.#stick = true;
    this.#jump();
  }

  /** Shows a line, some way down the view. */
  goToLine(line: number, current = false): void {
    this.#log.visible.reveal(line);
    this.#stop();
    this.#current = current ? line : null;
    const above = Math.floor(this.#viewPx / 3 / this.#rowPx) * this.#rowPx;
    this.#setAnchor(Math.min(line, Math.max(0, this.#log.lines - 1)), -above);
    this.#jump();
  }

  /** Shows the first line that arrived at a time or later. */
  async goToTime(timeMs: number): Promise<void> {
    const line = await this.#log.source.lineSince?.(timeMs).catch(() => null) ?? null;
    if (line !== null) this.goToLine(Math.min(line, Math.max(0, this.#log.lines - 1)), true);
  }

  /** Shows the lines, or the time, that the address names. */
  goToLinked(): void {
    const fragment = this.#fragment.get();
    this.#linked = linesIn(fragment);
    const timeMs = timeInFragment(fragment);
    if (timeMs !== null) void this.goToTime(timeMs);
    if (this.#linked !== null) this.goToLine(this.#linked.first);
    else this.schedule();
  }

  /** The hit that was gone to last; or where the view is. */
  get position(): number {
    return this.#current ?? this.#anchor.line;
  }

  /** Forgets the hit that was gone to. */
  forgetCurrent(): void {
    this.#current = null;
    this.schedule();
  }

  /** What scrolls. */
  get element(): HTMLElement {
    return this.#elements.scroller;
  }

  /** The strip of marks beside it. */
  get marks(): HTMLElement {
    return this.#elements.marks;
  }

  get #heights(): Heights {
    return {
      contentPx: this.#log.visible.map.rows * this.#rowPx,
      viewPx: this.#viewPx,
    };
  }

  #measure(): void {
    this.#viewPx = this.element.clientHeight;
    this.#viewWidthPx = this.element.clientWidth;
  }

  #measureRow(): void {
    const probe = document.createElement("div");
    probe.className = "row";
    probe.textContent = "0";
    this.#rows.element.append(probe);
    this.#rowPx = probe.getBoundingClientRect().height || 18;
    probe.remove();
  }

  #resized(): void {
    this.#measure();
    this.#elements.layer.style.height = `${this.#viewPx}px`;
    this.#elements.marks.style.right = `${this.element.offsetWidth - this.#viewWidthPx}px`;
    this.#measureRow();
    this.schedule();
  }

  #logChanged(): void {
    if (!this.#opened && this.#log.status !== null) this.#open();
    if (this.#stick) {
      this.#seenLines = this.#log.lines;
      // A frame earlier than drawing would ask for them.
      this.#want();
    }
    if (this.#waits && this.#isReady()) this.#draw();
    else this.schedule();
  }

  /** Tells whether the text is there that the view waits for. */
  #isReady(): boolean {
    const { cache } = this.#log;
    const { lines } = this.#rows;
    return lines.length === 0 ? cache.size > 0 : lines.every((line) => cache.get(line));
  }

  /** Where a log opens: at the lines that were linked, at the end while it grows, else at its start. */
  #open(): void {
    this.#opened = true;
    this.#seenLines = this.#log.lines;
    if (this.#linked !== null || timeInFragment(this.#fragment.get()) !== null) this.goToLinked();
    else this.#stick = this.#log.live;
    this.#moved = true;
    this.#draw();
  }

  #stop(): void {
    if (this.#stick) this.#seenLines = this.#log.lines;
    this.#stick = false;
  }

  #setAnchor(line: number, px: number): void {
    this.#anchor = { line, px };
  }

  #nudge(px: number): void {
    this.#anchor.px += px;
    if (px < 0) this.#stop();
    this.schedule(true);
  }

  /** The browser has scrolled: by a wheel or a finger as many pixels, by the thumb to a place. */
  #scrolled(): void {
    const top = this.element.scrollTop;
    const delta = top - this.#expectedTop;
    if (Math.abs(delta) < 1) return;
    this.#expectedTop = top;
    const heights = this.#heights;
    // A view that grew was moved by the browser, not by a person.
    if (this.#stick && top >= this.element.scrollHeight - this.element.clientHeight - 2) return;
    const isFar = Math.abs(delta) > 3 * heights.viewPx;
    if (this.#dragging || isFar) {
      const place = fromScroll(top, heights);
      const row = Math.floor(place / this.#rowPx);
      this.#setAnchor(this.#log.visible.map.lineAt(row), place - row * this.#rowPx);
      if (delta < 0) this.#stop();
      if (top >= scrollHeight(heights) - heights.viewPx - 2) this.#stick = true;
    } else this.#nudge(delta);
    this.schedule();
    this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      this.#placeBar();
      void this.#log.lookBehind(this.#firstShown());
    }, IDLE_MS);
  }

  #firstShown(): number {
    return Math.min(...this.#rows.lines, this.#anchor.line);
  }

  /** Puts the bar where the view is. */
  #placeBar(): void {
    const heights = this.#heights;
    const row = this.#log.visible.map.rowOf(this.#anchor.line);
    const wanted = this.#stick
      ? scrollHeight(heights) - heights.viewPx
      : toScroll(row * this.#rowPx + this.#anchor.px, heights);
    if (Math.abs(wanted - this.element.scrollTop) >= 1) this.element.scrollTop = wanted;
    this.#expectedTop = this.element.scrollTop;
  }

  /** Draws at once, so that what is missing is asked for a frame earlier. */
  #jump(): void {
    this.#moved = true;
    this.#draw();
  }

  /**
   * Draws in the next frame.
   * @param moved Whether the bar has to follow.
   */
  schedule(moved = false): void {
    if (moved) this.#moved = true;
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #moved = false;

  #draw(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#viewPx === 0) this.#measure();
    if (this.#viewPx === 0) return;
    this.#place(this.#endOfRows());
    this.#waits = !this.#isReady();
    if (this.#stick && !this.#moved) this.#trim.ask();
    else this.#moveBar();
    if (this.#moved) this.#settle();
    this.#moved = false;
    this.#want();
    this.selection.restore();
    this.#told(this.state);
  }

  /** Brings the scroll bar, and the marks beside it, up to date. */
  #moveBar(): void {
    if (this.#ended.signal.aborted) return;
    this.#elements.spacer.style.height = `${scrollHeight(this.#heights)}px`;
    if (this.#moved || this.#stick) this.#placeBar();
    if (this.#stick) this.#lookBehind.ask();
    drawMarks(this.#elements.marks, this.#log, this.#theme, this.#rowPx);
  }

  /** While following, lines are shown when their text is there, so that nothing flickers. */
  #endOfRows(): number {
    const { visible: { map }, places: lines, cache } = this.#log;
    if (!this.#stick) {
      this.#shownLines = lines;
      return map.rows;
    }
    const view = Math.ceil(this.#viewPx / this.#rowPx) + SPARE_ROWS;
    const isThere = cache.has([Math.max(0, map.lineAt(Math.max(0, map.rows - view))), lines]);
    if (isThere || this.#shownLines === 0 || this.#shownLines > lines) this.#shownLines = lines;
    return this.#shownLines === lines ? map.rows : map.rowOf(this.#shownLines);
  }

  /** Draws the rows that are in view, and puts them in their place. */
  #place(end: number): void {
    const { visible: { map }, settings, live } = this.#log;
    const draw = (first: number, end: number) => this.#fill(first, end);
    const { wrap } = settings.all;
    const room = { map, end, rowPx: this.#rowPx, viewPx: this.#viewPx, wrap, draw };
    const placed = this.#stick ? placeEnd(room) : placeAround(this.#anchor, room);
    this.#anchor = placed.anchor;
    this.#rows.element.style.transform = `translateY(${Math.round(placed.shiftPx)}px)`;
    if (!placed.isBeyond || !live) return;
    this.#stick = true;
    this.#seenLines = this.#log.lines;
  }

  /** Draws exactly these rows; their heights. */
  #fill(first: number, end: number): number[] {
    const { map } = this.#log.visible;
    const wrap = this.#log.settings.all.wrap;
    const lines = Array.from(
      { length: Math.max(0, end - first) },
      (_, at) => map.lineAt(first + at),
    );
    this.#rows.show(lines);
    this.#setDigits(end);
    if (!wrap) return Array.from({ length: end - first }, () => this.#rowPx);
    return lines.map((line) => this.#rows.heightOf(line));
  }

  /** The content is as wide as the widest row seen: the bar does not jump. */
  #widen(): void {
    if (this.#log.settings.all.wrap) return;
    const width = this.#rows.element.offsetWidth;
    if (width <= this.#widest) return;
    this.#widest = width;
    this.#elements.spacer.style.setProperty(
      "--widest",
      width > this.#viewWidthPx ? `${width}px` : "0px",
    );
  }

  /** Numbers have the room that the largest one takes. */
  #setDigits(end: number): void {
    const digits = Math.max(3, String(Math.max(1, this.#log.lines, end)).length);
    if (digits === this.#digits) return;
    this.#digits = digits;
    this.element.style.setProperty("--digits", String(digits));
  }

  /** Says which lines are to be read. */
  #want(): void {
    if (this.#log.lines === 0) return;
    const inView = Math.ceil(this.#viewPx / this.#rowPx) + 2 * SPARE_ROWS;
    this.#log.cache.want(wantedLines(this.#log, this.#rows.lines, this.#stick ? inView : 0));
  }

  #clicked(event: MouseEvent): void {
    const target = event.target as Element;
    const row = target.closest<Placed>(".row");
    if (row?.line === undefined) return;
    if (target.closest(".number")) {
      event.preventDefault();
      this.#link(row.line, event.shiftKey);
    } else if (target.closest(".fold")) {
      const group = this.#log.outline.groupAt(row.line);
      if (group !== undefined) this.#log.visible.toggle(group);
    } else if (target.closest(".gap")) {
      this.#log.visible.filter(false);
      this.goToLine(row.line);
    }
  }

  /** Makes the address one of a line, or of all lines from the one before; history stays as it is. */
  #link(line: number, extend: boolean): void {
    const start = extend && this.#linked !== null ? this.#linked.first : line;
    const end = extend && this.#linked !== null && line < start ? this.#linked.last : line;
    const linked = { first: Math.min(start, line), last: Math.max(end, line) };
    this.#linked = linked;
    this.#fragment.set(fragmentOf(linked));
    this.#stop();
    this.schedule();
  }
}
