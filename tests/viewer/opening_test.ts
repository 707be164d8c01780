/** Pages that are opened while their server cannot be reached: they say so, and go on by themselves. */
import { assertEquals } from "@std/assert";
import type { Route } from "playwright-core";
import { eitherRuntime } from "../helpers/cli.ts";
import { openBrowser, openServer, uploaded, Viewer } from "../helpers/peers/browser.ts";

const test = eitherRuntime();

const browser = await openBrowser();
const server = await openServer();
const CONTEXT = "run 1";
const id = await uploaded(server.url, "one\ntwo\n", { filename: "x.log", context: CONTEXT });

/** What happens to every question of a page for a while. */
const FAILURES = {
  "cannot be reached": (route: Route) => route.abort("connectionrefused"),
  "has no engine": (route: Route) =>
    route.fulfill({
      status: 503,
      headers: { "retry-after": "1", "content-type": "application/problem+json" },
      body: JSON.stringify({ code: "NOT_READY", detail: "the engine does not answer" }),
    }),
  "is behind a proxy that finds it busy": (route: Route) =>
    route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad Gateway</h1>" }),
};

const LOG = ["a log", `/view/${id}`, `.row .text >> text="two"`] as const;
const LINE = ["a long line", `/view/${id}?line=1`, `.row .text >> text="one"`] as const;
const RUN = [
  "a context",
  `/view?context=${encodeURIComponent(CONTEXT)}`,
  `nav a:text-is("x.log")`,
] as const;
const LIST = ["the list", "/", `.resources a:text-is("x.log")`] as const;

const openings: [typeof LOG | typeof LINE | typeof RUN | typeof LIST, keyof typeof FAILURES][] = [
  [LOG, "cannot be reached"],
  [LOG, "has no engine"],
  [LINE, "has no engine"],
  [RUN, "is behind a proxy that finds it busy"],
  [LIST, "has no engine"],
  [LIST, "cannot be reached"],
];

for (const [[name, path, shown], what] of openings) {
  test(`the page of ${name} waits for a server that ${what}`, async () => {
    await using viewer = await Viewer.open(browser, server.url, "/healthz");
    viewer.expectComplaints(/Failed to load resource|ERR_/);
    const questions = /[/](resources|contexts|events)\b/;
    await viewer.page.route(questions, FAILURES[what]);
    await viewer.page.goto(server.url + path);
    await viewer.page.waitForSelector(".problem [role=status]");
    await viewer.until(
      `/It is asked again in \\d+ s/.test(document.querySelector(".problem").textContent)`,
    );
    // What changes every second is not read out.
    assertEquals(await viewer.page.locator("[role=status] :text('again in')").count(), 0);
    await viewer.picture("waiting");
    await viewer.page.unroute(questions);
    await viewer.page.waitForSelector(shown);
    assertEquals(await viewer.page.locator(".problem, .lost").count(), 0);
  });
}
