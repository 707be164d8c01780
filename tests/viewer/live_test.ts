/** Logs that grow, end, fail, or whose server goes away, while somebody watches. */
import { assert, assertEquals } from "@std/assert";
import { deleteResource } from "../../mod.ts";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime, own, Workspace } from "../helpers/cli.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();

function numbered(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, at) => `line ${from + at}\n`).join("");
}

test("requirement 4: it follows at the end, stands still when scrolled up, and follows again", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 200));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(200, "line 200");
  await upload.write(numbered(201, 300));
  await viewer.untilLine(300, "line 300");
  const box = (await viewer.page.locator(".log").boundingBox())!;
  await viewer.page.mouse.move(box.x + 200, box.y + 200);
  await viewer.page.mouse.wheel(0, -360);
  const top = await viewer.untilTop((line) => line < 265);
  await viewer.page.waitForSelector(".missed");
  const still = await viewer.untilTop((line) => line <= top);
  await upload.write(numbered(301, 5000));
  await viewer.until(
    `document.querySelector(".missed")?.textContent.startsWith("4,700 new lines")`,
  );
  assertEquals((await viewer.visibleLines())[0], still);
  await viewer.picture("paused");
  await viewer.page.click(".missed");
  await viewer.untilLine(5000, "line 5000");
  await upload.write(numbered(5001, 5010));
  await viewer.untilLine(5010, "line 5010");
  await viewer.press("Home");
  await viewer.untilLine(1, "line 1");
  await viewer.press("End");
  await viewer.untilLine(5010, "line 5010");
  await upload.complete();
  await viewer.page.waitForSelector(".state.completed");
  // A log that is over is not followed.
  assertEquals(await viewer.page.locator(".missed").count(), 0);
});

test("requirement 5: who opens late sees everything from line 1, and what runs is listed", async () => {
  const upload = await Upload.begin(server.url, { filename: "late.log" });
  await upload.write(numbered(1, 1000));
  await using viewer = await Viewer.open(browser, server.url, "/?state=running");
  await viewer.page.click(`a:text-is("late.log")`);
  await viewer.untilLine(1000, "line 1000");
  await viewer.press("Home");
  await viewer.untilLine(1, "line 1");
  await upload.complete();
});

test("a list is found as one types, over one connection", async () => {
  await uploaded(server.url, "one\n", { filename: "typed.log" });
  await uploaded(server.url, "one\n", { filename: "other.log" });
  await using viewer = await Viewer.open(browser, server.url, "/");
  await viewer.page.waitForSelector(`a:text-is("other.log")`);
  await viewer.page.click(`.filters input`);
  await viewer.press(..."typed.log");
  await viewer.until(`document.querySelectorAll(".resources a").length === 1`);
  await viewer.page.waitForSelector(`a:text-is("typed.log")`);
  assertEquals(viewer.requests.filter((path) => path === "/events").length, 1);
  const late = await Upload.begin(server.url, { filename: "typed.log.2" });
  await viewer.page.waitForSelector(`a:text-is("typed.log.2")`);
  await late.complete();
});

test("requirement 6: a log that fails says so and why, below everything that arrived", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 10));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(10, "line 10");
  await viewer.page.waitForSelector(".state.running");
  await upload.fail("the disk is full");
  await viewer.page.waitForSelector(".state.failed");
  assert((await viewer.text(".ending")).includes("the disk is full"));
  assertEquals((await viewer.rows()).size, 10);
  await viewer.picture("failed");
});

test("requirement 6: a server that is killed and comes back: no line twice, none missing", async () => {
  await using workspace = await Workspace.open();
  const first = await workspace.serve(own);
  const port = new URL(workspace.server).port;
  const { push, reference } = await workspace.push(own, ["-", "--name", "x.log"]);
  await push.write(numbered(1, 500));
  await using viewer = await Viewer.open(
    browser,
    workspace.server,
    `/view/${reference.split("/").at(-1)}`,
  );
  viewer.expectComplaints(/Failed to load resource|ERR_/);
  await viewer.untilLine(500, "line 500");
  await first.kill("SIGKILL");
  await viewer.page.waitForSelector(".state.lost");
  assert(/connection lost, again in \d+ s/.test(await viewer.text(".state.lost")));
  // What changes every second is not read out.
  assertEquals(await viewer.page.locator(".state.lost[role], [role] > .state.lost").count(), 0);
  assertEquals(await viewer.text("[aria-live=polite]"), "connection lost");
  assertEquals(await viewer.page.title(), "⚠ x.log");
  await viewer.picture("lost");
  await push.write(numbered(501, 600));
  await workspace.serve(own, ["--port", port]);
  // Both sides wait up to 10 s before they try again.
  await viewer.untilLine(600, "line 600", 40_000);
  await viewer.page.waitForSelector(".state.running");
  push.end();
  await viewer.page.waitForSelector(".state.completed");
  await viewer.press("Home");
  await viewer.untilLine(1, "line 1");
  const seen = new Map<number, string>();
  for (let top = 1; seen.size < 600;) {
    for (const [line, text] of await viewer.rows()) {
      if (text !== "…") seen.set(line, text);
    }
    await viewer.press("PageDown");
    if (seen.size < 600) top = await viewer.untilTop((line) => line > top || seen.size >= 600);
    await viewer.settled();
  }
  for (const [line, text] of seen) assertEquals(text, `line ${line}`);
  assert((await viewer.text(".size")).startsWith("600 lines"));
});

