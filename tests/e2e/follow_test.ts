/** What `stream follow` reads, by the real program. */
import { readFile, writeFile } from "node:fs/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { eitherRuntime, own, quickest, Workspace } from "../helpers/cli.ts";
import { known, uploaded } from "../helpers/seen.ts";

const test = eitherRuntime();

const TEXT = "one\ntwo\nthree\nfour\nfive\n";
const UNKNOWN = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

/** A server that holds a finished text. */
async function finished(workspace: Workspace, text = TEXT): Promise<string> {
  await workspace.serveBeside();
  return await uploaded(workspace, text);
}

function idOf(reference: string): string {
  return reference.split("/").at(-1)!;
}

/** The output of one follow per line of arguments, all at the same time. */
async function outputs(workspace: Workspace, reference: string, selections: string[]) {
  const results = await Promise.all(selections.map(async (selection) => {
    const { code, stdout, stderr } = await workspace.run(quickest, [
      "follow",
      reference,
      ...selection.split(" "),
    ]);
    assertEquals([code, stderr], [0, ""], selection);
    return [selection, stdout];
  }));
  return Object.fromEntries(results);
}

test("a range of bytes is what is followed", async () => {
  await using workspace = await Workspace.open();
  const reference = await finished(workspace);
  assertEquals(
    await outputs(workspace, reference, ["--from 4", "--to 7", "--from 4 --to 7", "--from 24"]),
    { "--from 4": TEXT.slice(4), "--to 7": "one\ntwo", "--from 4 --to 7": "two", "--from 24": "" },
  );
});

test("lines are selected by index and count, or from the end", async () => {
  await using workspace = await Workspace.open();
  const reference = await finished(workspace);
  const selections = ["--lines 1:2", "--lines 3:99", "--lines 0:0", "--lines 5:1"];
  assertEquals(await outputs(workspace, reference, selections), {
    "--lines 1:2": "two\nthree\n",
    "--lines 3:99": "four\nfive\n",
    "--lines 0:0": "",
    "--lines 5:1": "",
  });
  assertEquals(await outputs(workspace, reference, ["--tail 2", "--tail 99", "--tail 0"]), {
    "--tail 2": "four\nfive\n",
    "--tail 99": TEXT,
    "--tail 0": "",
  });
});

test("bytes and lines past the end of a finished resource are refused", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(quickest, ["--step-port", "0"]);
  const reference = await uploaded(workspace, TEXT);
  const { stepReference = "" } = await known(workspace, reference);
  for (const asked of [reference, stepReference]) {
    for (const selection of ["--from 25", "--lines 6:1", "--from 25 --no-follow"]) {
      const args = ["follow", asked, ...selection.split(" ")];
      const { code, stdout, stderr } = await workspace.run(quickest, args);
      assertEquals([code, stdout], [1, ""], args.join(" "));
      assertMatch(stderr, /^stream: .*(24|5 lines).*\n$/);
    }
  }
});

test("a running resource is read up to now with --no-follow, and to its end without", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const { push, reference } = await workspace.push(quickest, ["-"]);
  push.write("one\ntwo\nth");
  const all = workspace.start(own, ["follow", reference]);
  await all.stdout.until((text) => text === "one\ntwo\nth");
  const selections = ["--no-follow", "--tail 1 --no-follow", "--lines 1:9 --no-follow"];
  assertEquals(await outputs(workspace, reference, selections), {
    "--no-follow": "one\ntwo\nth",
    "--tail 1 --no-follow": "two\nth",
    "--lines 1:9 --no-follow": "two\n",
  });
  const tail = workspace.start(own, ["follow", reference, "--tail", "1"]);
  await tail.stdout.until((text) => text === "two\nth");
  push.write("ree\n");
  push.end();
  assertEquals((await all.exit()).stdout, "one\ntwo\nthree\n");
  assertEquals((await tail.exit()).stdout, "two\nthree\n");
});

