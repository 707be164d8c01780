/**
 * One log with its tools.
 * @module
 */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type LostLink, secondsLeft } from "../model/link.ts";
import { plainly } from "../model/pieces.ts";
import type { Log } from "../model/log.ts";
import type { Query } from "../model/searcher.ts";
import { copySelection } from "./copy.ts";
import {
  onPrint,
  onSystemTheme,
  settings,
  themeNow,
  useLog,
  useRedraw,
  useSeconds,
} from "./hooks.ts";
import { keysOf } from "./keys.ts";
import { LogView } from "./log_view.ts";
import {
  ContentLink,
  Help,
  numbered,
  Options,
  Problem,
  State,
  ThemeTool,
  Tool,
  Waiting,
} from "./parts.tsx";
import { bytesText } from "./row.ts";
import { timeIn } from "../model/times.ts";
import { SearchBar } from "./search_bar.tsx";
import { Announcer } from "./announcer.tsx";
import { type Fragment, ownFragment } from "./place.ts";

/** Shows one log. */
export function LogPane({ log, id, fragment = ownFragment, active = true, children }: {
  log: Log;
  id: string;
  /** Names lines of it in the address. */
  fragment?: Fragment;
  /** Whether keys are for this one. */
  active?: boolean;
  children?: preact.ComponentChildren;
}) {
  useLog(log);
  const redraw = useRedraw();
  const frame = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const [searching, setSearching] = useState(false);
  const [help, setHelp] = useState(false);
  const [asking, setAsking] = useState(false);
  const [notice, setNotice] = useState("");
  const view = useMemo(() => new LogView(log, id, fragment, redraw), [log]);
  useEffect(() => {
    frame.current!.prepend(view.element, view.marks);
    view.refresh(themeNow());
    const ends = onSystemTheme(() => view.refresh(themeNow()));
    return () => {
      ends();
      view.close();
    };
  }, [view]);

  useEffect(() => onPrint(() => view.print(), () => view.refresh(themeNow())), [view]);

  const refresh = () => {
    log.redraw();
    view.refresh(themeNow());
    redraw();
  };
  const change = (changed: Parameters<typeof settings.set>[0]) => {
    settings.set(changed);
    refresh();
  };
  const isSearchable = log.source.find !== null;
  const openSearch = () => {
    setSearching(true);
    queueMicrotask(() => requestAnimationFrame(() => input.current?.select()));
  };
  const closeSearch = () => {
    log.find(null);
    view.forgetCurrent();
    setSearching(false);
    view.element.focus();
  };
  const actions = {
    next: () => goTo(log.search.after(view.position) ?? log.search.hits[0]),
    previous: () => goTo(log.search.before(view.position) ?? log.search.hits.at(-1)),
    close: closeSearch,
  };
  const errors = {
    next: () => error(nextIn(log.outline.errors, view.position)),
    previous: () => error(previousIn(log.outline.errors, view.position)),
  };
  const goTo = (line: number | undefined) => {
    if (line !== undefined) view.goToLine(line, true);
  };
  const error = (line: number | undefined) => {
    if (log.outliner.query === null) log.findOutline();
    goTo(line);
  };
  useFirstHit(log, view, searching);
  useEffect(() => {
    if (settings.all.times !== "ago") return;
    const timer = setInterval(() => view.schedule(), 1000);
    return () => clearInterval(timer);
  }, [view, settings.all.times]);
  const { all } = settings;
  const state = view.state;

  useEffect(() => {
    if (!active) return;
    const keyed = keysOf({
      view,
      searchInput: () => input.current,
      openSearch: isSearchable ? openSearch : null,
      closeSearch,
      searching: () => searching,
      nextHit: actions.next,
      previousHit: actions.previous,
      nextError: errors.next,
      previousError: errors.previous,
      filter: () => log.search.query !== null && log.visible.filter(!log.visible.filtered),
      wrap: () => change({ wrap: !settings.all.wrap }),
      raw: () => change({ raw: !settings.all.raw }),
      times: () => change({ times: nextTimes(settings.all.times) }),
      ask: () => setAsking(true),
      foldAll: (open) => log.visible.toggleAll(open),
      help: () => setHelp(true),
    });
    const copied = (event: ClipboardEvent) => copySelection(event, log, view.selection, setNotice);
    document.addEventListener("keydown", keyed);
    document.addEventListener("copy", copied);
    return () => {
      document.removeEventListener("keydown", keyed);
      document.removeEventListener("copy", copied);
    };
  });

  return (
    <section class="pane" aria-label={plainly(log.info?.filename ?? id)}>
      {log.problem === null && (
        <div class="bar">
          {children}
          <Status log={log} />
          <div class="actions">
            {isSearchable && (
              <>
                <Tool
                  label="Search"
                  keys="/"
                  pressed={searching}
                  onClick={searching ? closeSearch : openSearch}
                >
                  Search
                </Tool>
                <Errors log={log} errors={errors} />
              </>
            )}
            <Options>
              {log.outline.groups.length > 0 && (
                <>
                  <Tool
                    label="Fold all groups"
                    keys="["
                    onClick={() => log.visible.toggleAll(false)}
                  >
                    Fold
                  </Tool>
                  <Tool
                    label="Open all groups"
                    keys="]"
                    onClick={() => log.visible.toggleAll(true)}
                  >
                    Open
                  </Tool>
                </>
              )}
              <Tool
                label="Wrap long lines"
                keys="w"
                pressed={all.wrap}
                onClick={() => change({ wrap: !all.wrap })}
              >
                Wrap
              </Tool>
              <Tool
                label="Colours"
                pressed={all.colours}
                onClick={() => change({ colours: !all.colours })}
              >
                Colours
              </Tool>
              <Tool
                label="Raw: everything as it is stored"
                keys="r"
                pressed={all.raw}
                onClick={() => change({ raw: !all.raw })}
              >
                Raw
              </Tool>
              <Tool
                label={`Times: ${TIMES[all.times]}`}
                keys="t"
                pressed={all.times !== "off"}
                onClick={() => change({ times: nextTimes(all.times) })}
              >
                Times
              </Tool>
              <Tool label="Go to a line or a time" keys=":" onClick={() => setAsking(!asking)}>
                Go to
              </Tool>
              <ContentLink id={id} name={log.info?.filename ?? id} download={false}>
                Text
              </ContentLink>
              <ContentLink id={id} name={log.info?.filename ?? id} download>Download</ContentLink>
              <ThemeTool onChange={refresh} />
              <Tool label="Keys" keys="?" onClick={() => setHelp(true)}>
                ?<span class="word">Keys</span>
              </Tool>
            </Options>
          </div>
        </div>
      )}
      {asking && (
        <GoTo
          log={log}
          go={(line) => {
            setAsking(false);
            view.goToLine(line);
            view.element.focus();
          }}
          goToTime={(timeMs) => {
            setAsking(false);
            fragment.set(`#T${new Date(timeMs).toISOString()}`);
            void view.goToTime(timeMs);
            view.element.focus();
          }}
          close={() => setAsking(false)}
        />
      )}
      {searching && (
        <SearchBar
          log={log}
          input={input}
          position={state.current}
          actions={actions}
        />
      )}
      <div class="frame" ref={frame}>
        {log.problem !== null && <Problem error={log.problem} retry={() => location.reload()} />}
        {log.status === null && log.link.state === "lost" && <Waiting link={log.link} />}
        {log.problem === null && log.reading.unread !== null && log.link.state !== "lost" && (
          <Unread link={log.reading.unread} />
        )}
        {log.live && !state.following && (
          <button
            type="button"
            class="missed"
            onClick={() => view.goToEnd()}
          >
            {state.missed > 0
              ? `${numbered(state.missed, "new line")} – to the end`
              : "Follow – to the end"}
          </button>
        )}
        {notice !== "" && (
          <div class="notice" role="status">
            {notice}{" "}
            <button type="button" onClick={() => setNotice("")} aria-label="Dismiss">✕</button>
          </div>
        )}
      </div>
      <Ending log={log} />
      <Announcer log={log} following={state.following} />
      {help && <Help close={() => setHelp(false)} />}
    </section>
  );
}

