/**
 * The page of an upload context: its resources with their states, and their logs one by one or side by side.
 * @module
 */
import { useEffect, useMemo, useState } from "preact/hooks";
import { ContextFeed, type Member } from "../model/context.ts";
import { plainly } from "../model/pieces.ts";
import { Log } from "../model/log.ts";
import { fragmentOfLogs, logsIn } from "../model/permalink.ts";
import { ResourceSource } from "../model/source.ts";
import { onVisibility, settings, useRedraw } from "./hooks.ts";
import { LogPane } from "./log_pane.tsx";
import { numbered, Problem, State, Top, Waiting } from "./parts.tsx";
import { addressOf, fragmentOf, readerOf, server, token, viewAddress } from "./place.ts";
import { bytesText } from "./row.ts";

/** Logs side by side; more cannot be read. */
const MAX_PANES = 4;

/** The page of a context. */
export function ContextPage({ contextId }: { contextId: string }) {
  const redraw = useRedraw();
  const feed = useMemo(() => new ContextFeed(server, contextId, token(), redraw), [contextId]);
  const [shown, setShown] = useState<string[]>(idsShown);
  const [active, setActive] = useState<string | null>(null);
  useEffect(() => {
    document.title = plainly(contextId);
    void feed.open();
    const ends = onVisibility((visible) => visible ? void feed.open() : feed.sleep());
    return () => {
      ends();
      feed.sleep();
    };
  }, [feed]);
  const members = [...feed.members.values()];
  const ids = shown.length > 0 ? shown : members.filter(isText).slice(0, 1).map(({ id }) => id);
  const show = (next: string[]) => {
    setShown(next);
    setActive(next.at(-1) ?? null);
    const named = logsIn(location.hash);
    const logs = new Map(next.map((id) => [id, named.get(id) ?? ""]));
    history.replaceState(history.state, "", fragmentOfLogs(logs));
  };
  useEffect(() => {
    const changed = () => setShown(idsShown());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const lost = feed.link.state === "lost" ? feed.link : null;
  const isKnown = members.length > 0 || feed.link.state === "live";
  const beside = (id: string) =>
    show(ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id].slice(-MAX_PANES));
  if (feed.problem !== null) {
    return (
      <>
        <Top>
          <h1>{plainly(contextId)}</h1>
        </Top>
        <main>
          <Problem error={feed.problem} retry={() => location.reload()} />
        </main>
      </>
    );
  }
  return (
    <>
      <Top>
        <h1>{plainly(contextId)}</h1>
        {isKnown && <span class="size">{numbered(members.length, "resource")}</span>}
        {isKnown && lost !== null && (
          <span class="state lost" role="status">connection lost, trying again</span>
        )}
      </Top>
      <main class="run">
        {!isKnown && lost !== null && <Waiting link={lost} />}
        <nav aria-label="Resources of this context">
          <ul>
            {members.map((member) => (
              <MemberItem
                key={member.id}
                member={member}
                shown={ids.includes(member.id)}
                show={() => show([member.id])}
                beside={() => beside(member.id)}
              />
            ))}
          </ul>
          {feed.refused.map(({ filename, code }, at) => (
            <p key={at} class="ending failed">{plainly(filename)} was refused: {code}</p>
          ))}
        </nav>
        <div class="panes">
          {ids.map((id) => (
            <div
              class="side"
              key={id}
              onFocusCapture={() => setActive(id)}
              onPointerDownCapture={() => setActive(id)}
            >
              <MemberPane
                feed={feed}
                id={id}
                active={id === (active ?? ids[0])}
              />
            </div>
          ))}
        </div>
      </main>
    </>
  );
}

function MemberItem({ member, shown, show, beside }: {
  member: Member;
  shown: boolean;
  show: () => void;
  beside: () => void;
}) {
  const { id, status } = member;
  const filename = plainly(member.filename);
  return (
    <li class={shown ? "shown" : ""}>
      {isText(member)
        ? (
          <a
            href={`#${id}`}
            aria-current={shown}
            onClick={(event) => {
              event.preventDefault();
              show();
            }}
          >
            {filename}
          </a>
        )
        : <a href={viewAddress(id)}>{filename}</a>}
      <span class="facts-of">
        <State status={status?.transferStatus ?? "INITIATED"} />
        <span class="size">{bytesText(status?.currentSize ?? 0)}</span>
      </span>
      {isText(member) && (
        <button
          type="button"
          class="tool"
          aria-pressed={shown}
          aria-label={`Show ${filename} beside the others`}
          title="Beside the others"
          onClick={beside}
        >
          ◫
        </button>
      )}
    </li>
  );
}

function MemberPane({ feed, id, active }: { feed: ContextFeed; id: string; active: boolean }) {
  const log = useMemo(() => {
    const watch = (signal: AbortSignal, onRetry: Parameters<typeof feed.statuses>[2]) =>
      feed.statuses(id, signal, onRetry);
    return new Log(new ResourceSource(addressOf(id), readerOf(id), watch), settings);
  }, [feed, id]);
  useEffect(() => {
    void log.open();
    return () => log.close();
  }, [log]);
  const fragment = useMemo(() => fragmentOf(id), [id]);
  const name = plainly(feed.members.get(id)?.filename ?? id);
  return (
    <LogPane log={log} id={id} fragment={fragment} active={active}>
      <a class="title" href={viewAddress(id)} title={name}>{name}</a>
    </LogPane>
  );
}

function isText({ supportsLineAccess }: Member): boolean {
  return supportsLineAccess;
}

function idsShown(): string[] {
  return [...logsIn(location.hash).keys()].slice(0, MAX_PANES);
}