test("bytes and lines that do not exist yet are waited for", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const { push, reference } = await workspace.push(quickest, ["-"]);
  const follow = (...selection: string[]) =>
    workspace.start(own, ["follow", reference, ...selection]);
  const all = follow();
  const bytes = follow("--from", "5", "--to", "9");
  const window = follow("--lines", "1:2");
  const beyond = follow("--lines", "3:5");
  push.write("one\ntw");
  await all.stdout.until((text) => text === "one\ntw");
  await window.stdout.until((text) => text === "tw");
  push.write("o\nthree\nfour\nfi");
  assertEquals((await bytes.exit()).stdout, "wo\nt");
  assertEquals((await window.exit()).stdout, "two\nthree\n");
  await beyond.stdout.until((text) => text.startsWith("four\n"));
  push.write("ve");
  push.end();
  assertEquals((await beyond.exit()).stdout, "four\nfive");
  assertEquals((await push.exit()).code, 0);
});

test("-o writes to a file", async () => {
  await using workspace = await Workspace.open();
  const reference = await finished(workspace);
  await writeFile(workspace.path("copy.txt"), "something longer than the text that comes");
  const { code, stdout, stderr } = await workspace.run(own, [
    "follow",
    reference,
    "-o",
    "copy.txt",
  ]);
  assertEquals([code, stdout, stderr], [0, "", ""]);
  assertEquals(await readFile(workspace.path("copy.txt"), "utf8"), TEXT);
  const nowhere = await workspace.run(own, ["follow", reference, "-o", "no/such/copy.txt"]);
  assertEquals(nowhere.code, 1);
  assertStringIncludes(nowhere.stderr, "no/such/copy.txt");
});

test("a reader that leaves early ends it quietly", async () => {
  await using workspace = await Workspace.open();
  const text = "a line of a long text\n".repeat(200_000);
  const reference = await finished(workspace, text);
  const follow = workspace.start(own, ["follow", reference], { collect: false });
  const [first] = await Array.fromAsync(take(follow.output, 1));
  follow.leave();
  assert(text.startsWith(new TextDecoder().decode(first)));
  const { code, stderr } = await follow.exit();
  assertEquals([code, stderr], [0, ""]);
});

async function* take(chunks: AsyncIterable<Uint8Array>, count: number) {
  for await (const chunk of chunks) {
    yield chunk;
    if (--count === 0) return;
  }
}

test("a reference is what push printed, its HTTP form, or an id with a server", async () => {
  await using workspace = await Workspace.open();
  const reference = await finished(workspace);
  const id = idOf(reference);
  assertEquals(reference, `${workspace.server.replace("http", "ws")}/ws/streaming/download/${id}`);
  const elsewhere = { STREAM_SERVER: "http://127.0.0.1:9" };
  const ways: [string[], Record<string, string>][] = [
    [[reference], elsewhere],
    [[`${workspace.server}/resources/${id}`], elsewhere],
    [[id, "--server", workspace.server], elsewhere],
    [[id], {}],
  ];
  await Promise.all(ways.map(async ([args, env]) => {
    const exit = await workspace.run(quickest, ["follow", ...args], { env });
    assertEquals(exit, { code: 0, stdout: TEXT, stderr: "" }, args.join(" "));
  }));
});

test("an unknown id, a wrong reference and a missing server are told apart", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(quickest);
  const unknown = await workspace.run(quickest, ["follow", UNKNOWN]);
  assertEquals([unknown.code, unknown.stdout], [1, ""]);
  assertMatch(unknown.stderr, new RegExp(`^stream: there is no resource .*${UNKNOWN}.*\\n$`));

  const wrong = await workspace.run(quickest, ["follow", "http://127.0.0.1:9/nothing"]);
  assertEquals([wrong.code, wrong.stdout], [2, ""]);
  assertMatch(wrong.stderr, /^stream: "http:\/\/127\.0\.0\.1:9\/nothing" is no reference.*\n$/);

  const word = await workspace.run(quickest, ["follow", "build"]);
  assertEquals([word.code, word.stdout], [2, ""]);
  assertMatch(word.stderr, /^stream: "build" is no reference: .*beginning.*CONTEXT\/NAME.*\n$/);

  await server.kill("SIGTERM");
  const atOnce = ["--retry-for", "0s"];
  const commands = [["follow", UNKNOWN, ...atOnce], ["push", "-", ...atOnce], ["status", UNKNOWN]];
  for (const command of [...commands, ["ls"]]) {
    const { code, stdout, stderr } = await workspace.run(own, command);
    assertEquals([code, stdout], [4, ""], command[0]);
    const message = `stream: the server at ${workspace.server} cannot be reached: `;
    assertEquals(stderr.slice(0, message.length), message);
  }
});
