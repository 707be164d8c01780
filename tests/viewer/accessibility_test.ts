/** The viewer for those who use a keyboard, a screen reader, a phone, or another theme. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { assert, assertEquals } from "@std/assert";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";

const either = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ESC = "\x1b";

const colourful = Array.from({ length: 16 }, (_, colour) => {
  const code = colour < 8 ? 30 + colour : 82 + colour;
  return `${ESC}[${code}mcolour ${colour}${ESC}[0m ${ESC}[${code + 10}mon it${ESC}[0m ` +
    `${ESC}[2;${code}mdim${ESC}[0m\n`;
}).join("");
const id = await uploaded(
  server.url,
  `${colourful}::group::Build\nerror: https://a.example/x\n::endgroup::\nend\u202e\n`,
  { context: "run" },
);

/** What axe finds wrong. */
async function violations(viewer: Viewer): Promise<string[]> {
  await viewer.page.evaluate(AXE);
  return await viewer.page.evaluate<string[]>(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa",
    "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then(({ violations }) =>
      violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
        id + ": " + html + " " + failureSummary)))`);
}

for (const colorScheme of ["light", "dark"] as const) {
  either(`requirement 22: axe finds nothing wrong in any page, ${colorScheme}`, async () => {
    const running = await Upload.begin(server.url, { filename: "running.log" });
    await running.write("one\n");
    await using viewer = await Viewer.open(browser, server.url, `/view/${id}`, { colorScheme });
    await viewer.settled();
    await viewer.until(`document.querySelector(".row.error") !== null`);
    assertEquals(await violations(viewer), []);
    await viewer.search("colour");
    await viewer.until(`document.querySelectorAll("mark").length >= 16`);
    await viewer.page.click(`button[aria-label="Only hits"]`);
    await viewer.page.waitForSelector(".context input");
    assertEquals(await violations(viewer), []);
    await viewer.press("Escape");
    await viewer.page.click(`button[aria-label="Keys"]`);
    await viewer.page.waitForSelector("dialog[open]");
    assertEquals(await violations(viewer), []);
    for (const path of ["/", "/view?context=run", `/view/${running.id}`]) {
      await viewer.page.goto(server.url + path);
      await viewer.page.waitForSelector(".state");
      assertEquals(await violations(viewer), [], path);
      await viewer.picture(
        `${path === "/" ? "list" : path.includes("?") ? "run" : "running"}-${colorScheme}`,
      );
    }
    await running.complete();
  });
}

either(
  "requirement 22: a screen reader finds a log, hears new lines once, and sees the focus",
  async () => {
    const upload = await Upload.begin(server.url);
    await upload.write("first\n");
    await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
    await viewer.untilLine(1, "first");
    const log = viewer.page.getByRole("log", { name: "Lines" });
    assertEquals(await log.getAttribute("aria-live"), "off");
    assertEquals(await viewer.page.locator(`[aria-live="polite"]`).count(), 1);
    await upload.complete();
    await viewer.until(`document.querySelector("[aria-live=polite]").textContent === "completed"`);
    await viewer.press("Tab");
    await viewer.until(`getComputedStyle(document.activeElement).outlineStyle === "solid"`);
    for (const name of ["Search (/)", "Wrap long lines", "Download"]) {
      const [role] = name === "Download" ? ["link" as const] : ["button" as const];
      const found = viewer.page.getByRole(role, { name: name.replace(/ \(.*/, "") });
      assert(await found.count() >= 1, name);
    }
  },
);

either(
  "requirement 23: everything fits on a phone of 360 pixels, and fingers find it",
  async () => {
    const options = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };
    const long = await uploaded(server.url, `${"long line ".repeat(100)}\n`.repeat(200));
    await using viewer = await Viewer.open(browser, server.url, `/view/${long}`, options);
    await viewer.settled();
    const width = () => viewer.page.evaluate<number>(`document.documentElement.scrollWidth`);
    assertEquals(await width(), 360);
    const small = () =>
      viewer.page.evaluate<string[]>(`[...document.querySelectorAll(".bar .tool")]
      .filter((tool) => tool.checkVisibility() && tool.getBoundingClientRect().height < 24)
      .map((tool) => tool.textContent)`);
    assertEquals(await small(), []);
    const height = await viewer.page.evaluate<number>(
      `document.querySelector(".log").getBoundingClientRect().height`,
    );
    assert(height > 320, `${height} pixels for lines`);
    await viewer.picture("phone");
    // Tools that have no room stand below a button.
    assertEquals(await viewer.page.getByRole("button", { name: "Wrap long lines" }).count(), 0);
    await viewer.page.click(`button[aria-label="More tools"]`);
    assertEquals(await small(), []);
    await viewer.page.click(`button[aria-label="Wrap long lines"]`);
    await viewer.until(`document.querySelector(".log.wrap") !== null`);
    await viewer.picture("phone-tools");
    assertEquals(await width(), 360);
    await viewer.press("Escape");
    await viewer.until(`document.querySelector(".options.open") === null`);
    for (const path of ["/", "/view?context=run"]) {
      await viewer.page.goto(server.url + path);
      await viewer.page.waitForSelector(".state");
      assertEquals(await width(), 360, path);
    }
    await viewer.picture("phone-run");
  },
);

either("the system's theme is followed, and a chosen one is remembered", async () => {
  await using viewer = await Viewer.open(browser, server.url, `/view/${id}`, {
    colorScheme: "dark",
  });
  await viewer.settled();
  const background = () =>
    viewer.page.evaluate<string>(`getComputedStyle(document.body).backgroundColor`);
  assertEquals(await background(), "rgb(15, 18, 22)");
  await viewer.page.emulateMedia({ colorScheme: "light" });
  await viewer.until(`document.documentElement.dataset.theme === "light"`);
  await viewer.page.click(`button[aria-label="Theme: system"]`);
  await viewer.page.click(`button[aria-label="Theme: light"]`);
  await viewer.until(`document.documentElement.dataset.theme === "dark"`);
  await viewer.page.reload();
  await viewer.settled();
  assertEquals(await background(), "rgb(15, 18, 22)");
});

either("keys that a layout writes with AltGr are what they write", async () => {
  const grouped = await uploaded(server.url, "::group::A\none\n::endgroup::\nend\n");
  await using viewer = await Viewer.open(browser, server.url, `/view/${grouped}`);
  await viewer.until(`document.querySelectorAll(".row").length === 2`);
  const write = (key: string) =>
    viewer.page.evaluate(`document.body.dispatchEvent(new KeyboardEvent("keydown",
      { key: "${key}", ctrlKey: true, altKey: true, bubbles: true, cancelable: true }))`);
  await write("]");
  await viewer.untilLine(2, "one");
  await write("[");
  await viewer.until(`document.querySelectorAll(".row").length === 2`);
});
