/** `stream push -` in the middle of a pipe: passing on, not holding up, and ends that are none of the pipe. */
import { statfs, writeFile } from "node:fs/promises";
import { assertEquals, assertGreaterOrEqual, assertMatch, assertStringIncludes } from "@std/assert";
import { eitherRuntime, inTurn, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { content, known } from "../helpers/seen.ts";

const either = eitherRuntime();

/** A port that nobody listens on. */
const NOBODY = { STREAM_SERVER: "http://127.0.0.1:2" };

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: --tee prints what is read, as it comes, and tells the reference on stderr`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const push = workspace.start(kind, ["push", "-", "--tee", "--name", "a.log"]);
    await push.write("one\n");
    await push.stdout.until((text) => text === "one\n");
    await push.write("two\n");
    push.end();
    const { code, stdout, stderr } = await push.exit();
    assertEquals([code, stdout], [0, "one\ntwo\n"]);
    const reference = /^stream: a\.log: (\S+)\n$/.exec(stderr)?.[1] ?? "";
    assertEquals(await content(workspace, reference), stdout);
    assertEquals((await known(workspace, reference)).transferStatus, "COMPLETED");
  });

  test(`${kind}: --tee --json tells on stderr in JSON what begins and what came of it`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const push = workspace.start(kind, ["push", "-", "--tee", "--json", "--name", "a.log"]);
    await push.write("one\n");
    push.end();
    const { code, stdout, stderr } = await push.exit();
    assertEquals([code, stdout], [0, "one\n"]);
    const [begun, ended] = stderr.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals([begun.filename, begun.contextId, begun.size], ["a.log", null, undefined]);
    assertEquals([ended.reference, ended.size, ended.numberOfLines], [begun.reference, 4, 1]);
  });

  test(`${kind}: a server or token that cannot be one fails the upload, and nobody else`, async () => {
    await using workspace = await Workspace.open();
    for (const [variable, value] of [["STREAM_SERVER", "a.example:80"], ["STREAM_TOKEN", "a b"]]) {
      const env = { ...NOBODY, [variable]: value };
      const pipe = workspace.start(kind, ["push", "-", "--tee", "--best-effort"], { env });
      await pipe.write("one\n");
      pipe.end();
      const run = await workspace.run(kind, ["run", "--", "sh", "-c", "echo one; exit 7"], { env });
      for (const [end, code] of [[await pipe.exit(), 0], [run, 7]] as const) {
        assertEquals([end.code, end.stdout], [code, "one\n"]);
        assertStringIncludes(end.stderr, `is not uploaded as a whole: ${variable}`);
      }
      const strict = ["run", "--no-best-effort", "--", "echo", "one"];
      assertEquals((await workspace.run(kind, strict, { env })).code, 2);
    }
  });

  test(`${kind}: the temporary file leaves half of what is free to others`, async () => {
    await using workspace = await Workspace.open();
    const temporary = await workspace.directory("tmp");
    const push = workspace.start(kind, ["push", "-", "--retry-for", "1m"], {
      // A disk of its own.
      shell:
        `exec unshare -rm sh -c 'mount -t tmpfs -o size=32M none ${temporary} && exec "$@"' sh "$@"`,
      env: { ...NOBODY, TMPDIR: temporary },
    });
    void push.write(new Uint8Array(60_000_000));
    await push.stderr.until((text) => text.includes("half of what was free in"));
    const { bavail, bsize } = await statfs(`/proc/${push.pid}/root${temporary}`);
    assertGreaterOrEqual(bavail * bsize, 15_000_000);
    push.signal("SIGTERM");
    assertEquals((await push.exit()).code, 130);
  });

  test(`${kind}: a signal ends the upload of a pipe, a second one the passing on`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const push = workspace.start(kind, ["push", "-", "--tee", "--name", "a.log"]);
    await push.write("one\n");
    await push.stderr.until((text) => text.includes("stream: a.log: "));
    push.signal("SIGTERM");
    await push.stderr.until((text) => /interrupted; .*second/.test(text));
    await push.write("two\n");
    await push.stdout.until((text) => text === "one\ntwo\n");
    push.signal("SIGINT");
    assertEquals((await push.exit()).code, 130);
  });

  test(`${kind}: --best-effort neither holds up nor fails a pipe whose server is away`, async () => {
    await using workspace = await Workspace.open();
    const args = ["push", "-", "--tee", "--best-effort", "--spool-limit", "100KB"];
    const push = workspace.start(kind, args, { env: NOBODY });
    const text = "0123456789\n".repeat(100_000);
    await push.write(text);
    push.end();
    const { code, stdout, stderr } = await push.exit();
    assertEquals([code, stdout === text], [0, true]);
    assertStringIncludes(stderr, "stdin.log is not uploaded as a whole");
  });

  test(`${kind}: with a server --best-effort is a push as any other`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const push = workspace.start(kind, ["push", "-", "--best-effort"]);
    await push.write("one\n");
    push.end();
    const { code, stdout, stderr } = await push.exit();
    assertEquals([code, stderr], [0, ""]);
    assertEquals(await content(workspace, stdout.trim()), "one\n");
  });

  test(`${kind}: without --best-effort the same is a failure`, async () => {
    await using workspace = await Workspace.open();
    const push = workspace.start(kind, ["push", "-", "--tee", "--retry-for", "0s"], {
      env: NOBODY,
    });
    await push.write("one\n");
    push.end();
    assertEquals((await push.exit()).code, 4);
  });

  test(`${kind}: a pipe that somebody holds open ends with --until-pid and --until-file, after all that is there`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const producer = workspace.start(quickest, ["push", "-"]);
    for (const until of [["--until-file", "done"], ["--until-pid", String(producer.pid)]]) {
      const push = workspace.start(kind, ["push", "-", ...until]);
      await push.write("one\n");
      const reference = (await push.stdout.until((text) => text.endsWith("\n"))).trim();
      await content(workspace, reference, 4);
      await push.write("two\n");
      await writeFile(workspace.path("done"), "");
      if (until[0] === "--until-pid") await producer.kill("SIGKILL");
      assertEquals((await push.exit()).code, 0);
      assertEquals(await content(workspace, reference), "one\ntwo\n");
      assertEquals((await known(workspace, reference)).transferStatus, "COMPLETED");
    }
  });
}

either(
  "a pipe has lines whatever its name is, unless that has an extension of something else",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    for (
      const [name, numberOfLines] of [["build", 2], ["build.log", 2], ["dump.bin", null]] as const
    ) {
      const push = workspace.start(quickest, ["push", "-", "--name", name]);
      await push.write("one\ntwo\n");
      push.end();
      const { code, stdout } = await push.exit();
      assertEquals(code, 0);
      assertEquals((await known(workspace, stdout.trim())).numberOfLines, numberOfLines, name);
    }
  },
);

either("what does not go together is told", async () => {
  await using workspace = await Workspace.open();
  for (
    const [args, reason] of [
      [["a.log", "--tee"], /--tee is for -/],
      [["-", "--until-idle", "3s"], /--until-idle is for files/],
      [["-", "--tee", "--charset", "latin1"], /--charset does not go with --tee/],
    ] as const
  ) {
    const { code, stderr } = await workspace.run(quickest, ["push", ...args]);
    assertEquals(code, 2);
    assertMatch(stderr, reason);
  }
});
