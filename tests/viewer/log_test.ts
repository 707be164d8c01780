/** One log as the viewer's model knows it: what it shows when servers break down, ids are used again, lines write over others. */
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { assertEquals, assertGreater } from "@std/assert";
import fc from "fast-check";
import { StreamError } from "../../mod.ts";
import { within } from "../helpers/frames/connection.ts";
import { PlayedLog, PlayedSource } from "../helpers/played_log.ts";

const ESC = "\x1b";

/** A progress bar that writes over itself. */
function bar(steps: number): string {
  return Array.from({ length: steps + 1 }, (_, step) => {
    return `${step} of ${steps} ${"#".repeat(step % 40)}${ESC}[K`;
  }).join("\r");
}

test("of a progress bar that is longer than what is kept of a line its end is shown", async () => {
  const source = new PlayedSource(`start\n${bar(400)}\nend\n`);
  using played = new PlayedLog(source);
  await played.open(0, 3);
  assertEquals(played.rows, [[0, "start"], [1, `400 of 400 `], [2, "end"]]);
});

test("the same of one that comes while somebody looks, and of one that is longer than an answer", async () => {
  const source = new PlayedSource("start\n");
  using played = new PlayedLog(source);
  await played.open(0, 1);
  source.append(bar(200));
  await played.until("a bar", ({ places }) => places === 2);
  assertEquals(played.rows[1], [1, "200 of 200 "]);
  source.append(`\r${bar(401)}\nend\n`);
  await played.until("the end", ({ lines }) => lines === 3);
  assertEquals(played.rows[1], [1, `401 of 401 #`]);
  const long = new PlayedSource(`${bar(3000)}\n`, { transferStatus: "COMPLETED" });
  long.answerChars = 16 * 1024;
  using other = new PlayedLog(long);
  await other.open(0, 1);
  assertEquals(other.rows, [[0, "3000 of 3000 "]]);
});

test("a bar that is cut keeps the colour that was set before its end", async () => {
  const source = new PlayedSource(`${ESC}[31m${bar(400)}\n${ESC}[0m${bar(400)}\n`);
  using played = new PlayedLog(source);
  await played.open(0, 2);
  const shown = [0, 1].map((line) => {
    const { text, spans } = played.log.rows.at(line)!.row;
    return [text, spans[0]?.style.foreground];
  });
  assertEquals(shown, [["400 of 400 ", 1], ["400 of 400 ", undefined]]);
});

test("lines that come in pieces write over earlier ones as if they had come at once", async () => {
  const source = new PlayedSource("start\na 0 %\nb 0 %\n");
  using played = new PlayedLog(source);
  await played.open(0, 3);
  source.append(`${ESC}[2A${ESC}[2Ka 100 %\n`);
  source.append(`${ESC}[2Kb 100 %\n`);
  source.append("end\n");
  await played.until("the end", ({ lines }) => lines === 6);
  const shown = [[0, "start"], [3, "a 100 %"], [4, "b 100 %"], [5, "end"]] as [number, string][];
  assertEquals(played.rows, shown);
  // Whatever makes all rows anew.
  played.log.redraw();
  assertEquals(played.rows, shown);
});

test("a line that is not ended stays whole when times were shown meanwhile", async () => {
  const source = new PlayedSource("a\n10 %");
  using played = new PlayedLog(source);
  await played.open(0, 1);
  const show = (times: "utc" | "off") => {
    played.log.settings.set({ times });
    played.log.redraw();
  };
  show("utc");
  source.append(" 20 %");
  const { status } = source;
  await played.until("a status", (log) => log.status === status);
  show("off");
  source.append(" 30 %");
  await played.until("the rest", (log) => log.rows.at(1)?.row.text.endsWith("30 %") ?? false);
  assertEquals(played.rows[1], [1, "10 % 20 % 30 %"]);
  assertEquals(played.log.openEnd(1), "whole");
});

test("a line that is not ended stays whole when its uploader connects again", async () => {
  const source = new PlayedSource("a\n10 %");
  using played = new PlayedLog(source);
  await played.open(0, 1);
  source.tell({ epoch: 2 });
  source.append(" 20 %");
  await played.until("the rest", (log) => log.rows.at(1)?.row.text.endsWith("20 %") ?? false);
  assertEquals(played.rows[1], [1, "10 % 20 %"]);
});

