/**
 * The page of one resource.
 * @module
 */
import { useEffect, useMemo } from "preact/hooks";
import { linesIn } from "../model/permalink.ts";
import { plainly } from "../model/pieces.ts";
import { Log } from "../model/log.ts";
import { type LogSource, LongLineSource, ResourceSource } from "../model/source.ts";
import { Content } from "./content.tsx";
import { onVisibility, settings, useLog } from "./hooks.ts";
import { LogPane } from "./log_pane.tsx";
import { Facts, Problem, State, ThemeTool, Top } from "./parts.tsx";
import { addressOf, contextAddress, readerOf, viewAddress } from "./place.ts";

/** While nobody looks the title is brought up to date so often, in ms. */
const PEEK_MS = 30_000;

/** The page of one resource; of one long line of it where the address names one. */
export function LogPage({ id, line }: { id: string; line: number | null }) {
  const log = useMemo(() => new Log(sourceOf(id, line), settings), [id, line]);
  useLog(log);
  useEffect(() => {
    void log.open(linesIn(location.hash)?.first ?? 0);
    return () => log.close();
  }, [log]);
  useEffect(() => attend(log), [log]);
  const { info, status } = log;
  const name = plainly(info?.filename ?? id);
  useEffect(() => {
    document.title = line === null ? `${signOf(log)}${name}` : `${name}: line ${line + 1}`;
  });
  const isText = info === null || info.supportsLineAccess;
  return (
    <>
      <Top>
        <h1 title={name}>{name}</h1>
        {line !== null && (
          <a href={`${viewAddress(id)}#L${line + 1}`}>line {line + 1}, back to all lines</a>
        )}
        {info?.contextId && <a href={contextAddress(info.contextId)}>{plainly(info.contextId)}</a>}
        <span class="spring" />
        {info !== null && <Facts info={info} />}
      </Top>
      <main>
        {isText ? <LogPane log={log} id={id} /> : log.problem === null
          ? (
            <>
              <div class="bar">
                <State status={status!.transferStatus} />
                <span class="spring" />
                <ThemeTool onChange={() => log.changed()} />
              </div>
              <Content info={{ ...info, ...status }} />
            </>
          )
          : <Problem error={log.problem} retry={() => location.reload()} />}
      </main>
    </>
  );
}

/** What a title says of a log before its name. */
function signOf({ status, problem, link }: Log): string {
  if (problem !== null || link.state === "lost") return "⚠ ";
  const signs = { INITIATED: "… ", IN_PROGRESS: "▶ ", COMPLETED: "", FAILED: "✗ " };
  return status === null ? "" : signs[status.transferStatus];
}

function sourceOf(id: string, line: number | null): LogSource {
  const whole = new ResourceSource(addressOf(id), readerOf(id));
  return line === null ? whole : new LongLineSource(whole, line);
}

/** A hidden page costs next to nothing, and is complete when it is shown again. */
function attend(log: Log): () => void {
  let timer: ReturnType<typeof setInterval> | undefined;
  const ends = onVisibility((visible) => {
    clearInterval(timer);
    if (visible) {
      if (log.link.state === "asleep") void log.open();
      return;
    }
    log.sleep();
    timer = setInterval(() => void log.peek(), PEEK_MS);
  });
  return () => {
    clearInterval(timer);
    ends();
  };
}
