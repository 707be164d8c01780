/** What a log looks like in a real browser: colours, links, tricks, groups, long lines. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();
const ESC = "\x1b";

async function show(content: string | Uint8Array, fragment = ""): Promise<Viewer> {
  const viewer = await Viewer.open(
    browser,
    server.url,
    `/view/${await uploaded(server.url, content)}${fragment}`,
  );
  await viewer.settled();
  return viewer;
}

/** A CSS property of the piece that has a text. */
function styleOf(viewer: Viewer, text: string, property: string): Promise<string> {
  return viewer.page.evaluate(`getComputedStyle([...document.querySelectorAll(".text *")]
    .find((piece) => piece.textContent === ${JSON.stringify(text)}))[${JSON.stringify(property)}]`);
}

function table(): string {
  const rows = Array.from({ length: 16 }, (_, row) =>
    Array.from({ length: 16 }, (_, column) => {
      const colour = 16 * row + column;
      return `${ESC}[48;5;${colour}m ${String(colour).padStart(3)} ${ESC}[0m`;
    }).join(""));
  const sixteen = Array.from(
    { length: 16 },
    (_, colour) => `${ESC}[${colour < 8 ? 30 + colour : 82 + colour}mcolour ${colour}${ESC}[0m`,
  );
  return [...rows, sixteen.join(" "), ""].join("\n");
}

test("requirement 12: 16, 256 and true colours, and every attribute", async () => {
  const attributes = `${ESC}[1mbold${ESC}[0m ${ESC}[2mdim${ESC}[0m ${ESC}[3mitalic${ESC}[0m ` +
    `${ESC}[4munderline${ESC}[0m ${ESC}[7minverse${ESC}[0m ${ESC}[9mstrike${ESC}[0m ` +
    `${ESC}[38;2;255;100;0mtrue${ESC}[0m ${ESC}[?2026hunknown${ESC}]0;title\x07 gone\n`;
  await using viewer = await show(table() + attributes);
  assertEquals(await styleOf(viewer, " 196 ", "backgroundColor"), "rgb(255, 0, 0)");
  assertEquals(await styleOf(viewer, "bold", "fontWeight"), "700");
  assertEquals(await styleOf(viewer, "italic", "fontStyle"), "italic");
  assert((await styleOf(viewer, "strike", "textDecoration")).includes("line-through"));
  const rows = await viewer.rows();
  assertEquals(rows.get(18), "bold dim italic underline inverse strike true unknown gone");
  await viewer.picture("colours-light");
  await viewer.page.click(`button[aria-label="Theme: system"]`);
  await viewer.page.click(`button[aria-label="Theme: light"]`);
  await viewer.until(`document.documentElement.dataset.theme === "dark"`);
  await viewer.picture("colours-dark");
  // Colours can be switched off.
  await viewer.page.click(`button[aria-label="Colours"]`);
  await viewer.until(
    `![...document.querySelectorAll(".text *")].some((e) => e.style.color !== "")`,
  );
});

test("requirement 12: a colour stays on over 5000 lines, beyond what is loaded", async () => {
  const lines = Array.from({ length: 5000 }, (_, line) => `still red ${line}`);
  await using viewer = await show(`${ESC}[0mplain\n${ESC}[31m${lines.join("\n")}\n`, "#L4990");
  await viewer.untilLine(4990, "still red");
  await viewer.until(`[...document.querySelectorAll(".row .text span")]
    .every((piece) => piece.style.color !== "")`);
});

test("requirement 13: links of http and https only, with their true target", async () => {
  const link = (target: string, text: string) =>
    `${ESC}]8;;${target}${ESC}\\${text}${ESC}]8;;${ESC}\\`;
  await using viewer = await show(
    `${link("https://true.example/x", "https://shown.example")}\n` +
      `${link("javascript:alert(1)", "click me")}\nsee http://bare.example/y.\n`,
  );
  const links = await viewer.page.evaluate(`[...document.querySelectorAll(".text a")]
    .map(({ href, rel, title, target }) => ({ href, rel, title, target }))`);
  const rel = "noopener noreferrer nofollow", target = "_blank";
  assertEquals(links, [
    { href: "https://true.example/x", rel, title: "https://true.example/x", target },
    { href: "http://bare.example/y", rel, title: "http://bare.example/y", target },
  ]);
  assertEquals((await viewer.rows()).get(2), "click me");
});

test("requirement 14: a progress bar is one line that changes; raw shows everything", async () => {
  const bar = Array.from({ length: 101 }, (_, step) => `${String(step).padStart(3)} %`).join("\r");
  const two = ["a 0 %", "b 0 %", `${ESC}[2A${ESC}[2Ka 100 %`, `${ESC}[2Kb 100 %`];
  await using viewer = await show(`${bar}\n${two.join("\n")}\ndone\n`);
  assertEquals([...await viewer.rows()], [
    [1, "100 %"],
    [4, "a 100 %"],
    [5, "b 100 %"],
    [6, "done"],
  ]);
  await viewer.press("r");
  await viewer.until(`document.querySelectorAll(".row").length === 6`);
  const rows = await viewer.rows();
  assert(rows.get(1)!.startsWith("  0 %\u240d  1 %"));
  assert(rows.get(4)!.startsWith("\u241b[2A"));
});