test("of a line that is not ended and longer than what is kept it is said that it is cut", async () => {
  for (const tellsText of [true, false]) {
    const source = new PlayedSource(`a\n${"x".repeat(20_000)}`);
    source.tellsText = tellsText;
    using played = new PlayedLog(source);
    await played.open(0, 1);
    await played.until("the end", ({ places }) => places === 2);
    assertEquals(played.log.openEnd(1), "cut");
  }
});

test("a row that a later line changed stays changed when rows are made anew", async () => {
  const line = `${ESC}[2A\r${ESC}[2Ka done${ESC}[2B\rtotal`;
  using played = new PlayedLog(new PlayedSource(`a waiting\nb waiting\n${line}\n`));
  await played.open(0, 3);
  const shown = [[0, "a done"], [1, "b waiting"], [2, "total"]] as [number, string][];
  assertEquals(played.rows, shown);
  played.log.redraw();
  assertEquals(played.rows, shown);
});

test("a line is shown again when more lines around it tell that nothing was written over it", async () => {
  // Seen without the first line, the third one goes up to the row of the second.
  const lines = ["first", "A", `${ESC}[2A${ESC}[2KB`, `${ESC}[1B${ESC}[2KC`, "end"];
  const source = new PlayedSource(`${lines.join("\n")}\n`, { transferStatus: "COMPLETED" });
  using played = new PlayedLog(source);
  await played.open(1, 5);
  await played.read(0, 5);
  using whole = new PlayedLog(source);
  await whole.open(0, 5);
  assertEquals(played.rows, whole.rows);
});

test("an id that is used again while nobody looked is another resource", async () => {
  const source = new PlayedSource("a\nb\n");
  using played = new PlayedLog(source);
  await played.open(0, 2);
  played.log.sleep();
  source.content = "x\ny\nz\n";
  source.tell({ life: "two", sequence: 0 });
  void played.log.open();
  await played.until("the end", ({ problem }) => problem !== null);
  assertEquals(played.log.problem?.code, "DELETED");
});

test("a deletion by force is told for what it is, even if what it ended can still be asked for", async () => {
  const source = new PlayedSource("a\nb\n");
  using played = new PlayedLog(source);
  await played.open(0, 2);
  source.tell({ transferStatus: "FAILED", failure: "DELETED: ended, and is deleted" });
  await played.until("the end", ({ problem }) => problem !== null);
  assertEquals(played.log.problem?.code, "DELETED");
});

test("lines of another life of an id are not shown for those of a log that has ended", async () => {
  const source = new PlayedSource("a\nb\nc\nd\n", { transferStatus: "COMPLETED" });
  using played = new PlayedLog(source);
  await played.open(0, 2);
  source.content = "w\nx\ny\nz\n";
  source.status = { ...source.status, life: "two" };
  played.log.cache.want([[2, 4]]);
  await played.until("the end", ({ problem, cache }) => problem !== null || cache.has([2, 4]));
  assertEquals([played.log.problem?.code, played.log.cache.get(2)], ["DELETED", undefined]);
});

test("who is awake before the network is waits for it, and shows what it has", async () => {
  const source = new PlayedSource("a\n");
  using played = new PlayedLog(source);
  await played.open(0, 1);
  played.log.sleep();
  source.failure = new StreamError("UNREACHABLE", "there is no network");
  void played.log.open();
  source.append("b\n");
  await played.until("a line", ({ lines, problem }) => lines === 2 || problem !== null);
  assertEquals([played.log.problem, played.rows], [null, [[0, "a"], [1, "b"]]]);
});

test("what was found in a row that was written over is shown as it was, as long as it is looked for", async () => {
  const bars = `10 %\r50 % ${ESC}[32mhalf${ESC}[0m way\r100 % done${ESC}[K`;
  const source = new PlayedSource(`start\n${bars}\na 0 %\n${ESC}[A${ESC}[2Ka 100 %\nend\n`);
  using played = new PlayedLog(source);
  await played.open(0, 5);
  const plain = [[0, "start"], [1, "100 % done"], [3, "a 100 %"], [4, "end"]];
  assertEquals(played.rows, plain as typeof played.rows);
  const find = async (pattern: string) => {
    const query = { pattern, regex: false, ignoreCase: false };
    played.log.find(query);
    await played.until("the hits", ({ search }) => !search.running);
    await played.until("the rows", ({ rows, search }) => {
      return search.hits.every((line) => rows.at(line)!.row.text.includes(pattern));
    });
  };
  await find("half");
  assertEquals(played.rows[1], [1, "50 % half way"]);
  assertEquals(played.log.rows.at(1)!.row.spans[0].style.foreground, 2);
  assertEquals(played.log.rows.at(1)!.isPast, true);
  await find("10 %");
  assertEquals(played.rows[1], [1, "10 %"]);
  await find("100 %");
  assertEquals([played.rows[1], played.log.rows.at(1)!.isPast], [[1, "100 % done"], false]);
  // A line whose whole row was taken over has one again.
  await find("a 0 %");
  assertEquals(played.rows.slice(2), [[2, "a 0 %"], [3, "a 100 %"], [4, "end"]]);
  assertEquals([2, 3].map((line) => played.log.rows.at(line)!.isPast), [true, false]);
  played.log.find(null);
  await played.until("the rows", ({ visible }) => visible.map.rows === 4);
  assertEquals(played.rows, plain as typeof played.rows);
});

