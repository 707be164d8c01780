/** The viewer at sizes where most viewers end. */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { request } from "node:http";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { openBrowser, Viewer } from "../helpers/peers/browser.ts";
import { own, Workspace } from "../helpers/cli.ts";

const browser = await openBrowser();
const BLOCK_LINES = 100_000;

/** A file of numbered lines of 100 bytes; three of them are to be found. */
async function writeLines(path: string, count: number): Promise<void> {
  const file = await open(path, "w");
  try {
    for (let from = 0; from < count; from += BLOCK_LINES) {
      const block = Array.from({ length: BLOCK_LINES }, (_, at) => {
        const line = from + at + 1;
        const isHit = [0.1, 0.5, 0.9].some((part) => line === count * part);
        return `line ${line} ${isHit ? "NEEDLE " : ""}`.padEnd(99, ".");
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

for (const millions of [10, 100]) {
  test(`requirements 2 and 3: ${millions} million lines, every one of them within reach`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(own);
    const count = millions * 1_000_000;
    await writeLines(workspace.path("big.log"), count);
    const id = await upload(workspace.server, workspace.path("big.log"));
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
