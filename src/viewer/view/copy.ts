/**
 * Copies what is selected, also of lines that are not in the page: clean text, in logical order.
 * @module
 */
import type { Log } from "../model/log.ts";
import { ordered, type Selection, textOfSelection } from "../model/selection.ts";
import { PLAIN } from "../model/style.ts";
import { rawRow, rowsOf } from "../model/terminal.ts";
import { numbered } from "./parts.tsx";
import type { LogSelection } from "./selection.ts";

/** More is not for a clipboard. */
const MAX_COPY_BYTES = 64_000_000;

/** Handles a copy; what has to be read first is copied a moment later. */
export function copySelection(
  event: ClipboardEvent,
  log: Log,
  selection: LogSelection,
  notify: (text: string) => void,
): void {
  const { current } = selection;
  if (current === null || event.target instanceof HTMLInputElement) return;
  const [first, last] = ordered(current);
  if (first.line === last.line && first.character === last.character) return;
  event.preventDefault();
  const text = selection.textAtHand();
  if (text !== null) {
    event.clipboardData?.setData("text/plain", text);
    return;
  }
  const reading = readSelection(log, current);
  const lines = numbered(last.line - first.line + 1, log.source.unit);
  notify(`Reading ${lines} …`);
  writeLater(reading).then(
    () => notify(`${lines} copied.`),
    (error) => notify(error instanceof Error ? error.message : String(error)),
  );
}

/** The clipboard takes a text that comes later, where the page is one that browsers trust. */
async function writeLater(reading: Promise<string>): Promise<void> {
  if (navigator.clipboard === undefined) {
    await reading;
    throw new Error("This browser lets only pages of https copy what is not in view: download it.");
  }
  const blob = reading.then((text) => new Blob([text], { type: "text/plain" }));
  blob.catch(() => {});
  try {
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
  } catch (error) {
    await reading;
    throw error;
  }
}

/** Reads the lines of a selection and shows them as the view would. */
async function readSelection(log: Log, selection: Selection): Promise<string> {
  const [first, last] = ordered(selection);
  const { signal } = new AbortController();
  const lines = await log.source.texts([first.line, last.line + 1], MAX_COPY_BYTES, signal);
  const rows = log.settings.all.raw ? lines.map(rawRow) : rowsOf(lines, PLAIN);
  return textOfSelection(
    selection,
    (line) => log.visible.map.isHidden(line) ? null : rows[line - first.line]?.text ?? null,
    log.joint,
  );
}