test("requirement 11: groups are folded, nested, open where an error is, and never closed ones are shown", async () => {
  const content = [
    ...["::group::Install", "a", "b", "::endgroup::"],
    ...["::group::Test", "::group::Unit", "error: it broke", "::endgroup::", "::endgroup::"],
    ...["section_start:1:build\r\x1b[0KBuild", "c", "section_end:2:build\r\x1b[0K"],
    ...["::group::Deploy", "still here", ""],
  ].join("\n");
  await using viewer = await show(content);
  await viewer.until(`document.querySelectorAll(".row").length === 7`);
  assertEquals([...(await viewer.rows()).values()], [
    ...["Install", "Test", "Unit", "error: it broke", "Build", "Deploy", "still here"],
  ]);
  await viewer.picture("groups");
  await viewer.page.click(`button[aria-label="Open Install"]`);
  await viewer.untilLine(2, "a");
  await viewer.press("[");
  await viewer.until(`document.querySelectorAll(".row").length === 4`);
  await viewer.press("]");
  await viewer.until(`document.querySelectorAll(".row").length === 10`);
  // Lines that only end a group are not shown, but as they are stored.
  await viewer.press("r");
  await viewer.until(`document.querySelectorAll(".row").length === 14`);
});

test("requirement 15: a very long line is cut, shown as a whole elsewhere, and searched", async () => {
  const long = `${"x".repeat(3_000_000)}NEEDLE${"y".repeat(1_000_000)}`;
  await using viewer = await show(`before\n${long}\nafter\n`);
  assertEquals((await viewer.rows()).get(3), "after");
  assertEquals((await viewer.rows()).get(2)!.length, 4096);
  assertEquals(await viewer.text(".more"), "… show all (4.0 MB)");
  await viewer.search("NEEDLE");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 1"`);
  await viewer.press("Escape");
  await viewer.page.click(".more");
  await viewer.settled();
  await viewer.press("End");
  await viewer.untilLine(Math.ceil((long.length) / 4096), "yyy");
});

test("requirement 21: text never becomes markup, and tricks are named", async () => {
  await using viewer = await show(
    new Uint8Array([
      ...new TextEncoder().encode(
        `<img src=x onerror=alert(1)><script>alert(1)</script>&amp;\nadmin\u202e\u2066 user\u2069\u2066\nzero\u200bwidth\n`,
      ),
      ...[0x62, 0x61, 0x64, 0xff, 0x0a],
    ]),
  );
  const rows = await viewer.rows();
  assertEquals(rows.get(1), "<img src=x onerror=alert(1)><script>alert(1)</script>&amp;");
  assertEquals(rows.get(2), "adminU+202EU+2066 userU+2069U+2066");
  assertEquals(rows.get(3), "zeroU+200Bwidth");
  assertEquals(rows.get(4), "bad\ufffd");
  assertEquals(
    await viewer.page.evaluate(`document.querySelectorAll(".text img, .text script").length`),
    0,
  );
  await viewer.picture("tricks");
});

test("requirement 21: tricks are named in names, contexts and reasons, too", async () => {
  const upload = await Upload.begin(server.url, {
    filename: "a\u202egol.exe",
    context: "run\u2066 7",
  });
  await upload.write("text\n");
  await upload.fail("over\u200bwritten");
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(1, "text");
  assertEquals(await viewer.text("h1"), "aU+202Egol.exe");
  assertEquals(await viewer.page.title(), "✗ aU+202Egol.exe");
  const shown = await viewer.text("body");
  assertMatch(shown, /runU\+2066 7[^]*overU\+200Bwritten/);
  await viewer.page.goto(server.url);
  await viewer.page.waitForSelector(".name .failure");
  assertEquals(/[\u200b\u202e\u2066]/.test(await viewer.text("body")), false);
});

test("requirement 23: lines from right to left stand in a frame from left to right", async () => {
  await using viewer = await show("שלום עולם error 42\nعربي mixed with Latin\nplain\n");
  const lefts = await viewer.page.evaluate<number[]>(
    `[...document.querySelectorAll(".text")].map((text) => text.getBoundingClientRect().left)`,
  );
  assertEquals(new Set(lefts.slice(0, 3)).size, 1);
  assertEquals(
    await viewer.page.evaluate(
      `getComputedStyle(document.querySelector(".text")).direction`,
    ),
    "rtl",
  );
  await viewer.picture("right-to-left");
});

test("requirement 20: whatever is cut, folded or filtered out is marked where it happened", async () => {
  const many = Array.from({ length: 50 }, (_, line) => `line ${line}`).join("\n");
  await using viewer = await show(
    `${"x".repeat(5000)}\n::group::Folded\n${many}\n::endgroup::\nhit\n`,
  );
  await viewer.until(`document.querySelectorAll(".row").length === 3`);
  assertEquals(await viewer.text(".more"), "… show all (5.0 kB)");
  assertEquals(await viewer.page.getAttribute(".fold", "aria-expanded"), "false");
  await viewer.search("hit");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 1"`);
  await viewer.page.click(`button[aria-label="Only hits"]`);
  await viewer.until(`document.querySelector(".gap")?.textContent === "⋯ 53"`);
});

test("what has no lines is shown as the browser shows it, or as facts and a download", async () => {
  const image = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" ' +
    'height="40" fill="red"/></svg>';
  const open = async (content: string, filename: string, mimeType: string) => {
    const options = { filename, mimeType, supportsLineAccess: false };
    return await Viewer.open(
      browser,
      server.url,
      `/view/${await uploaded(server.url, content, options)}`,
    );
  };
  await using picture = await open(image, "a.svg", "image/svg+xml");
  await picture.until(`document.querySelector(".content img")?.naturalWidth === 40`);
  await using json = await open('{"a":[1,"<b>"]}', "a.json", "application/json");
  await json.until(`document.querySelector(".json")?.textContent.includes('"<b>"')`);
  assertEquals(await json.text(".json"), '{\n  "a": [\n    1,\n    "<b>"\n  ]\n}');
  await using other = await open("\0\x01", "a.bin", "application/octet-stream");
  await other.page.waitForSelector(`a:has-text("Download (2 B")`);
});
