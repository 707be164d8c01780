/** `stream status`, `ls`, `rm`, `help` and what is wrong on the command line, by the real program. */
import { mkdir, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { push as upload } from "../../src/client.ts";
import { VERSION } from "../../src/protocol.ts";
import { eitherRuntime, type Kind, kinds, own, quickest, Workspace } from "../helpers/cli.ts";
import { listed } from "../helpers/seen.ts";

const either = eitherRuntime();

const COMMANDS = ["serve", "push", "follow", "status", "ls", "rm"];
const LINES = "first\nsecond\n";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** A server with one finished text; returns its reference. */
async function withText(workspace: Workspace): Promise<string> {
  await workspace.serveBeside();
  await writeFile(workspace.path("notes.md"), LINES);
  const { stdout } = await workspace.run(quickest, ["push", "notes.md", "--context", "run-17"]);
  return stdout.trim();
}

either("status --json is one object with all that is known", async () => {
  await using workspace = await Workspace.open();
  const reference = await withText(workspace);
  const { id, createdAt, updatedAt, digest, sequence, life, ...rest } = await workspace.status(
    own,
    reference,
  );
  assertMatch(String(id), UUID);
  assertMatch(String(createdAt), RFC_3339);
  assertMatch(String(updatedAt), RFC_3339);
  assertEquals(Object.keys(digest as object), ["algorithm", "value"]);
  assertEquals(typeof sequence, "number");
  assertMatch(String(life), /^[0-9a-z]+$/);
  assertEquals(rest, {
    filename: "notes.md",
    mimeType: "text/markdown",
    supportsLineAccess: true,
    transferStatus: "COMPLETED",
    currentSize: LINES.length,
    numberOfLines: 2,
    durableSize: LINES.length,
    epoch: 1,
    failure: null,
    contextId: "run-17",
    reference,
    view: `${workspace.server}/view/${id}`,
  });
});

either("status shows a person what matters", async () => {
  await using workspace = await Workspace.open();
  const reference = await withText(workspace);
  const { code, stdout } = await workspace.run(own, ["status", reference]);
  assertEquals(code, 0);
  const shown = ["COMPLETED", "notes.md", "text/markdown", "13 bytes", "run-17", reference];
  for (const text of shown) assertStringIncludes(stdout, text);
});

either("ls lists the newest first, and --json is an array of what status shows", async () => {
  await using workspace = await Workspace.open();
  const first = await withText(workspace);
  const { push, reference: second } = await workspace.push(quickest, ["-", "--name", "a\nb.log"]);
  const { stdout } = await workspace.run(own, ["ls", "--json"]);
  assertEquals(JSON.parse(stdout), [
    await workspace.status(own, second),
    await workspace.status(own, first),
  ]);
  const lines = (await workspace.run(own, ["ls"])).stdout.trimEnd().split("\n");
  assertEquals(lines.length, 2);
  assertMatch(lines[0], /^[0-9a-f-]{36} .*INITIATED.* a\\x0ab\.log$/);
  assertMatch(lines[1], /^[0-9a-f-]{36} .*COMPLETED.* 13 .* notes\.md$/);
  push.end();
});

either("ls lists more resources than one answer holds, and --limit ends it early", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const names = Array.from({ length: 101 }, (_, index) => `${index}.bin`);
  await Promise.all(names.map(async (filename) => {
    const metadata = { filename, mimeType: "text/plain", supportsLineAccess: false };
    const { writable, done } = await upload(workspace.server, metadata);
    await writable.close();
    await done;
  }));
  const shown = async (...options: string[]): Promise<string[]> => {
    const { stdout, stderr } = await workspace.run(own, ["ls", "--json", ...options]);
    assertEquals(stderr, "");
    return JSON.parse(stdout).map(({ filename }: { filename: string }) => filename);
  };
  const all = await shown();
  assertEquals(all.toSorted(), names.toSorted());
  assertEquals(await shown("--limit", "3"), all.slice(0, 3));
  assertEquals(await shown("--limit", "0"), []);
});

