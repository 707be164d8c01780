/**
 * The keys of a log.
 * @module
 */
import type { LogView } from "./log_view.ts";

/** What keys do. */
export interface KeyActions {
  view: LogView;
  searchInput(): HTMLInputElement | null;
  searching(): boolean;
  /** Null where nothing can be searched: then Ctrl-F is the browser's. */
  openSearch: (() => void) | null;
  closeSearch(): void;
  nextHit(): void;
  previousHit(): void;
  nextError(): void;
  previousError(): void;
  filter(): void;
  wrap(): void;
  raw(): void;
  times(): void;
  ask(): void;
  foldAll(open: boolean): void;
  help(): void;
}

/** Makes the listener for keys. */
export function keysOf(actions: KeyActions): (event: KeyboardEvent) => void {
  const plain = plainKeys(actions);
  return (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
    // Many layouts write brackets with AltGr, which some systems tell as Ctrl and Alt.
    const isWritten = event.altKey && /^[^\w\s]$/.test(event.key);
    if ((event.ctrlKey || event.metaKey) && !isWritten) return withControl(event, actions);
    if (event.altKey && !isWritten || isTyping(event.target)) return;
    const act = plain[event.key === " " && event.shiftKey ? "Shift " : event.key];
    if (act === undefined || isButtonKey(event)) return;
    event.preventDefault();
    act();
  };
}

function plainKeys(actions: KeyActions): Record<string, () => void> {
  const { view } = actions;
  return {
    j: () => view.moveBy(1),
    ArrowDown: () => view.moveBy(1),
    k: () => view.moveBy(-1),
    ArrowUp: () => view.moveBy(-1),
    " ": () => view.pageBy(1),
    PageDown: () => view.pageBy(1),
    "Shift ": () => view.pageBy(-1),
    PageUp: () => view.pageBy(-1),
    g: () => view.goToStart(),
    Home: () => view.goToStart(),
    G: () => view.goToEnd(),
    End: () => view.goToEnd(),
    "/": () => actions.openSearch?.(),
    n: () => actions.nextHit(),
    N: () => actions.previousHit(),
    e: () => actions.nextError(),
    E: () => actions.previousError(),
    f: () => actions.filter(),
    w: () => actions.wrap(),
    r: () => actions.raw(),
    t: () => actions.times(),
    ":": () => actions.ask(),
    "[": () => actions.foldAll(false),
    "]": () => actions.foldAll(true),
    "?": () => actions.help(),
    Escape: () => actions.closeSearch(),
  };
}

/** The first Ctrl-F is ours, the second the browser's. */
function withControl(event: KeyboardEvent, actions: KeyActions): void {
  const key = event.key.toLowerCase();
  if (event.shiftKey || event.altKey) return;
  if (key === "f" && actions.openSearch !== null) {
    const input = actions.searchInput();
    if (input !== null && document.activeElement === input) return;
    event.preventDefault();
    actions.openSearch();
  } else if (key === "a" && !isTyping(event.target)) {
    event.preventDefault();
    actions.view.selection.selectAll();
  } else if (key === "home") actions.view.goToStart();
  else if (key === "end") actions.view.goToEnd();
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement;
}

/** Space presses the button that has the focus. */
function isButtonKey({ key, target }: KeyboardEvent): boolean {
  return key === " " && target instanceof Element && target.closest("button, a, summary") !== null;
}
