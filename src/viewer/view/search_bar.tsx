/**
 * Searches the whole log, and says how far that is.
 * @module
 */
import type { Ref } from "preact";
import { useEffect, useState } from "preact/hooks";
import { toStreamError } from "../../protocol.ts";
import type { Log } from "../model/log.ts";
import type { Query } from "../model/searcher.ts";
import { settings } from "./hooks.ts";
import { Tool } from "./parts.tsx";

/** A pause in typing, in ms. */
const TYPING_MS = 200;

/** What the bar does to the view. */
export interface SearchActions {
  next(): void;
  previous(): void;
  close(): void;
}

/** The search bar. */
export function SearchBar(
  { log, input, position, actions }: {
    log: Log;
    input: Ref<HTMLInputElement>;
    position: number | null;
    actions: SearchActions;
  },
) {
  const [pattern, setPattern] = useState(log.search.query?.pattern ?? "");
  const [regex, setRegex] = useState(log.search.query?.regex ?? false);
  const [cased, setCased] = useState(log.search.query?.ignoreCase === false);
  useEffect(() => {
    const query: Query | null = pattern === "" ? null : { pattern, regex, ignoreCase: !cased };
    if (sameQuery(query, log.search.query)) return;
    const timer = setTimeout(() => log.find(query), TYPING_MS);
    return () => clearTimeout(timer);
  }, [pattern, regex, cased]);
  const keyed = (event: KeyboardEvent) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.shiftKey) actions.previous();
      else actions.next();
    } else if (event.key === "Escape") actions.close();
  };
  return (
    <div class="search" role="search">
      <input
        ref={input}
        type="search"
        aria-label="Search the whole log"
        placeholder="Search the whole log"
        value={pattern}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setPattern(event.currentTarget.value)}
        onKeyDown={keyed}
      />
      <Tool label="Match case" pressed={cased} onClick={() => setCased(!cased)}>Aa</Tool>
      <Tool label="Regular expression" pressed={regex} onClick={() => setRegex(!regex)}>.*</Tool>
      <Tool label="Previous hit" keys="N" onClick={actions.previous}>↑</Tool>
      <Tool label="Next hit" keys="n" onClick={actions.next}>↓</Tool>
      <span class="count" role="status" aria-live={log.search.running ? "off" : "polite"}>
        {countText(log, position)}
      </span>
      {log.search.running && (
        <Tool
          label="Cancel the search"
          onClick={() => {
            log.search.cancel();
            log.changed();
          }}
        >
          ■
        </Tool>
      )}
      <Filter log={log} />
      <Tool label="End the search" keys="Esc" onClick={actions.close}>✕</Tool>
    </div>
  );
}

function Filter({ log }: { log: Log }) {
  const { context } = settings.all;
  return (
    <>
      <Tool
        label="Only hits"
        keys="f"
        pressed={log.visible.filtered}
        disabled={log.search.query === null}
        onClick={() => log.visible.filter(!log.visible.filtered)}
      >
        Only hits
      </Tool>
      {log.visible.filtered && (
        <label class="context">
          ±{" "}
          <input
            type="number"
            aria-label="Lines around each hit"
            min="0"
            max="99"
            value={context}
            onInput={(event) => {
              const lines = Math.max(0, Math.min(99, Number(event.currentTarget.value) || 0));
              settings.set({ context: lines });
              log.redraw();
            }}
          />
        </label>
      )}
    </>
  );
}

function sameQuery(one: Query | null, other: Query | null): boolean {
  return one?.pattern === other?.pattern && one?.regex === other?.regex &&
    one?.ignoreCase === other?.ignoreCase;
}

/** What was found, and how much of the log has been looked at. */
function countText(log: Log, position: number | null): string {
  const { search, lines } = log;
  if (search.query === null) return "";
  if (search.error !== null) return toStreamError(search.error).message;
  const all = `${search.hits.length.toLocaleString("en")}${search.capped ? "+" : ""}`;
  const number = position === null ? 0 : search.numberOf(position);
  const found = number > 0 ? `${number.toLocaleString("en")} of ${all}` : `${all} found`;
  if (search.searched >= lines || search.capped) return found;
  const part = Math.floor(100 * search.searched / Math.max(1, lines));
  return `${found}, ${search.running ? "searching" : "searched"} ${part} %`;
}
