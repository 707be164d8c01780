/** `push -F` where more files come than can wait. */
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/command.ts";
import { Progress } from "../../src/cli/output/progress.ts";
import { pushPath } from "../../src/cli/uploads/push_paths.ts";
import type { Told } from "../../src/cli/uploads/told.ts";
import { isFinal, type ResourceInfo, StreamError } from "../../src/protocol.ts";
import { lookingByHand } from "../helpers/looking.ts";
import { startServer } from "../helpers/server.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

/** Files "0" to "67" come at a path before the first one is sent; returns what failed, and what is at the server. */
async function pushMany(flags: string[]): Promise<{ failure: StreamError; told: Told[] }> {
  await using server = await startServer();
  await using directory = await temporaryDirectory();
  process.env.XDG_STATE_HOME = directory.path;
  const path = join(directory.path, "app.log");
  writeFileSync(path, "0");
  using looking = lookingByHand();
  using progress = new Progress();
  const stop = new AbortController();
  const told: Told[] = [];
  const say = async (what: Told) => {
    if (told.push(what) > 1) return;
    for (let index = 1; index <= 67; index++) {
      renameSync(path, `${path}.${index}`);
      writeFileSync(path, `${index}`);
      await looking.look();
    }
    stop.abort();
  };
  const pushing = pushPath({ path, name: undefined }, {
    options: {
      flag: (name) => ["follow-name", "json", ...flags].includes(name),
      text: (name) => name === "server" ? server.url : undefined,
      list: () => [],
      number: () => undefined,
      wrong: (_, why) => new UsageError(why),
    },
    signals: { stop: stop.signal, cancel: new AbortController().signal },
    contextId: "run",
    progress,
    say,
    show: () => Promise.resolve(),
  });
  const failure = await assertRejects(() => pushing, StreamError);
  const expected = flags.includes("join") ? [`FAILED ${SENT}`] : ALL;
  assertEquals(await ended(server.url), expected);
  return { failure, told };
}

/** Status and size of what there is, newest first, when all has ended. */
async function ended(url: string): Promise<string[]> {
  for (;;) {
    const answer = await fetch(`${url}/resources?context=run&limit=100`);
    const resources: ResourceInfo[] = await answer.json();
    if (resources.some(({ transferStatus }) => !isFinal(transferStatus))) continue;
    return resources.map(({ transferStatus, currentSize }) => `${transferStatus} ${currentSize}`);
  }
}

/** Bytes of the files "0" to "63". */
const SENT = 10 + 2 * 54;
/** Two digits are the size of all but ten. */
const ALL = [...Array(55).fill("COMPLETED 2"), ...Array(10).fill("COMPLETED 1")];
const MISSED = /^files at .*app\.log were missed, 3 in all, that came from /;

test("files of -F that were missed fail the push, after all that could be read was sent", async () => {
  const { failure, told } = await pushMany([]);
  assertMatch(failure.message, MISSED);
  assertEquals(failure.code, "SOURCE_FAILED");
  assertEquals(told.at(-1)?.failure, { code: "SOURCE_FAILED", message: failure.message });
});

test("files of -F --join that were missed fail the resource where they would be", async () => {
  const { failure, told } = await pushMany(["join"]);
  assertMatch(failure.message, MISSED);
  assertEquals(failure.code, "SOURCE_FAILED");
  assertEquals(told.at(-1)?.failure, { code: "SOURCE_FAILED", message: failure.message });
});
