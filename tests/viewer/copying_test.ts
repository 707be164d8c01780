/** What is copied is exactly the text of the log, wherever it stands. */
import { assertEquals } from "@std/assert";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();
const allowed = { permissions: ["clipboard-read", "clipboard-write"] };

/** Selects everything and copies it. */
async function copied(viewer: Viewer): Promise<string> {
  await viewer.page.evaluate(`navigator.clipboard.writeText("")`);
  await viewer.press("Control+a", "Control+c");
  for (;;) {
    const text = await viewer.page.evaluate<string>(`navigator.clipboard.readText()`);
    if (text !== "") return text;
  }
}

test("requirement 9: a line that is shown in pieces is copied as one", async () => {
  const line = Array.from({ length: 4000 }, (_, at) => `${at} é漢😀 `).join("");
  const id = await uploaded(server.url, `before\n${line}\r\nafter\n`);
  await using viewer = await Viewer.open(browser, server.url, `/view/${id}?line=2`, allowed);
  await viewer.untilLine(1, "0 é漢😀");
  assertEquals(await copied(viewer), line);
});

test("requirement 6: of a line that is shown in pieces nothing is said that holds for its log only", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(`${"x".repeat(5000)}NEEDLE\nmore\n`);
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}?line=1`);
  await viewer.untilLine(2, "NEEDLE");
  assertEquals(await viewer.text(".size"), "2 pieces, 5.0 kB");
  assertEquals(await viewer.page.locator(".bar .state, .bar .errors").count(), 0);
  // A search that cannot find anything is not offered: the browser's own sees what is shown.
  await viewer.press("/", "Control+f");
  assertEquals(await viewer.page.locator(".search").count(), 0);
  await upload.complete();
  await using none = await Viewer.open(browser, server.url, `/view/${upload.id}?line=3`);
  await none.page.waitForSelector(`.problem:has-text("there is no line 3")`);
});

test("requirement 9: everything is copied together with a line that is not ended yet", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(`\ufeffone\n\ntwo\n10 %`);
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`, allowed);
  await viewer.untilLine(4, "10 %");
  assertEquals(await copied(viewer), "\ufeffone\n\ntwo\n10 %");
  // The same where most of it has to be read.
  const many = Array.from({ length: 2000 }, (_, at) => `line ${at}\n`).join("");
  await upload.write(`\n${many}20 %`);
  await viewer.untilLine(2005, "20 %");
  assertEquals(await copied(viewer), `\ufeffone\n\ntwo\n10 %\n${many}20 %`);
  await upload.complete();
});
