/** Who may see a log, and by what. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Grant, shareResource, SignedLinks } from "../../mod.ts";
import { openBrowser, openServer, Upload, uploaded, Viewer } from "../helpers/peers/browser.ts";
import { eitherRuntime } from "../helpers/cli.ts";

const test = eitherRuntime();

const browser = await openBrowser();
let revoked = "";
const server = await openServer({
  access: {
    tokens: {
      authenticate: (token: string) =>
        Promise.resolve(
          token === "brief" && brief.expiresAtMs! > Date.now()
            ? brief
            : token.startsWith("right") && token !== revoked
            ? grant
            : null,
        ),
    },
    links: new SignedLinks(),
  },
});
const grant: Grant = {
  name: "test",
  scopes: ["upload", "read", "admin"],
  contextId: null,
  resourceId: null,
  expiresAtMs: null,
};
/** What the token `brief` allows, for a while. */
let brief: Grant = { ...grant, expiresAtMs: 0 };

function log(): Promise<string> {
  return uploaded(server.url, "one\ntwo\n", { token: "right" });
}

test("a token is asked for, kept for the tab, sent in a header and never in an address", async () => {
  const id = await log();
  await using viewer = await Viewer.open(browser, server.url, `/view/${id}`);
  viewer.expectComplaints(/status of 401/);
  await viewer.page.waitForSelector(".problem input");
  await viewer.picture("token");
  await viewer.page.fill(".problem input", "right");
  await viewer.press("Enter");
  await viewer.untilLine(2, "two");
  assert(!viewer.requests.some((path) => path.includes("right")), viewer.requests.join("\n"));
  assertEquals(await viewer.page.evaluate(`localStorage.getItem("stream.token")`), null);
  // What a link cannot send along is asked for by a link that ends soon.
  const [download] = await Promise.all([
    viewer.page.waitForEvent("download"),
    viewer.page.click(`a:text-is("Download")`),
  ]);
  assertEquals(download.suggestedFilename(), "build.log");
  await viewer.page.goto(`${server.url}/`);
  await viewer.page.click(`a:text-is("build.log")`);
  await viewer.untilLine(1, "one");
});

test("a token that expires while one looks is asked for again", async () => {
  const id = await log();
  await using viewer = await Viewer.open(browser, server.url, `/view/${id}`);
  viewer.expectComplaints(/status of 401/);
  await viewer.page.fill(".problem input", "right-but-short");
  await viewer.press("Enter");
  await viewer.untilLine(2, "two");
  revoked = "right-but-short";
  await viewer.page.reload();
  await viewer.page.waitForSelector(".problem input");
  assertStringIncludes(await viewer.text(".problem"), "has expired");
  await viewer.page.fill(".problem input", "right");
  await viewer.press("Enter");
  await viewer.untilLine(2, "two");
});

test("a token that expires while a log is watched is asked for again, and the log goes on", async () => {
  const upload = await Upload.begin(server.url, { token: "right" });
  await upload.write("one\n");
  await using viewer = await Viewer.open(browser, server.url, `/view/${upload.id}`);
  viewer.expectComplaints(/status of 401/);
  brief = { ...grant, expiresAtMs: Date.now() + 3000 };
  await viewer.page.fill(".problem input", "brief");
  await viewer.press("Enter");
  await viewer.untilLine(1, "one");
  await viewer.page.waitForSelector(".problem input");
  assertStringIncludes(await viewer.text(".problem"), "has expired");
  await viewer.picture("expired");
  await viewer.page.fill(".problem input", "right");
  await viewer.press("Enter");
  await viewer.untilLine(1, "one");
  await upload.write("two\n");
  await viewer.untilLine(2, "two");
  await upload.complete();
  await viewer.page.waitForSelector(".state.completed");
});

test("a list that a token was asked for is live", async () => {
  await using viewer = await Viewer.open(browser, server.url, "/");
  viewer.expectComplaints(/status of 401/);
  await viewer.page.fill(".problem input", "right");
  await viewer.press("Enter");
  await viewer.page.waitForSelector(".resources");
  const upload = await Upload.begin(server.url, { filename: "new.log", token: "right" });
  await viewer.page.waitForSelector(`a:text-is("new.log")`);
  await upload.complete();
});

test("a download that is refused says so", async () => {
  const id = await log();
  await using viewer = await Viewer.open(browser, server.url, `/view/${id}`);
  viewer.expectComplaints(/status of 401/);
  await viewer.page.fill(".problem input", "right-for-now");
  await viewer.press("Enter");
  await viewer.untilLine(2, "two");
  revoked = "right-for-now";
  await viewer.page.click(`a:text-is("Download")`);
  await viewer.page.waitForSelector(".refusal");
});

test("requirement 25: a link that works without login for a while opens the viewer", async () => {
  const id = await log();
  const { view } = await shareResource(id, { server: server.url, token: "right" });
  await using viewer = await Viewer.open(browser, server.url, view!.slice(server.url.length));
  await viewer.untilLine(2, "two");
  await viewer.search("two");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 1"`);
  const [download] = await Promise.all([
    viewer.page.waitForEvent("download"),
    viewer.page.click(`a:text-is("Download")`),
  ]);
  assertEquals(download.suggestedFilename(), "build.log");
  await viewer.page.click(".home");
  await viewer.page.waitForSelector(".problem input");
  viewer.expectComplaints(/status of 401/);
});