either("rm deletes a finished resource, and refuses one that is being uploaded", async () => {
  await using workspace = await Workspace.open();
  const reference = await withText(workspace);
  const running = await workspace.push(quickest, ["-"]);
  const refused = await workspace.run(own, ["rm", running.reference]);
  assertEquals([refused.code, refused.stdout], [1, ""]);
  assertMatch(refused.stderr, /^stream: .*still being uploaded.*\n$/);
  running.push.write(LINES);
  running.push.end();
  assertEquals((await running.push.exit()).code, 0);

  const removed = await workspace.run(own, ["rm", reference]);
  assertEquals(removed, { code: 0, stdout: "", stderr: "" });
  for (const command of ["status", "follow", "rm"]) {
    const { code, stderr } = await workspace.run(quickest, [command, reference]);
    assertEquals(code, 1, command);
    assertMatch(stderr, /^stream: there is no resource .*\n$/);
  }
  const left = await listed(workspace);
  assertEquals(left.map(({ reference }) => reference), [running.reference]);
});

/** What a question is answered with when nothing is wrong. */
async function answerOf(workspace: Workspace, kind: Kind, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await workspace.run(kind, args);
  assertEquals([code, stderr], [0, ""], args.join(" "));
  return stdout;
}

for (const kind of kinds) {
  test(`${kind} tells its version, and the same help as the others`, async () => {
    await using workspace = await Workspace.open();
    assertEquals(await answerOf(workspace, kind, "--version"), `stream ${VERSION}\n`);
    const help = await answerOf(workspace, kind, "--help");
    assertEquals(help, await answerOf(workspace, quickest, "help"));
  });
}

either("help names every command, option and exit code", async () => {
  await using workspace = await Workspace.open();
  const ask = (...args: string[]) => answerOf(workspace, quickest, ...args);
  const overview = await ask("help", "--help");
  assertEquals(await ask("help"), overview);
  const commands: string[] = overview.match(/(?<=^ {2})[a-z]+(?= {2})/gm) ?? [];
  assertEquals(COMMANDS.filter((command) => !commands.includes(command)), []);
  for (const code of [0, 1, 2, 3, 4, 5, 130]) {
    assertMatch(overview, new RegExp(`\\b${code} [a-z]`));
  }
  await Promise.all(commands.map(async (command) => {
    const help = await ask(command, "--help");
    assertMatch(help, new RegExp(`^usage: stream ${command}\\b`, "m"));
    assertMatch(help, /^options:$/m);
    assertEquals(help.split("examples:\n")[1].match(/^ {2}.*\bstream .+$/gm)?.length, 2);
  }));
  const serve = await ask("serve", "-h");
  assertMatch(serve, /--port PORT .*\(default 8090\)/);
  assertEquals(await ask("help", "serve"), serve);
});

either("what is wrong on the command line is named, with the nearest right thing", async () => {
  await using workspace = await Workspace.open();
  const wrong: [string[], RegExp][] = [
    [[], /which command\?/],
    [["follw"], /"follw"; did you mean follow\?/],
    [["help", "pus"], /"pus"; did you mean push\?/],
    [["frobnicate"], /no command "frobnicate"\n/],
    [["push", "x", "--folow"], /--folow; did you mean --follow\?/],
    [["push"], /push wants FILE\|-/],
    [["status", "a", "b"], /"b"/],
    [["push", "a", "b", "--name", "c"], /--name is for one file/],
    [["push", "a", "-"], /- goes alone/],
    [["push", "a", "--name"], /--name wants a value/],
    [["push", "a", "--text", "--binary"], /--text and --binary exclude each other/],
    [["push", "-", "--follow"], /--follow is for files/],
    [["push", "a", "--until-idle", "30"], /--until-idle 30: .*30s/],
    [["follow", "a", "--tail", "many"], /--tail many/],
    [["follow", "a", "--lines", "7"], /--lines 7: .*START:COUNT/],
    [["follow", "a", "--tail", "1", "--from", "1"], /give one/],
    [["follow", "a", "--from", "5", "--to", "4"], /--to 4 is before --from 5/],
    [["ls", "--limit", "-1"], /-1/],
  ];
  await Promise.all(wrong.map(async ([args, expected]) => {
    const { code, stdout, stderr } = await workspace.run(quickest, args);
    assertEquals([code, stdout], [2, ""], args.join(" "));
    assertMatch(stderr, expected);
    assertMatch(stderr, /\nsee 'stream (\w+ --)?help'\n$/);
  }));
});

either("a file that cannot be read is named before anything is registered", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await mkdir(workspace.path("empty"));
  for (const [path, reason] of [["no/such.log", /no such file/], ["empty", /no file/]] as const) {
    for (const options of [[], ["--follow"]]) {
      const { code, stdout, stderr } = await workspace.run(own, ["push", path, ...options]);
      assertEquals([code, stdout], [1, ""]);
      assertMatch(stderr, reason);
      assert(stderr.includes(path));
    }
  }
  assertEquals(await listed(workspace), []);
});