test("whoever opens a log before its server can be reached is told so, and sees it as soon as it can", async () => {
  const source = new PlayedSource("one\n", { transferStatus: "COMPLETED" });
  source.failure = new StreamError("NOT_READY", "the engine is away");
  using played = new PlayedLog(source);
  const opened = played.log.open(0);
  await played.until("the loss", ({ link }) => link.state === "lost");
  assertEquals(played.log.link.state === "lost" && played.log.link.reason, "the engine is away");
  source.failure = null;
  await within("the opening", opened);
  assertEquals([played.log.link.state, played.log.lines, played.log.problem], ["ended", 1, null]);
});

test("whoever opens what is refused for good is not kept waiting", async () => {
  const source = new PlayedSource("one\n");
  source.failure = new StreamError("FORBIDDEN", "no");
  using played = new PlayedLog(source);
  await within("the opening", played.log.open(0));
  assertEquals([played.log.problem?.code, source.asked], ["FORBIDDEN", ["info"]]);
});

test("a page that is hidden before its server can be reached asks nothing, and goes on when it is shown", async () => {
  const source = new PlayedSource("one\n", { transferStatus: "COMPLETED" });
  source.failure = new StreamError("UNREACHABLE", "no network");
  using played = new PlayedLog(source);
  const opened = played.log.open(0);
  await played.until("the loss", ({ link }) => link.state === "lost");
  played.log.sleep();
  await within("the end of asking", opened);
  assertEquals([played.log.link.state, played.log.problem], ["asleep", null]);
  source.failure = null;
  await within("the opening", played.log.open());
  assertEquals([played.log.link.state, played.log.lines], ["ended", 1]);
});

test("a log that has ended stays when its last facts cannot be read", async () => {
  const source = new PlayedSource("a\n");
  using played = new PlayedLog(source);
  await played.open(0, 1);
  source.failure = new StreamError("UNREACHABLE", "the server is gone");
  source.tell({ transferStatus: "COMPLETED" });
  await played.opened;
  assertEquals(source.asked.at(-1), "info");
  assertEquals(played.log.problem, null);
});

test("a hidden page asks nothing of a log that has ended, and hears that one was deleted", async () => {
  const source = new PlayedSource("a\n", { transferStatus: "COMPLETED" });
  using ended = new PlayedLog(source);
  await ended.open(0, 1);
  const before = source.asked.length;
  ended.log.sleep();
  await ended.log.peek();
  assertEquals(source.asked.slice(before), []);
  const live = new PlayedSource("a\n");
  using played = new PlayedLog(live);
  await played.open(0, 1);
  played.log.sleep();
  live.failure = new StreamError("NOT_FOUND", "there is no such resource");
  await played.log.peek();
  assertEquals(played.log.problem?.code, "DELETED");
});

test("of lines that cannot be read it is said why, and they are not asked for at every redraw", async () => {
  const source = new PlayedSource("one\ntwo\nthree\nfour\n");
  source.tellsText = false;
  using played = new PlayedLog(source);
  await played.open(0, 1);
  const { log } = played;
  const asked = () => source.asked.filter((what) => what.startsWith("lines")).length;
  const before = asked();
  source.failure = new StreamError("INDEX_DAMAGED", "the index is damaged");
  log.cache.want([[1, 2]]);
  await played.until("the reason", ({ reading }) => reading.unread !== null);
  assertEquals(log.reading.unread?.reason, "the index is damaged");
  const paused = log.reading.unread!.retryAtMs - Date.now();
  for (let i = 0; i < 3; i++) log.cache.want([[1, 2]]);
  assertEquals([asked() - before, log.problem], [1, null]);
  // Others may come.
  log.cache.want([[2, 3]]);
  await turn();
  assertEquals(asked() - before, 2);
  assertGreater(log.reading.unread!.retryAtMs - Date.now(), paused);
  source.failure = null;
  source.append("five\n");
  await played.until(
    "the line",
    ({ cache, reading }) => cache.has([2, 3]) && reading.unread === null,
  );
});

