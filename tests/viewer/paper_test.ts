/** What comes out of a printer. */
import { assert, assertEquals } from "@std/assert";
import { eitherRuntime } from "../helpers/cli.ts";
import { openBrowser, openServer, uploaded, Viewer } from "../helpers/peers/browser.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();

/** What a page of a log has on paper. */
interface Paper {
  rows: number;
  note: string;
  theme: string;
  /** Whether the rows stand below each other, with nothing cut off at the bottom or at the side. */
  isWhole: boolean;
}

async function printed(count: number): Promise<{ paper: Paper; viewer: Viewer }> {
  const text = Array.from({ length: count }, (_, at) => `line ${at + 1} ${"word ".repeat(60)}\n`);
  const id = await uploaded(server.url, text.join(""));
  const viewer = await Viewer.open(browser, server.url, `/view/${id}`, { colorScheme: "dark" });
  await viewer.settled();
  await viewer.page.emulateMedia({ media: "print", colorScheme: "dark" });
  const paper = await viewer.page.evaluate<Paper>(`(() => {
    dispatchEvent(new Event("beforeprint"));
    const rows = [...document.querySelectorAll(".row")].map((row) => row.getBoundingClientRect());
    const note = document.querySelector(".paper");
    const isBelow = rows.every(({ top }, at) => at === 0 || top >= rows[at - 1].bottom - 1);
    const page = document.documentElement;
    return {
      rows: rows.length,
      note: getComputedStyle(note).display === "none" ? "" : note.textContent,
      theme: page.dataset.theme,
      isWhole: isBelow && page.scrollHeight >= rows.at(-1).bottom && page.scrollWidth <= innerWidth,
    };
  })()`);
  await viewer.picture(`paper-${count}`);
  return { paper, viewer };
}

test("a log that is at hand is printed as a whole, in light colours, and shown as before after that", async () => {
  const { paper, viewer } = await printed(150);
  await using _ = viewer;
  assertEquals(paper, { rows: 150, note: "", theme: "light", isWhole: true });
  await viewer.page.emulateMedia({ media: "screen" });
  await viewer.page.evaluate(`dispatchEvent(new Event("afterprint"))`);
  await viewer.until(`document.querySelectorAll(".row").length < 100`);
  assertEquals(await viewer.page.locator(".log.wrap").count(), 0);
  await viewer.until(`document.documentElement.dataset.theme === "dark"`);
});

test("of a longer one it is said what is left out, and where that is", async () => {
  const { paper, viewer } = await printed(5000);
  await using _ = viewer;
  const { note, rows, ...rest } = paper;
  assertEquals(rest, { theme: "light", isWhole: true });
  assert(rows >= 150 && rows <= 1000, String(rows));
  assertEquals(
    note,
    `Printed are ${rows} of 5,000 lines, from line 1 to ${rows}. ` +
      "Text and Download on the page have all of it.",
  );
});

test("a browser that prints asks for that", async () => {
  const { viewer } = await printed(30);
  await using _ = viewer;
  await viewer.page.evaluate(`dispatchEvent(new Event("afterprint"))`);
  await viewer.page.evaluate(`addEventListener("beforeprint", () => {
    document.title = "printed in " + document.documentElement.dataset.theme;
  })`);
  await viewer.page.pdf();
  await viewer.until(`document.title === "printed in light"`);
});
