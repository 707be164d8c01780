/** Links of the viewer: to lines of one log of several, to all of a long line. */
import { assert, assertEquals } from "@std/assert";
import { shareResource, SignedLinks } from "../../mod.ts";
import { openBrowser, openServer, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";
import { startServer } from "../helpers/server.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();

function lines(count: number, name: string): string {
  return Array.from({ length: count }, (_, at) => `${name} ${at + 1}\n`).join("");
}

const long = `before\n${"x".repeat(5000)}the end of it\nafter\n`;

test("requirement 7: a line of one of several logs has a link that leads there again", async () => {
  const context = "links";
  const first = await uploaded(server.url, lines(500, "one"), { context, filename: "one.log" });
  const second = await uploaded(server.url, lines(500, "two"), { context, filename: "two.log" });
  await using viewer = await Viewer.open(browser, server.url, `/view?context=${context}`);
  await viewer.untilLine(1, "one 1");
  await viewer.page.click(`button[aria-label="Show two.log beside the others"]`);
  await viewer.untilLine(3, "two 3");
  const pane = viewer.page.locator(`section[aria-label="two.log"]`);
  await pane.locator(`.number:text-is("3")`).click();
  await pane.locator(`.number:text-is("5")`).click({ modifiers: ["Shift"] });
  await viewer.until(`document.querySelectorAll(".row.linked").length === 3`);
  assertEquals(new URL(viewer.page.url()).hash, `#${first},${second}:L3-L5`);
  // What is copied from a number is the page of its log.
  const number = pane.locator(`.number:text-is("3")`);
  assertEquals(await number.getAttribute("href"), `${server.url}/view/${second}#L3`);
  await viewer.page.goto(`${server.url}/view?context=${context}#${first}:L400,${second}:L300`);
  await viewer.page.reload();
  await viewer.untilLine(400, "one 400");
  await viewer.untilLine(300, "two 300");
  // A link that is put into the address of an open page.
  await viewer.page.evaluate(`location.hash = "#${second}:L77"`);
  await viewer.untilLine(77, "two 77");
  await viewer.until(`document.querySelectorAll(".log").length === 1`);
});

test("requirement 15: all of a long line is shown from a context, too", async () => {
  const context = "long";
  const id = await uploaded(server.url, long, { context });
  await using viewer = await Viewer.open(browser, server.url, `/view?context=${context}`);
  await viewer.page.click(".more");
  await viewer.untilLine(2, "the end of it");
  assertEquals(viewer.page.url(), `${server.url}/view/${id}?line=2`);
});

test("requirement 25: a signed link shows all of a long line, and the way back", async () => {
  const token = "right";
  await using guarded = await openGuarded(token);
  const id = await uploaded(guarded.url, long, { token });
  const { view } = await shareResource(id, { server: guarded.url, token });
  await using viewer = await Viewer.open(browser, guarded.url, view!.slice(guarded.url.length));
  await viewer.page.click(".more");
  await viewer.untilLine(2, "the end of it");
  await viewer.page.click(`a:has-text("back to all lines")`);
  await viewer.untilLine(3, "after");
  assert((await viewer.page.locator(".row.linked .number").textContent()) === "2");
});

test("a fragment that makes no sense is none", async () => {
  const id = await uploaded(server.url, "one\n");
  for (const fragment of ["#T%", "#T2026-11-28T14%3A05%3A30Z", "#L0", "#L99999"]) {
    await using viewer = await Viewer.open(browser, server.url, `/view/${id}${fragment}`);
    await viewer.untilLine(1, "one");
    assertEquals(await viewer.page.locator(".problem").count(), 0, fragment);
  }
});

async function openGuarded(right: string) {
  const grant = {
    name: "test",
    scopes: ["upload" as const, "read" as const],
    contextId: null,
    resourceId: null,
    expiresAtMs: null,
  };
  const authenticate = (token: string) => Promise.resolve(token === right ? grant : null);
  const access = { tokens: { authenticate }, links: new SignedLinks() };
  return await startServer({ access });
}
