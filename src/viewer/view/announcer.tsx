/**
 * Tells people who cannot see the page what happens, seldom enough to be heard.
 * @module
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Log } from "../model/log.ts";
import { STATES } from "./parts.tsx";

const PAUSE_MS = 5000;

/** A region that says how many lines came, and how the log ended; never the same twice. */
export function Announcer({ log, following }: { log: Log; following: boolean }) {
  const [text, setText] = useState("");
  const told = useRef({ lines: log.lines, atMs: 0, state: "" });
  useEffect(() => {
    const last = told.current;
    const { status, link } = log;
    const known = status === null ? "" : STATES[status.transferStatus];
    const state = link.state === "lost" ? "connection lost" : known;
    const nowMs = Date.now();
    if (state !== last.state) {
      told.current = { lines: log.lines, atMs: nowMs, state };
      if (last.state !== "") setText(state);
    } else if (following && log.lines > last.lines && nowMs - last.atMs > PAUSE_MS) {
      const newest = log.shownText(log.lines - 1)?.slice(0, 200) ?? "";
      setText(`${log.lines - last.lines} new lines. ${newest}`);
      told.current = { lines: log.lines, atMs: nowMs, state };
    }
  });
  return <div class="unseen" aria-live="polite">{text}</div>;
}
