/** `follow --grep`, `--timestamps` and `--since`, by the real program: live, of several, at a terminal and without one. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { writeFile } from "node:fs/promises";
import {
  eitherRuntime,
  inTurn,
  kinds,
  own,
  quickest,
  untilFile,
  Workspace,
} from "../helpers/cli.ts";
import { uploaded } from "../helpers/seen.ts";

const UTC = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (.*)$/;

const either = eitherRuntime();

/** When lines arrived, as the server says. */
async function timesOf(workspace: Workspace, reference: string): Promise<number[]> {
  const id = reference.split("/").at(-1);
  const address = `${workspace.server}/resources/${id}/lines?times=true`;
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  return (await answer.json()).times;
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: follow --grep prints the lines that match while they come, as search does`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { push, reference } = await workspace.push(quickest, ["-", "--name", "a.log"]);
    const follow = workspace.start(kind, ["follow", reference, "--grep", "ERR(OR)?|^$"]);
    await push.write("an ERR\nnothing\n");
    await follow.stdout.until((text) => text === "an ERR\n");
    await push.write("\r\nERR");
    await push.write("OR\nnothing\nERR");
    await follow.stdout.until((text) => text === "an ERR\n\r\nERROR\n");
    push.end();
    const { code, stdout, stderr } = await follow.exit();
    assertEquals([code, stdout, stderr], [0, "an ERR\n\r\nERROR\nERR", ""]);
    const searched = await workspace.run(kind, ["search", reference, "ERR(OR)?|^$"]);
    assertEquals(searched.stdout, "an ERR\n\nERROR\nERR\n");
    const tail = ["follow", reference, "--tail", "3", "--grep", "ERR"];
    assertEquals((await workspace.run(kind, tail)).stdout, "ERROR\nERR");
  });

  test(`${kind}: follow --timestamps prints when each line could be read, old ones and live ones`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const beganAtMs = Date.now();
    const { push, reference } = await workspace.push(quickest, ["-", "--name", "a.log"]);
    await push.write("one\n");
    const follow = workspace.start(kind, ["follow", reference, "--timestamps"]);
    await follow.stdout.until((text) => text.endsWith("one\n"));
    await push.write("two\nth");
    await follow.stdout.until((text) => text.endsWith("two\n"));
    await push.write("ree\nlast");
    push.end();
    const { code, stdout } = await follow.exit();
    assertEquals(code, 0);
    const times = await timesOf(workspace, reference);
    const lines = ["one", "two", "three", "last"];
    const expected = lines.map((line, at) => `${new Date(times[at]).toISOString()} ${line}`);
    assertEquals(stdout, expected.join("\n"));
    const [, first] = UTC.exec(stdout.split("\n")[0])!;
    assert(Date.parse(first) >= beganAtMs && Date.parse(first) <= Date.now());
    const local = ["follow", reference, "--lines", "1:1", "--time-format", "local"];
    const { stdout: inIndia } = await workspace.run(kind, local, { env: { TZ: "Asia/Kolkata" } });
    assertMatch(inIndia, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+05:30 two\n$/);
    assertEquals(Date.parse(inIndia.split(" ")[0]), times[1]);
    const start = ["follow", reference, "--tail", "2", "--time-format", "start"];
    const { stdout: since } = await workspace.run(kind, start);
    assertMatch(since, /^ +\+\d+\.\d{3}s three\n +\+\d+\.\d{3}s last$/);
  });

  test(`${kind}: of several each line has its name and its time, and only those that match`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await uploaded(workspace, "one error\ntwo\n", { contextId: "c" });
    await uploaded(workspace, "three\nan error", { name: "long.log", contextId: "c" });
    const args = ["follow", "--context", "c", "--no-follow", "--grep", "error", "--timestamps"];
    const { code, stdout } = await workspace.run(kind, args);
    assertEquals(code, 0);
    assertEquals(stdout.replaceAll(/\d{4}-\S+Z/g, "TIME").split("\n").sort(), [
      "",
      "a.log    | TIME one error",
      "long.log | TIME an error",
    ]);
  });

  test(`${kind}: at a terminal a progress bar is left alone, and behind a name or time shows its last state`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const bar = "10%\r20%\rdone\nnext\n";
    const reference = await uploaded(workspace, bar, { contextId: "c" });
    const env = { NO_COLOR: "1" };
    const at = async (...args: string[]) =>
      (await workspace.terminal(kind, ["follow", ...args], { env }).exit()).stdout;
    assertEquals(await at(reference), bar.replaceAll("\n", "\r\n"));
    assertEquals(await at("--context", "c", "--no-follow"), "a.log | done\r\na.log | next\r\n");
    assertMatch(await at(reference, "--timestamps"), /^\S+Z done\r\n\S+Z next\r\n$/);
    const coloured = { env: { NO_COLOR: "", TERM: "xterm" } };
    const red = await workspace.terminal(kind, ["follow", reference, "--grep", "x"], coloured)
      .exit();
    assertEquals(red.stdout, "ne\x1b[31mx\x1b[0mt\r\n");
    const piped = await workspace.run(kind, ["follow", "--context", "c", "--no-follow"]);
    assertEquals(piped.stdout, "a.log | 10%\r20%\rdone\na.log | next\n");
  });

  test(`${kind}: a notice at a terminal begins below what has no line break`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const script = `printf '10%%\\r20%%'; ${untilFile("done")}; echo`;
    const run = workspace.terminal(kind, ["run", "--name", "a.log", "--", "sh", "-c", script]);
    await run.stdout.until((text) => text.includes("20%") && text.includes("a.log: "));
    await server.kill("SIGKILL");
    await run.stdout.until((text) => text.includes("kept until"));
    await writeFile(workspace.path("done"), "");
    run.signal("SIGINT");
    const { stdout } = await run.exit();
    // Whichever came first, the reference or the bar.
    assert(!/20%(?!\r\n)/.test(stdout), JSON.stringify(stdout));
  });
}

either("follow --since begins with the first line that arrived then", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const reference = await uploaded(workspace, "one\ntwo\n");
  const since = async (time: string) =>
    (await workspace.run(own, ["follow", reference, "--since", time, "--timestamps"])).stdout;
  assertEquals(await since("0s"), "");
  assertMatch(await since("1h"), /^\S+Z one\n\S+Z two\n$/);
  const [time] = (await since("1h")).split(" ");
  assertMatch(await since(time), /^\S+Z one\n\S+Z two\n$/);
  assertEquals(await since("2100-01-01"), "");
  const { code, stderr } = await workspace.run(own, ["follow", reference, "--since", "5"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, "--since 5: that is not a duration such as 2h, or a time such as");
});

either("what cannot be shown by lines is refused before anything is printed", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("a.bin"), "one\n");
  const { push, reference } = await workspace.push(quickest, ["a.bin"]);
  assertEquals((await push.exit()).code, 0);
  const wrong: [string[], number, string][] = [
    [["--grep", "a("], 2, "--grep a(: that is no regular expression of RE2"],
    [["--time-format", "gmt"], 2, "none of utc, local, start"],
    [["--timestamps", "--from", "1"], 2, "those of whole lines"],
    [["--timestamps"], 1, "without line access"],
    [["--since", "1h"], 1, "without line access"],
    [["-o", "f", "--continue", "--grep", "a"], 2, "--continue and --grep exclude each other"],
  ];
  for (const [args, code, why] of wrong) {
    const exit = await workspace.run(quickest, ["follow", reference, ...args]);
    assertEquals([args, exit.code, exit.stdout], [args, code, ""]);
    assertStringIncludes(exit.stderr, why);
  }
});