/** How many lines tell of errors, and the way from one to the next. */
function Errors(
  { log, errors }: { log: Log; errors: { next: () => void; previous: () => void } },
) {
  const count = log.outline.errors.length;
  return (
    <div class="errors" role="group" aria-label="Lines that tell of an error">
      <Tool
        label="Previous error"
        keys="E"
        disabled={count === 0}
        onClick={errors.previous}
      >
        ↑
      </Tool>
      <span class={count > 0 ? "total some" : "total"}>
        {count > 0 ? numbered(count, "error") : log.outlined ? "no errors" : "errors"}
      </span>
      <Tool
        label="Next error"
        keys="e"
        disabled={log.outlined && count === 0}
        onClick={errors.next}
      >
        ↓
      </Tool>
    </div>
  );
}

/** Goes to the first hit at or behind the view as soon as it is there. */
function useFirstHit(log: Log, view: LogView, searching: boolean): void {
  const gone = useRef<Query | null>(null);
  const start = useRef(0);
  useEffect(() => {
    if (!searching) return;
    const { query } = log.search;
    if (query === null || query === gone.current) {
      if (query === null) start.current = view.position;
      return;
    }
    const hit = log.search.after(start.current - 1) ??
      (log.search.running ? undefined : log.search.hits[0]);
    if (hit === undefined || hit === null) {
      // What comes in later must not move the view.
      if (!log.search.running) gone.current = query;
      return;
    }
    gone.current = query;
    view.goToLine(hit, true);
  });
}

