/** What a person at a terminal sees of transfers: how far they are, and what they wait for. */
// deno-lint-ignore-file no-control-regex
import { mkdir, writeFile } from "node:fs/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  eitherRuntime,
  inTurn,
  kinds,
  own,
  type Program,
  quickest,
  Workspace,
} from "../helpers/cli.ts";

const either = eitherRuntime();

function shows(program: Program, text: string): Promise<string> {
  return program.stdout.until((shown) => shown.includes(text));
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: a push at a terminal tells what it waits for: server, producer, credit, acknowledgement`, async () => {
    await using workspace = await Workspace.open();
    await writeFile(workspace.path("a.log"), "one\n");
    const nobody = { env: { STREAM_SERVER: "http://127.0.0.1:2" } };
    const early = workspace.terminal(kind, ["push", "a.log", "--retry-for", "3s"], nobody);
    await shows(early, "  waiting for the server");
    assertEquals((await early.exit()).code, 4);

    const server = await workspace.serve(quickest);
    const push = workspace.terminal(kind, ["push", "a.log", "--follow"]);
    await shows(push, "acknowledged 4 B  waiting for the producer");
    server.signal("SIGSTOP");
    await push.write("\x03");
    await shows(push, "waiting for the acknowledgement");
    server.signal("SIGCONT");
    const { code, stdout } = await push.exit();
    assertEquals(code, 0);
    assertMatch(stdout, /\r\x1b\[K4 B[^\r]*acknowledged 4 B\r\n$/);

    const full = workspace.terminal(kind, ["push", "/dev/zero"]);
    await shows(full, "acknowledged");
    server.signal("SIGSTOP");
    await shows(full, "waiting for credit");
    server.signal("SIGCONT");
    await full.write("\x03");
    assertEquals((await full.exit()).code, 130);
  });

  test(`${kind}: a download into a file tells what it waits for`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const { push, reference } = await workspace.push(quickest, ["-"]);
    await push.write("one\n");
    const follow = workspace.terminal(kind, ["follow", reference, "-o", "copy"]);
    await shows(follow, "IN_PROGRESS 4 B  waiting for the producer");
    await server.kill("SIGKILL");
    await shows(follow, "waiting for the server");
    await workspace.serve(quickest, ["--port", new URL(workspace.server).port]);
    push.end();
    assertEquals((await follow.exit()).code, 0);
    const got = await workspace.terminal(kind, ["get", reference, "-o", "got"]).exit();
    // What is printed stands in a line of its own, above the progress.
    assertMatch(got.stdout, /(^|\n|\x1b\[K)got\/stdin\.log\r\n/);
    assertMatch(got.stdout, /1 of 1\r\n/);
  });

  test(`${kind}: progress stays in one line of a narrow terminal`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await writeFile(workspace.path("a.log"), "one\n");
    const push = workspace.terminal(kind, ["push", "a.log", "--follow"], { columns: 20 });
    await push.stdout.until((text) => /\x1b\[K4 B {2}\d/.test(text));
    await push.write("\x03");
    const { code, stdout } = await push.exit();
    assertEquals(code, 0);
    const lines = stdout.replaceAll("^C", "").split(/[\r\n]/).filter((line) =>
      line.startsWith("\x1b[K4 B  ")
    );
    assertEquals(lines.filter((line) => line.length - "\x1b[K".length > 19), []);
  });

  test(`${kind}: check and adopt show how far they are, and their lines stand by themselves`, async () => {
    await using workspace = await Workspace.open();
    const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
    const { createHash } = await import("node:crypto");
    const hash = createHash("md5").update(id).digest("hex");
    const folder = `java/${hash.slice(0, 2)}/${hash.slice(2, 4)}`;
    await mkdir(workspace.path(folder), { recursive: true });
    await writeFile(workspace.path(`${folder}/${id}.bin`), "one\n".repeat(1000));
    await writeFile(workspace.path("java/strange"), "");
    const adopted = await workspace.terminal(kind, ["adopt", "java"]).exit();
    assertEquals(adopted.code, 1);
    assertMatch(adopted.stdout, /4\.00 kB[^\r\n]*2 of 2 files\r\n/);
    assertMatch(adopted.stdout, /(^|\n|\x1b\[K)[^\r\n]*strange: left alone: [^\r\n]*\r\n/);
    assertMatch(adopted.stdout, /\n1 adopted, 0 already there[^\r\n]*\r\n$/);
    const checked = await workspace.terminal(kind, ["check", "--data", "java"]).exit();
    assertEquals(checked.code, 0);
    assertMatch(checked.stdout, /1 resource checked\r\n1 resource checked, 0 problems\r\n$/);
    const silent = await workspace.run(kind, ["check", "--data", "java"]);
    assertEquals(silent, { code: 0, stdout: "1 resource checked, 0 problems\n", stderr: "" });
  });
}

either("--quiet leaves what fails, and nothing else, at a terminal, too", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("a.log"), "one\n");
  const args = ["push", "-q", "a.log", "gone.log", "--context", "c"];
  const push = await workspace.terminal(own, args).exit();
  assertEquals(push.code, 1);
  assertMatch(
    push.stdout.split("\r\n").sort().join("\n"),
    /^\nstream: gone\.log: [^\n]*\nws:\S* {2}a\.log$/,
  );
  const get = await workspace.terminal(own, ["get", "-q", "c/a.log", "-o", "got"]).exit();
  assertEquals(get, { code: 0, stdout: "got/a.log\r\n", stderr: "" });
  const wait = await workspace.run(own, ["wait", "-q", "--context", "c"]);
  assertEquals(wait, { code: 0, stdout: "", stderr: "" });
});

either("a dumb terminal, or none, is shown no progress that it could not clear", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("a.log"), "one\n");
  const dumb = await workspace.terminal(own, ["push", "a.log"], { env: { TERM: "dumb" } }).exit();
  assertEquals(dumb.code, 0);
  assert(!dumb.stdout.includes("\x1b"), JSON.stringify(dumb.stdout));
  const piped = await workspace.run(own, ["push", "a.log"]);
  assertEquals([piped.code, piped.stderr], [0, ""]);
  assertStringIncludes(piped.stdout, "ws://");
});
