/**
 * Reads by the process that has the server, without a connection.
 * @module
 */
import { Bell } from "../../bell.ts";
import { checkStart, isFinal, LIMITS, type LinePosition, StreamError } from "../../protocol.ts";
import { LossWatch } from "./bytes.ts";
import type { OpenResource } from "./cache.ts";
import { readLinePage } from "./lines.ts";
import type { Resource } from "./resource.ts";

/** One read. */
const READ_BYTES = 256 * 1024;
const LINE_BREAK = 10;

/** Which bytes to read in process. */
export interface ServerReadOptions {
  /** First byte; 0 by default. An offset that is not there yet is waited for. */
  from?: number | undefined;
  /** Byte after the last; the end of the resource by default, which is waited for. */
  to?: number | undefined;
}

/** Opens a resource. */
type Opening = () => Promise<OpenResource>;

/**
 * The bytes of a resource as they are checkpointed, in memory that is the reader's own.
 *
 * @param open Opens the resource, at the first read.
 * @param options Which bytes.
 * @throws {StreamError} BAD_REQUEST.
 */
export function streamOf(
  open: Opening,
  { from = 0, to = Infinity }: ServerReadOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  checkNumbers({ from, ...(to === Infinity ? {} : { to }) });
  const left = new AbortController();
  const bytes = readOpened(open, from, to, left.signal);
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await bytes.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      left.abort();
      await bytes.return();
    },
  }, { highWaterMark: 0 });
}

async function* readOpened(
  open: Opening,
  from: number,
  to: number,
  left: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  await using opened = await open();
  const { resource } = opened;
  let next = from;
  const bell = new Bell();
  const losses = new LossWatch(resource, bell, () => ({ from, next }));
  left.addEventListener("abort", bell.ring);
  const leave = resource.meter.follows(() => Math.max(0, resource.status.currentSize - next));
  try {
    while (next < to && !left.aborted) {
      losses.check();
      const byteCount = Math.min(resource.status.currentSize, to) - next;
      if (byteCount > 0) {
        const bytes = await resource.read(next, Math.min(byteCount, READ_BYTES));
        next += bytes.length;
        // A copy: at the tail all readers share what was written.
        yield bytes.slice();
      } else if (hasEnded(resource, next)) return;
      else await bell.rung();
    }
  } finally {
    leave();
    losses.stop();
  }
}

/** Whether no byte comes any more; one that was waited for in vain is an error. */
function hasEnded({ id, deleted, status }: Resource, next: number): boolean {
  if (deleted) throw new StreamError("DELETED", `resource ${id} was deleted`);
  if (!isFinal(status.transferStatus)) return false;
  checkStart(status, next, null);
  return true;
}

/**
 * Lines as text, each with its line break; those that are there.
 *
 * @param open Opens the resource, at the first read.
 * @param startingLineIndex Index of the first, from 0.
 * @param linesCount At most so many.
 * @throws {StreamError} BAD_REQUEST, NO_LINE_ACCESS, LINES_NOT_AVAILABLE.
 */
export async function* linesOf(
  open: Opening,
  startingLineIndex: number,
  linesCount: number,
): AsyncGenerator<string, void, void> {
  checkNumbers({ startingLineIndex, linesCount });
  await using opened = await open();
  const end = startingLineIndex + linesCount;
  let position: LinePosition | null = { lineIndex: startingLineIndex, byteOffset: 0 };
  let piece = "";
  while (position !== null) {
    const { lines, next } = await readLinePage(opened.resource, position, {
      linesCount: end - position.lineIndex,
      pageBytes: LIMITS.linesAnswerBytes,
      pageLines: LIMITS.linesAnswerCount,
    });
    const [first = "", ...others] = lines;
    const texts = [piece + first, ...others];
    piece = next !== null && next.byteOffset > 0 ? texts.pop()! : "";
    for (const text of texts) if (text !== "") yield text;
    position = next;
  }
}

/**
 * Positions of line breaks.
 *
 * @param resource The resource.
 * @param startingLineIndex Index of the first line, from 0.
 * @param linesCount Lines, at most {@link LIMITS.linesAnswerCount}.
 * @returns The position of the byte `0A` of each line that is there; a last line may have none.
 * @throws {StreamError} BAD_REQUEST, NO_LINE_ACCESS, LINES_NOT_AVAILABLE.
 */
export async function lineBreaksOf(
  resource: Resource,
  startingLineIndex: number,
  linesCount: number,
): Promise<number[]> {
  checkNumbers({ startingLineIndex, linesCount });
  if (linesCount > LIMITS.linesAnswerCount) {
    throw new StreamError(
      "BAD_REQUEST",
      `${linesCount} line breaks were asked for: ${LIMITS.linesAnswerCount} at most`,
    );
  }
  await resource.lineStart(startingLineIndex);
  const { numberOfLines, currentSize } = resource.status;
  const end = Math.min(startingLineIndex + linesCount, numberOfLines ?? 0);
  const positions: number[] = [];
  for (let line = startingLineIndex; line < end; line++) {
    positions.push(await resource.lineStart(line + 1) - 1);
  }
  const last = positions.at(-1);
  // A finished resource may end with a line that has none.
  if (last === currentSize - 1 && (await resource.read(last, 1))[0] !== LINE_BREAK) positions.pop();
  return positions;
}

function checkNumbers(numbers: Record<string, number>): void {
  for (const [name, value] of Object.entries(numbers)) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new StreamError("BAD_REQUEST", `${name} is ${value}: it counts from 0, in whole numbers`);
  }
}