test("lines that a server lost take their hits, errors and groups along", async () => {
  const source = new PlayedSource("a\nhit\nb\n::group::G\nerror: hit\n");
  using played = new PlayedLog(source);
  await played.open(0, 5);
  played.log.find({ pattern: "hit", regex: false, ignoreCase: false });
  await played.until("hits", ({ search, outlined }) => search.hits.length === 2 && outlined);
  assertEquals([...played.log.outline.errors], [4]);
  source.content = "a\nhit\n";
  source.tell({ epoch: 2 });
  source.append("c\nhit\nfatal\nx\n");
  await played.until("more lines", ({ lines }) => lines === 6);
  await played.read(0, 6);
  await played.until("hits", ({ search }) => !search.running && search.searched === 6);
  await played.until(
    "errors",
    ({ outline }) => outline.errors.length > 0 && outline.errors[0] === 4,
  );
  const { log } = played;
  assertEquals([...log.search.hits], [1, 3]);
  assertEquals([[...log.outline.errors], log.outline.groups.length], [[4], 0]);
  assertEquals(played.rows.map(([, text]) => text), ["a", "hit", "c", "hit", "fatal", "x"]);
});

test("with another owner of the log its lines are read again, as others may stand there", async () => {
  const source = new PlayedSource("a\nb\nc\n");
  using played = new PlayedLog(source);
  await played.open(0, 3);
  // What was lost came again, in other words, before anybody heard of it.
  source.content = "a\nx\ny\nz\n";
  source.tell({ epoch: 2 });
  await played.until("a status", ({ lines }) => lines === 4);
  assertEquals(played.rows.slice(0, 3).map(([, text]) => text), ["a", "b", "c"]);
  played.log.cache.want([[0, 4]]);
  await played.until("lines", (log) => log.rows.at(1)?.row.text === "x");
  assertEquals(played.rows.map(([, text]) => text), ["a", "x", "y", "z"]);
});

test("a search for errors that failed does not say that there are none", async () => {
  const source = new PlayedSource("a\n", { transferStatus: "COMPLETED" });
  using played = new PlayedLog(source);
  await played.open(0, 1);
  source.failure = new StreamError("INTERNAL", "the search broke");
  played.log.outliner.start({ pattern: "", regex: true, ignoreCase: false }, 1);
  await played.until("an error", ({ outliner }) => outliner.error !== null);
  assertEquals(played.log.outlined, false);
});

test("whoever watched a log grow sees what is seen by whoever opens it then", async () => {
  const part = fc.constantFrom(
    ...["a", "bc ", "\n", "\n", "\n", "\r\n", "\r", "\b", "x".repeat(50), "x".repeat(5000)],
    ...["::group::G\n", "::endgroup::\n", "error\n", bar(300)],
    ...["[31m", "[0m", "[1A", "[2A", "[1B", "[K", "[2K", "[5C"].map((sequence) => ESC + sequence),
  );
  const parts = fc.array(part, { maxLength: 60 }), cuts = fc.array(fc.nat(2000), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(parts, cuts, fc.boolean(), async (parts, cuts, hasEnded) => {
      const content = parts.join("");
      const edges = [...cuts.map((cut) => cut % (content.length + 1)), content.length]
        .sort((a, b) => a - b);
      const source = new PlayedSource(content.slice(0, edges[0]));
      using watched = new PlayedLog(source);
      await watched.open(0, 0);
      for (const [at, edge] of edges.slice(1).entries()) {
        source.append(content.slice(edges[at], edge));
        await turn();
      }
      if (hasEnded) source.complete();
      const { status } = source;
      await watched.until("the end", (log) => log.status === status);
      using opened = new PlayedLog(new PlayedSource(content, status));
      await opened.open(0, 0);
      const [one, other] = await Promise.all([watched, opened].map((played) => whole(played)));
      assertEquals(one, other);
    }),
    { numRuns: 40 },
  );
});

/** All rows of a log, with their styles. */
async function whole(played: PlayedLog): Promise<unknown[]> {
  const { log } = played;
  await played.read(0, log.lines);
  log.findOutline();
  log.outliner.grow(log.lines);
  await played.until("groups", ({ outliner }) => outliner.searched >= log.lines);
  await turn();
  log.redraw();
  return played.rows.map(([line, text]) => [line, text, log.rows.at(line)!.row.spans]);
}
