/** Lines, search and events of a log that is being written, by real `curl` from every program. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { Output, quickest, Workspace } from "../helpers/cli.ts";
import { servers } from "../helpers/step/transfer.ts";

/** What `curl` prints, and how it ends. */
function curl(...args: string[]) {
  const child = spawn("curl", ["--silent", "--show-error", "--no-buffer", ...args]);
  const ended = once(child, "close").then(([code]) => Number(code));
  const fails = (why: string) => new Error(`curl ${args.join(" ")}: ${why}`);
  return { output: new Output(child.stdout, fails), ended, stop: () => child.kill() };
}

async function ask(...args: string[]): Promise<string> {
  const { output, ended } = curl("--fail", ...args);
  assertEquals(await ended, 0);
  return output.text;
}

const event = (text: string, type: string): number => text.split(`event: ${type}\n`).length - 1;

for (const kind of servers) {
  test(`curl reads lines, searches and hears events of a live log: server on ${kind}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    const { push, reference } = await workspace.push(quickest, ["-", "--context", "run 1"]);
    await push.write("one ERROR\ntwo\nthree error\nfo");
    const resource = `${workspace.server}/resources/${reference.split("/").at(-1)}`;
    const status = curl(`${resource}/events`);
    const context = curl(`${workspace.server}/contexts/run%201/events`);
    await status.output.until((text) => text.includes('"numberOfLines":3'));
    await context.output.until((text) => text.includes('"numberOfLines":3'));

    assertEquals(await ask(`${resource}/lines?tail=2`), "two\nthree error\n");
    const asJson = ["--header", "Accept: application/json"];
    const { lines, next } = JSON.parse(await ask(...asJson, `${resource}/lines?start=1&count=1`));
    assertEquals([lines, next], [["two\n"], null]);
    assertEquals(
      await ask("--get", "--data-urlencode", "q=err?or$", "-d", "regex=true", `${resource}/search`),
      '{"line":2,"offset":20,"length":5,"text":"three error","textOffset":14,"cut":false}\n' +
        '{"end":true,"nextLine":3,"truncated":false,"partialLines":0}\n',
    );

    await push.write("ur\n");
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals(await status.ended, 0);
    assert(status.output.text.includes('"transferStatus":"COMPLETED","currentSize":31'));
    assertEquals(await ask(`${resource}/lines?start=3`), "four\n");
    await ask("--request", "DELETE", resource);
    const heard = await context.output.until((text) => event(text, "deleted") === 1);
    assertEquals([event(heard, "resource"), event(heard, "created")], [1, 0]);
    assert(event(heard, "status") >= 1);
    context.stop();
    await context.ended;
  });
}
