/** Reading a log in a real browser: search, scroll, links to lines, copies. */
import { setTimeout as delay } from "node:timers/promises";
import { assert, assertEquals } from "@std/assert";
import { statusEvents } from "../../mod.ts";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();

/** Lines of a log, one after the other. */
function lines(count: number, change: (line: number) => string = (line) => `line ${line}`): string {
  return Array.from({ length: count }, (_, at) => `${change(at + 1)}\n`).join("");
}

const MANY = 100_000;
const many = await uploaded(
  server.url,
  lines(
    MANY,
    (line) => [77, 50_000, 99_990].includes(line) ? `line ${line} NEEDLE` : `line ${line}`,
  ),
);

/** Waits until so many lines can be read. */
async function until(server: string, id: string, count: number): Promise<void> {
  for await (const { numberOfLines } of statusEvents(id, { server })) {
    if (numberOfLines === count) return;
  }
}

async function show(id: string, fragment = "", options = {}): Promise<Viewer> {
  const viewer = await Viewer.open(browser, server.url, `/view/${id}${fragment}`, options);
  await viewer.settled();
  return viewer;
}

test("requirement 1: search covers the whole log, with count, next and previous; Ctrl-F is ours once", async () => {
  await using viewer = await show(many);
  await viewer.press("Control+f");
  await viewer.until(`document.activeElement.matches(".search input")`);
  // The second one is the browser's: nobody prevents it.
  const prevented = await viewer.page.evaluate(`(() => {
    const event = new KeyboardEvent("keydown", { key: "f", ctrlKey: true, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(event);
    return event.defaultPrevented;
  })()`);
  assertEquals(prevented, false);
  await viewer.page.fill(".search input", "needle");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 3"`);
  await viewer.untilLine(77, "NEEDLE");
  assertEquals(await viewer.text(".row.current mark"), "NEEDLE");
  await viewer.press("Enter");
  await viewer.untilLine(50_000, "NEEDLE");
  await viewer.press("Enter");
  await viewer.untilLine(99_990, "NEEDLE");
  await viewer.until(`document.querySelector(".count").textContent === "3 of 3"`);
  await viewer.press("Shift+Enter");
  await viewer.untilLine(50_000, "NEEDLE");
  await viewer.picture("search");
  // The next one is the next from where somebody went.
  await viewer.page.locator(".log").focus();
  await viewer.press("Home", "n");
  await viewer.untilLine(77, "NEEDLE");
  // Case counts, if asked for; expressions are those of the server.
  await viewer.page.click(`button[aria-label="Match case"]`);
  await viewer.until(`document.querySelector(".count").textContent === "0 found"`);
  await viewer.page.click(`button[aria-label="Regular expression"]`);
  await viewer.page.fill(".search input", "^line (77|78)( |$)");
  await viewer.until(`/of 2$/.test(document.querySelector(".count").textContent)`);
  await viewer.page.fill(".search input", "(");
  await viewer.until(`document.querySelector(".count").textContent.includes("(")`);
  viewer.expectComplaints(/status of 400/);
});

test("requirement 3: the thumb and one notch of the wheel both work beyond the height caps", async () => {
  await using viewer = await show(many);
  const box = (await viewer.page.locator(".log").boundingBox())!;
  await viewer.page.mouse.move(box.x + 300, box.y + 200);
  await viewer.page.mouse.wheel(0, 180);
  await viewer.untilTop((line) => line === 11);
  const right = box.x + box.width - 7;
  await viewer.page.mouse.move(right, box.y + 24);
  await viewer.page.mouse.down();
  await viewer.page.mouse.move(right, box.y + box.height / 2, { steps: 5 });
  await viewer.page.mouse.up();
  const middle = await viewer.untilTop((line) => line > MANY * 0.4 && line < MANY * 0.6);
  await viewer.page.mouse.move(right - 200, box.y + 200);
  await viewer.page.mouse.wheel(0, 90);
  await viewer.untilTop((line) => line === middle + 5);
});

test("requirement 2: a window of lines is in the page, never the text", async () => {
  await using viewer = await show(many);
  for (const key of ["End", "Home", "End"]) {
    await viewer.press(key);
    await viewer.settled();
  }
  const elements = await viewer.page.evaluate<number>(`document.querySelectorAll("*").length`);
  assert(elements <= 500, `${elements} elements`);
  const asked = viewer.requests.filter((path) => path.includes("/lines?"));
  assert(asked.length < 20, asked.join("\n"));
});

test("requirement 7: links to a line and a range, without an entry of history for each click", async () => {
  await using viewer = await show(many, "#L120-L140");
  await viewer.untilLine(120, "line 120");
  assertEquals(await viewer.page.locator(".row.linked").count(), 21);
  const entries = await viewer.page.evaluate(`history.length`);
  await viewer.page.click(`.number[href="#L125"]`);
  assertEquals(new URL(viewer.page.url()).hash, "#L125");
  await viewer.page.click(`.number[href="#L130"]`, { modifiers: ["Shift"] });
  assertEquals(new URL(viewer.page.url()).hash, "#L125-L130");
  await viewer.until(`document.querySelectorAll(".row.linked").length === 6`);
  assertEquals(await viewer.page.evaluate(`history.length`), entries);
  await viewer.picture("permalink");
});