/** What is known of the end: never more than that. */
function Status({ log }: { log: Log }) {
  const { status, link } = log;
  useSeconds(link.state === "lost");
  if (status === null) return <span class="state">{log.problem === null ? "opening" : ""}</span>;
  const { unit } = log.source;
  const lines = status.numberOfLines === null ? "" : `${numbered(status.numberOfLines, unit)}, `;
  return (
    <>
      {unit === "line" && (link.state === "lost"
        ? (
          <span class="state lost" title={link.reason}>
            connection lost, again in {secondsLeft(link)} s
          </span>
        )
        : <State status={status.transferStatus} />)}
      <span class="size">{lines}{bytesText(status.currentSize)}</span>
    </>
  );
}

/** Why lines in view do not come; what changes every second is not read out. */
function Unread({ link }: { link: LostLink }) {
  useSeconds(true);
  return (
    <div class="notice">
      <span role="status">These lines cannot be read: {link.reason}.</span> Again in{" "}
      {secondsLeft(link)} s.
    </div>
  );
}

/** How a log ended, below its last line. */
function Ending({ log }: { log: Log }) {
  const { status, problem } = log;
  if (status?.transferStatus !== "FAILED" || problem !== null) return null;
  return (
    <p class="ending failed" role="status">
      FAILED – {plainly(status.failure ?? "no reason was given")}. Everything that arrived is shown.
    </p>
  );
}

function GoTo(
  { log, go, goToTime, close }: {
    log: Log;
    go: (line: number) => void;
    goToTime: (timeMs: number) => void;
    close: () => void;
  },
) {
  const { lines, info } = log;
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current!.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    const { value } = input.current!;
    const endMs = log.live ? Date.now() : Date.parse(info?.updatedAt ?? "");
    const timeMs = timeIn(value, Date.parse(info?.createdAt ?? ""), endMs);
    if (timeMs !== null) return goToTime(timeMs);
    const line = /^[\d\s.,'_]+$/.test(value) ? Number(value.replace(/\D/g, "")) : 0;
    if (line >= 1) return go(Math.max(0, Math.min(line, lines) - 1));
    input.current!.setCustomValidity("This is neither a line nor a time.");
    input.current!.reportValidity();
  };
  return (
    <form class="goto" onSubmit={submit}>
      <label>
        Line or time{" "}
        <input
          ref={input}
          placeholder="120 or 14:05:30"
          autocomplete="off"
          onInput={(event) => event.currentTarget.setCustomValidity("")}
          onKeyDown={(event) => event.key === "Escape" && close()}
        />
      </label>{" "}
      of {lines.toLocaleString("en")} <button type="submit">Go</button>
    </form>
  );
}

const TIMES: Record<typeof settings.all.times, string> = {
  off: "none",
  clock: "of this machine's clock",
  utc: "in UTC",
  ago: "until now",
  elapsed: "since the beginning",
};

function nextTimes(times: typeof settings.all.times): typeof settings.all.times {
  const all = ["off", "clock", "utc", "ago", "elapsed"] as const;
  return all[(all.indexOf(times) + 1) % all.length];
}

function nextIn(lines: readonly number[], line: number): number | undefined {
  return lines.find((other) => other > line) ?? lines[0];
}

function previousIn(lines: readonly number[], line: number): number | undefined {
  return lines.findLast((other) => other < line) ?? lines.at(-1);
}