test("requirement 4: a hit that comes in later is counted, and does not move the view", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 500));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(500, "line 500");
  await viewer.press("Home");
  await viewer.untilTop((line) => line === 1);
  await viewer.search("panic");
  await viewer.until(`document.querySelector(".count").textContent === "0 found"`);
  await upload.write(`${numbered(501, 600)}panic\n`);
  await viewer.until(`document.querySelector(".count").textContent === "1 found"`);
  assertEquals((await viewer.visibleLines())[0], 1);
  await viewer.press("Enter");
  await viewer.untilLine(601, "panic");
  await upload.complete();
});

test("requirement 14: a progress bar moves while its line is not ended yet", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write("start\n10 %");
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(2, "10 %⏎ not ended yet");
  await upload.write("\r50 %");
  await viewer.untilLine(2, "50 %⏎ not ended yet");
  await upload.write("\r100 %\nend\n");
  await viewer.untilLine(3, "end");
  assertEquals([...(await viewer.rows()).values()], ["start", "100 %", "end"]);
  await upload.complete();
});

test("a resource that does not exist is said to be so", async () => {
  await using viewer = await Viewer.open(browser, server.url, `/view/${crypto.randomUUID()}`);
  viewer.expectComplaints(/status of 404/);
  await viewer.page.waitForSelector(".problem");
  assert((await viewer.text(".problem")).includes("no such resource"));
  await viewer.picture("missing");
});

test("requirement 6: a resource that is deleted while somebody watches is said to be gone", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 10));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  viewer.expectComplaints(/status of 404/);
  await viewer.untilLine(10, "line 10");
  await deleteResource(upload.id, { server: server.url, force: true });
  await viewer.page.waitForSelector(".problem");
  assert((await viewer.text(".problem")).includes("was deleted"));
  await viewer.until(`document.title === "⚠ build.log"`);
  await viewer.picture("deleted");
});

test("requirement 12: a colour that was switched on long ago stays on in a log that is followed", async () => {
  const upload = await Upload.begin(server.url);
  const lines = numbered(1, 20_000);
  await upload.write(`\x1b[31m${lines}`);
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(20_000, "line 20000");
  await viewer.until(`[...document.querySelectorAll(".row .text span")]
    .every((piece) => piece.style.color !== "")`);
  await upload.write("still red\n\x1b[0mplain\n");
  await viewer.untilLine(20_002, "plain");
  await viewer.until(`(() => {
    const pieces = [...document.querySelectorAll(".row .text span")].map((piece) => [piece.textContent,
      piece.style.color !== ""]);
    return pieces.at(-2)[0] === "still red" && pieces.at(-2)[1] && !pieces.at(-1)[1];
  })()`);
  await upload.complete();
});

test("requirement 2: who follows a log asks for its lines once, however much comes", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 100));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(100, "line 100");
  for (let from = 101; from <= 1000; from += 10) {
    await upload.write(numbered(from, from + 9));
    await viewer.untilLine(from + 9, `line ${from + 9}`);
  }
  const asked = viewer.requests.filter((path) => path.includes("/lines?"));
  assert(asked.length <= 2, asked.join("\n"));
  assertEquals(viewer.requests.filter((path) => path.includes("/events")).length, 1);
  await upload.complete();
});

test("requirement 6: a hidden page listens to nothing, and is complete when it is shown again", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 100));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(100, "line 100");
  const show = (state: string) =>
    viewer.page.evaluate(`(() => {
      Object.defineProperty(document, "visibilityState", { value: "${state}", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    })()`);
  await show("hidden");
  const before = viewer.requests.length;
  for (let from = 101; from <= 1000; from += 100) await upload.write(numbered(from, from + 99));
  await upload.complete();
  assertEquals(viewer.requests.length, before);
  await show("visible");
  await viewer.untilLine(1000, "line 1000");
  await viewer.page.waitForSelector(".state.completed");
});

test("requirement 24: the logs of a context with their states, over one connection, side by side", async () => {
  const context = "run 7";
  await uploaded(server.url, numbered(1, 50), { context, filename: "build.log" });
  const test = await Upload.begin(server.url, { context, filename: "test.log" });
  await test.write(numbered(1, 70));
  await using viewer = await Viewer.open(
    browser,
    server.url,
    `/view?context=${encodeURIComponent(context)}`,
  );
  await viewer.untilLine(1, "line 1");
  await viewer.page.click(`button[aria-label="Show test.log beside the others"]`);
  await viewer.until(`document.querySelectorAll(".log").length === 2`);
  await viewer.untilLine(70, "line 70");
  const late = await Upload.begin(server.url, { context, filename: "deploy.log" });
  await viewer.page.waitForSelector(`nav a:text-is("deploy.log")`);
  await test.write(numbered(71, 80));
  await viewer.untilLine(80, "line 80");
  await viewer.picture("context");
  await test.complete();
  await late.complete();
  await viewer.until(`document.querySelectorAll("nav .state.completed").length === 3`);
  const streams = viewer.requests.filter((path) => path.endsWith("/events"));
  assertEquals(streams.length, 1, streams.join("\n"));
});

test("requirement 4: it goes on following when the window changes its height", async () => {
  const upload = await Upload.begin(server.url);
  await upload.write(numbered(1, 500));
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  await viewer.untilLine(500, "line 500");
  for (const height of [300, 700]) {
    await viewer.page.setViewportSize({ width: 1000, height });
    await viewer.until(`innerHeight === ${height}`);
    await upload.write(numbered(501, 510));
    await viewer.until(`document.querySelector(".missed") === null`);
  }
  await viewer.untilLine(520, "line 510");
  await upload.complete();
});