test("requirement 8: a link leads into what is not loaded, and into what is folded", async () => {
  await using far = await show(many, "#L90000");
  await far.untilLine(90_000, "line 90000");
  const content = `::group::A\n${lines(500)}::endgroup::\nend\n`;
  await using folded = await show(await uploaded(server.url, content), "#L300");
  await folded.untilLine(300, "line 299");
  assert((await folded.visibleLines()).includes(300));
});

test("requirement 9: what is copied is clean, also of rows that are not in the page any more", async () => {
  const text = lines(
    1000,
    (line) => line % 10 === 0 ? "" : `\x1b[3${line % 8}mline ${line}\x1b[0m`,
  );
  await using viewer = await show(await uploaded(server.url, text), "", {
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const at = async (line: number) =>
    (await viewer.page.locator(`.row:has(.number[href="#L${line}"]) .text`).boundingBox())!;
  const first = await at(2);
  await viewer.page.mouse.move(first.x + 1, first.y + 5);
  await viewer.page.mouse.down();
  await viewer.page.mouse.move(first.x + 200, first.y + 100, { steps: 3 });
  await viewer.page.mouse.wheel(0, 3600);
  await viewer.untilLine(212, "line 212");
  await viewer.settled();
  const last = await at(212);
  await viewer.page.mouse.move(last.x + last.width - 1, last.y + 5, { steps: 3 });
  await viewer.page.mouse.up();
  await viewer.press("Control+c");
  const copied = await viewer.page.evaluate<string>(`navigator.clipboard.readText()`);
  const wanted = lines(1000, (line) => line % 10 === 0 ? "" : `line ${line}`).split("\n").slice(
    1,
    212,
  );
  assertEquals(copied.split("\n"), wanted);
  // Everything, most of which was never read.
  await viewer.press("Control+a", "Control+c");
  await viewer.until(
    `document.querySelector(".notice")?.textContent.includes("1,000 lines copied")`,
  );
  const all = await viewer.page.evaluate<string>(`navigator.clipboard.readText()`);
  assertEquals(all.split("\n").length, 1000);
  assert(!all.includes("\x1b"));
});

test("requirement 14: what was found in a progress bar that went on is shown and marked", async () => {
  const text = lines(500, (line) => line === 300 ? "10 %\r42 % of it\r100 % done" : `line ${line}`);
  await using viewer = await show(await uploaded(server.url, text));
  await viewer.search("42 %");
  await viewer.untilLine(300, "42 % of it↶ written over later");
  await viewer.until(`document.querySelector(".row.current mark")?.textContent === "42 %"`);
  await viewer.picture("found-in-bar");
  await viewer.press("Escape");
  await viewer.untilLine(300, "100 % done");
});

test("requirement 10: keys go from error to error, and the bar has marks", async () => {
  const text = lines(5000, (line) => [100, 4000].includes(line) ? `error: ${line}` : "0 errors");
  await using viewer = await show(await uploaded(server.url, text));
  await viewer.until(`document.querySelector(".errors .total").textContent === "2 errors"`);
  await viewer.press("e");
  await viewer.untilLine(100, "error: 100");
  await viewer.press("e");
  await viewer.untilLine(4000, "error: 4000");
  await viewer.press("E");
  await viewer.untilLine(100, "error: 100");
  assertEquals(await viewer.text(".row.current .text"), "error: 100");
  const marked = await viewer.page.evaluate<number>(`(() => {
    const canvas = document.querySelector(".marks");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let rows = 0;
    for (let y = 0; y < canvas.height; y++) if (data[(y * canvas.width + 1) * 4 + 3] > 0) rows++;
    return rows;
  })()`);
  assert(marked >= 6 && marked <= 8, `${marked} rows of pixels`);
});

test("requirement 16: wrapping is remembered, and the line at the top stays at the top", async () => {
  const text = lines(3000, (line) => `${line} ${"word ".repeat(80)}`);
  await using viewer = await show(await uploaded(server.url, text));
  await viewer.press(":");
  await viewer.page.fill(".goto input", "1500");
  await viewer.press("Enter");
  await viewer.untilLine(1500, "1500");
  const [top] = await viewer.visibleLines();
  await viewer.press("w");
  await viewer.until(`document.querySelector(".log.wrap") !== null`);
  await viewer.settled();
  assertEquals((await viewer.visibleLines())[0], top);
  await viewer.press("j", "j", "k");
  await viewer.press("End");
  await viewer.untilLine(3000, "3000");
  assert((await viewer.visibleLines()).includes(3000));
  await viewer.picture("wrapped");
  await viewer.page.reload();
  await viewer.settled();
  await viewer.until(`document.querySelector(".log.wrap") !== null`);
  await viewer.press("Home");
  await viewer.untilLine(1, "1");
  assertEquals((await viewer.visibleLines())[0], 1);
});

test("requirement 17: when a line arrived, in several ways; going to a time, and a link to it", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(lines(300, (line) => `early ${line}`));
  await until(server.url, upload.id, 300);
  await delay(1100);
  const lateMs = Date.now();
  await upload.write(lines(300, (line) => `late ${line}`));
  await upload.complete();
  await using viewer = await show(upload.id);
  await viewer.press("t");
  await viewer.until(
    `/^\\d\\d:\\d\\d:\\d\\d\\.\\d{3}$/.test(document.querySelector(".time")?.textContent)`,
  );
  const title = await viewer.page.getAttribute(".time", "title");
  assert(/^\d{4}-.*Z \(UTC\), \d{4}-.* here$/.test(title!), title!);
  await viewer.picture("times");
  await viewer.press("t");
  await viewer.until(`document.querySelector(".time")?.textContent.endsWith("Z")`);
  await viewer.press("t");
  await viewer.until(`document.querySelector(".time")?.textContent.endsWith(" ago")`);
  const ago = await viewer.text(".time");
  await viewer.until(`document.querySelector(".time").textContent !== ${JSON.stringify(ago)}`);
  await viewer.press("t");
  await viewer.until(`document.querySelector(".time")?.textContent.startsWith("+0:00:0")`);
  await viewer.press("t");
  await viewer.until(
    `document.querySelector(".row") !== null && document.querySelector(".time") === null`,
  );
  await viewer.press(":");
  await viewer.page.fill(".goto input", new Date(lateMs).toISOString());
  await viewer.press("Enter");
  await viewer.untilLine(301, "late 1");
  await viewer.until(`document.querySelector(".row.current .number").textContent === "301"`);
  const { hash } = new URL(viewer.page.url());
  assertEquals(hash, `#T${new Date(lateMs).toISOString()}`);
  await using linked = await show(upload.id, hash);
  await linked.untilLine(301, "late 1");
});

test("what is neither a line nor a time leads nowhere, and says so", async () => {
  await using viewer = await show(many);
  await viewer.press(":");
  await viewer.page.fill(".goto input", "12:3 pm");
  await viewer.press("Enter");
  await viewer.until(`document.querySelector(".goto input").validationMessage.includes("neither")`);
  await viewer.page.fill(".goto input", "50,000");
  await viewer.press("Enter");
  await viewer.untilLine(50_000, "line 50000");
});

test("requirement 18: only hits, with lines around them, and back to the same line", async () => {
  await using viewer = await show(many);
  await viewer.search("NEEDLE");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 3"`);
  await viewer.page.click(`button[aria-label="Only hits"]`);
  await viewer.until(`document.querySelectorAll(".row").length === 3`);
  await viewer.page.fill(".context input", "2");
  await viewer.until(`document.querySelectorAll(".row").length === 15`);
  await viewer.settled();
  assertEquals([...(await viewer.rows()).keys()].slice(5, 10), [
    49_998,
    49_999,
    50_000,
    50_001,
    50_002,
  ]);
  await viewer.picture("only-hits");
  await viewer.page.locator(`.row:has(.number[href="#L49998"]) .gap`).click();
  await viewer.untilLine(49_990, "line 49990");
  assert((await viewer.visibleLines()).includes(49_998));
});

test("requirement 19: text and download have the right address and name", async () => {
  await using viewer = await show(many);
  const [download] = await Promise.all([
    viewer.page.waitForEvent("download"),
    viewer.page.click(`a:text-is("Download")`),
  ]);
  assertEquals(download.suggestedFilename(), "build.log");
  const raw = await viewer.page.getAttribute(`a:text-is("Text")`, "href");
  const answer = await fetch(raw!, { headers: { range: "bytes=0-6" } });
  assertEquals([answer.status, await answer.text()], [206, "line 1\n"]);
});

test("requirement 22: every key does what the list says", async () => {
  await using viewer = await show(many);
  await viewer.press("j", "j", "ArrowDown", "k");
  await viewer.untilTop((line) => line === 3);
  await viewer.press("G");
  await viewer.untilLine(MANY, `line ${MANY}`);
  await viewer.press("g");
  await viewer.untilLine(1, "line 1");
  await viewer.press("Space");
  await viewer.untilTop((line) => line > 20);
  await viewer.press("Shift+Space", "PageDown", "PageUp");
  await viewer.untilTop((line) => line === 1);
  await viewer.press("?");
  await viewer.page.waitForSelector("dialog[open]");
  await viewer.picture("keys");
  await viewer.press("Escape");
  await viewer.until(`document.querySelector("dialog") === null`);
});
