/** The viewer at sizes where most viewers end. */
import { createReadStream } from "node:fs";
import { mkdir, open, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { dirname } from "node:path";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { logPath } from "../../src/storage/layout.ts";
import { openBrowser, Viewer } from "../helpers/peers/browser.ts";
import { own, Workspace } from "../helpers/cli.ts";

const browser = await openBrowser();
const BLOCK_LINES = 100_000;
const MILLION = 1_000_000;

/** Writes numbered lines into a file; three of them are to be found. */
async function writeLines(
  path: string,
  count: number,
  textOf: (line: number) => string,
): Promise<void> {
  const hits = [0.1, 0.5, 0.9].map((part) => count * part);
  const file = await open(path, "w");
  try {
    for (let from = 0; from < count; from += BLOCK_LINES) {
      const block = Array.from({ length: BLOCK_LINES }, (_, at) => {
        const line = from + at + 1;
        return hits.includes(line) ? `${textOf(line)} NEEDLE` : textOf(line);
      });
      await file.write(`${block.join("\n")}\n`);
    }
  } finally {
    await file.close();
  }
}

/** Uploads a file; the id of the resource. */
function upload(server: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const address = `${server}/resources?name=big.log&type=text/plain`;
    const sending = request(address, { method: "POST" }, async (answer) => {
      let text = "";
      for await (const chunk of answer) text += chunk;
      resolve(JSON.parse(text).id);
    });
    sending.on("error", reject);
    createReadStream(path, { highWaterMark: 1024 * 1024 }).pipe(sending);
  });
}

/** Ten million lines of 100 bytes, uploaded. */
async function tenMillion(workspace: Workspace): Promise<string> {
  await workspace.serve(own);
  const path = workspace.path("big.log");
  await writeLines(path, 10 * MILLION, (line) => `line ${line} `.padEnd(92, "."));
  return await upload(workspace.server, path);
}

/** A hundred million short lines, as a Java server would have left them. */
async function hundredMillion(workspace: Workspace): Promise<string> {
  const id = crypto.randomUUID();
  const path = logPath(workspace.path("data"), id);
  await mkdir(dirname(path), { recursive: true });
  await writeLines(path, 100 * MILLION, (line) => `line ${line} `);
  const adopted = workspace.start(own, ["adopt", workspace.path("data"), "--text"]);
  adopted.end();
  assertEquals((await adopted.exit(10 * 60_000)).code, 0);
  await workspace.serve(own);
  return id;
}

for (
  const [millions, make] of [[10, tenMillion], [100, hundredMillion]] as const
) {
  test(`requirements 2 and 3: ${millions} million lines, every one of them within reach`, async () => {
    await using workspace = await Workspace.open();
    const count = millions * MILLION;
    const id = await make(workspace);
    await using viewer = await Viewer.open(browser, workspace.server, `/view/${id}`);
    await viewer.untilLine(1, "line 1 ");
    await viewer.press("End");
    await viewer.untilLine(count, `line ${count} `);
    await viewer.press("Home");
    await viewer.untilLine(1, "line 1 ");
    const box = (await viewer.page.locator(".log").boundingBox())!;
    const right = box.x + box.width - 7;
    await viewer.page.mouse.move(right, box.y + 24);
    await viewer.page.mouse.down();
    await viewer.page.mouse.move(right, box.y + box.height / 2, { steps: 50 });
    await viewer.page.mouse.up();
    const middle = await viewer.untilTop((line) => line > count * 0.4 && line < count * 0.6);
    await viewer.page.mouse.move(right - 200, box.y + 200);
    await viewer.page.mouse.wheel(0, 90);
    await viewer.untilTop((line) => line === middle + 5);
    await viewer.settled();
    for (const [line, text] of await viewer.rows()) assert(text.startsWith(`line ${line} `));
    await viewer.press("Home");
    await viewer.untilLine(1, "line 1 ");
    await viewer.search("NEEDLE");
    await viewer.untilLine(count * 0.1, "NEEDLE", 60_000);
    await viewer.until(`/ of 3$/.test(document.querySelector(".count").textContent)`, 120_000);
    await viewer.press("Enter", "Enter");
    await viewer.untilLine(count * 0.9, "NEEDLE");
    assert(await viewer.page.evaluate<number>(`document.querySelectorAll("*").length`) <= 500);
    const session = await viewer.page.context().newCDPSession(viewer.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    assert(usedSize < 40e6, `${usedSize} bytes of heap`);
    assertEquals(viewer.complaints, []);
  });
}

test("requirement 15: a line of 50 MB between short ones is cut, shown in pieces, searched", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(own);
  const half = 25 * MILLION;
  const file = workspace.path("long.log");
  await writeFile(file, `before\n${"x".repeat(half)}NEEDLE${"y".repeat(half)}\nafter\n`);
  const id = await upload(workspace.server, file);
  await using viewer = await Viewer.open(browser, workspace.server, `/view/${id}`);
  await viewer.untilLine(3, "after");
  assertEquals((await viewer.rows()).get(2)!.length, 4096);
  assertEquals(await viewer.text(".more"), "… show all (50.0 MB)");
  await viewer.search("NEEDLE");
  await viewer.until(`document.querySelector(".count").textContent === "1 of 1"`, 60_000);
  await viewer.press("Escape");
  await viewer.page.click(".more");
  await viewer.settled();
  await viewer.press("End");
  await viewer.untilLine(Math.ceil((2 * half + 6) / 4096), "yyy");
  const session = await viewer.page.context().newCDPSession(viewer.page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  assert(usedSize < 40e6, `${usedSize} bytes of heap`);
});
