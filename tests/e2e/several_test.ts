/** Several resources at once: pushed, followed and fetched, by the real program. */
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import process from "node:process";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { content, listed, uploaded } from "../helpers/seen.ts";

/** Starts a program, which root's right to read everything does not help. */
const WITHOUT_RIGHTS = process.getuid?.() === 0
  ? "setpriv --bounding-set -dac_override,-dac_read_search"
  : "env";

/** Files to push: two, and a directory with a folder and a link back. */
async function withFiles(): Promise<Workspace> {
  const workspace = await Workspace.open();
  await mkdir(workspace.path("dir/deep"), { recursive: true });
  for (const name of ["a.log", "b.log", "dir/c.log", "dir/d.bin", "dir/deep/e.log"]) {
    await writeFile(workspace.path(name), `${name}\n`);
  }
  await symlink("..", workspace.path("dir/deep/up"));
  return workspace;
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: files and directories are pushed into one context, each as a resource`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const { code, stdout, stderr } = await workspace.run(kind, ["push", "a.log", "b.log", "dir/"]);
    assertEquals(code, 0);
    const context = /\nstream: 5 of 5 files pushed, 47 B, in the upload context (push-\S+)\n$/
      .exec(stderr)?.[1] ?? "";
    const resources = await listed(workspace, context);
    const names = ["a.log", "b.log", "dir/c.log", "dir/d.bin", "dir/deep/e.log"];
    assertEquals(resources.map(({ filename }) => filename).sort(), names);
    for (const name of names) {
      assertMatch(stdout, new RegExp(`^ws://\\S+  ${name}$`, "m"));
      const read = await workspace.run(kind, ["follow", `${context}/${name}`]);
      assertEquals(read.stdout, `${name}\n`);
    }
  });

  test(`${kind}: --include chooses from directories; what cannot be read fails the push, not the others`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const args = ["push", "missing.log", "dir", "--include", "*.log", "--context", "run"];
    const { code, stderr } = await workspace.run(kind, [...args, "--parallel", "1"]);
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: missing\.log: .*no such file.*\nstream: 2 of 3 files pushed, /m);
    const names = (await listed(workspace)).map(({ filename }) => filename).sort();
    assertEquals(names, ["dir/c.log", "dir/deep/e.log"]);
  });

  test(`${kind}: a person is told one page for several uploads, that of their context`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const args = ["push", "a.log", "b.log", "--follow", "--context", "run 1"];
    const push = workspace.terminal(kind, args);
    const shown = await push.stdout.until((text) => text.includes("watch "));
    assertStringIncludes(shown, `watch them at ${workspace.server}/view?context=run%201`);
    push.signal("SIGTERM");
    assertEquals((await push.exit()).stdout.split("watch ").length, 2);
  });

  test(`${kind}: several growing files are followed until one signal completes them all`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const push = workspace.start(kind, ["push", "a.log", "b.log", "--follow", "--context", "run"]);
    await push.stdout.until((text) => text.split("\n").length === 3);
    push.signal("SIGTERM");
    assertEquals((await push.exit()).code, 0);
    const resources = await listed(workspace, "run");
    assertEquals(resources.map(({ transferStatus }) => transferStatus), ["COMPLETED", "COMPLETED"]);
  });

  test(`${kind}: what is in a directory and is no file is told, not waited for`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await symlink("nowhere", workspace.path("dir/lost.log"));
    execFileSync("mkfifo", [workspace.path("dir/pipe.log")]);
    const { code, stderr } = await workspace.run(kind, ["push", "dir", "--context", "run"]);
    assertEquals(code, 0);
    assertStringIncludes(stderr, "dir/lost.log is left out: a link to nothing\n");
    assertStringIncludes(stderr, "dir/deep/up is left out: a link to a directory\n");
    assertStringIncludes(stderr, "dir/pipe.log is left out: no regular file\n");
  });

  test(`${kind}: what cannot be read in a directory fails the push, and the others are pushed`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await mkdir(workspace.path("dir/closed"), { mode: 0 });
    execFileSync("sh", ["-c", 'echo raw > "$(printf "dir/caf\\351.log")"'], {
      cwd: workspace.path("."),
    });
    const push = workspace.start(kind, ["push", "dir", "--context", "run"], {
      shell: `exec ${WITHOUT_RIGHTS} "$@"`,
    });
    const { code, stderr } = await push.exit();
    assertMatch(stderr, /^stream: dir\/closed: cannot read .*permission is denied/m);
    assertMatch(stderr, /^stream: dir\/caf\ufffd\.log: cannot read .*its name is not UTF-8/m);
    assertMatch(stderr, /^stream: 3 of 5 files pushed/m);
    assertEquals(code, 1);
    const names = (await listed(workspace)).map(({ filename }) => filename).sort();
    assertEquals(names, ["dir/c.log", "dir/d.bin", "dir/deep/e.log"]);
  });

  test(`${kind}: names that no file system takes become files all the same`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const name = `${"\u00fc".repeat(200)}.log`;
    for (let copies = 0; copies < 2; copies++) {
      await uploaded(workspace, "", { name, contextId: "run" });
    }
    const { code } = await workspace.run(kind, ["get", "--context", "run", "-o", "copy"]);
    const files = await readdir(workspace.path("copy"));
    assertEquals([code, files.length], [0, 2]);
    assertEquals(files.toSorted()[0], `${"\u00fc".repeat(118)}.log`);
  });

  test(`${kind}: push --json tells when an upload begins, and what became of it`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    for (const paths of [["a.log"], ["a.log", "dir/c.log"]]) {
      const { stdout } = await workspace.run(kind, [
        "push",
        ...paths,
        "--json",
        "--context",
        "run",
      ]);
      const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
      assertEquals(lines.length, 2 * paths.length);
      const [begun, ended] = lines.filter(({ filename }) => filename === "a.log");
      assertEquals([begun.contextId, begun.size, ended.size], ["run", undefined, 6]);
      assertEquals([begun.reference, ended.digest.algorithm], [ended.reference, "xxh128"]);
    }
    const args = ["push", "missing.log", "a.log", "--json", "--context", "run"];
    const { code, stdout } = await workspace.run(kind, args);
    const told = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    const failed = told.filter(({ failure }) => failure !== undefined);
    assertEquals([code, told.length, failed.length], [1, 3, 1]);
    assertEquals([failed[0].reference, failed[0].filename], [null, "missing.log"]);
    assertEquals(failed[0].failure.code, "SOURCE_FAILED");
  });

  test(`${kind}: several resources are followed line by line, each line with its name`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const first = await workspace.push(quickest, ["-", "--name", "first"]);
    const second = await workspace.push(quickest, ["-", "--name", "second.log"]);
    const follow = workspace.start(kind, ["follow", first.reference, second.reference]);
    await first.push.write("one\n");
    await follow.stdout.until((text) => text === "first      | one\n");
    await second.push.write("two\nunfinished");
    await follow.stdout.until((text) => text.endsWith("second.log | two\n"));
    await first.push.write("three\n");
    await follow.stdout.until((text) => text.endsWith("first      | three\n"));
    first.push.end();
    second.push.end();
    const { code, stdout } = await follow.exit();
    assertEquals(code, 0);
    assertMatch(stdout, /second\.log \| unfinished\n$/);
  });

  test(`${kind}: names of wide characters are aligned in the columns of a terminal`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    for (const name of ["日本.log", "a.log"]) {
      await uploaded(workspace, "x\n", { name, contextId: "run" });
    }
    const { stdout } = await workspace.run(kind, ["follow", "--no-follow", "--context", "run"]);
    assertEquals(stdout.split("\n").sort(), ["", "a.log    | x", "日本.log | x"]);
  });

  test(`${kind}: a context is followed with all that joins it, until it is closed and all have ended`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await uploaded(workspace, "a.log\n", { contextId: "run" });
    const follow = workspace.start(kind, ["follow", "--context", "run"]);
    await follow.stdout.until((text) => text === "a.log | a.log\n");
    const live = await workspace.push(quickest, ["-", "--name", "live", "--context", "run"]);
    await live.push.write("one\n");
    await follow.stdout.until((text) => text.endsWith("live  | one\n"));
    assertEquals((await workspace.run(quickest, ["close", "run"])).code, 0);
    await live.push.write("two\n");
    await follow.stdout.until((text) => text.endsWith("live  | two\n"));
    live.push.signal("SIGTERM");
    const { code, stderr } = await follow.exit();
    assertEquals(code, 3);
    assertStringIncludes(stderr, "live is FAILED");
  });

  test(`${kind}: get fetches a context into a directory, with names that cannot leave it`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await workspace.run(quickest, ["push", "a.log", "dir", "--context", "run"]);
    for (const name of ["../../evil", "/abs", "a.log", "x/.."]) {
      await uploaded(workspace, "b.log\n", { name, contextId: "run" });
    }
    const { code, stderr } = await workspace.run(kind, ["get", "--context", "run", "-o", "copy"]);
    assertEquals(code, 0);
    assertMatch(stderr, /8 of 8 resources are in copy/);
    const found = (await readdir(workspace.path("copy"), { recursive: true })).sort();
    assertEquals(found.filter((path) => !/~[0-9a-f]{8}$/.test(path)), [
      ...[".._.._evil", "_abs", "a.log", "dir", "dir/c.log", "dir/d.bin", "dir/deep"],
      ...["dir/deep/e.log", "x_.."],
    ]);
    assertEquals(found.filter((path) => /~[0-9a-f]{8}$/.test(path)).length, 1);
    assertEquals(await readFile(workspace.path("copy/dir/c.log"), "utf8"), "dir/c.log\n");
  });

  test(`${kind}: get goes on where it was cut off, and verifies what it has`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await writeFile(workspace.path("big.log"), "0123456789\n".repeat(100_000));
    await workspace.run(quickest, ["push", "big.log", "a.log", "--context", "run"]);
    const get = () => workspace.run(kind, ["get", "--context", "run", "-o", "copy"]);
    const twice = await workspace.run(kind, ["get", "run/a.log", "run/a.log", "-o", "once"]);
    assertEquals([twice.code, twice.stdout], [0, "once/a.log\n"]);
    const toStdout = await workspace.run(kind, ["get", "run/big.log", "-o", "-"]);
    assertEquals([toStdout.code, toStdout.stdout], [2, ""]);
    assertStringIncludes(toStdout.stderr, "stream follow REF prints a resource");
    const noDirectory = await workspace.run(kind, ["get", "run/big.log", "-o", "a.log"]);
    assertEquals([noDirectory.code, noDirectory.stdout], [1, ""]);
    assertStringIncludes(noDirectory.stderr, "cannot write a.log: there is a file already");
    assertEquals((await get()).code, 0);
    const path = workspace.path("copy/big.log");
    const whole = await readFile(path, "utf8");
    assertEquals(whole, await readFile(workspace.path("big.log"), "utf8"));
    await rm(path);
    await writeFile(`${path}.part`, whole);
    await truncate(`${path}.part`, 500_000);
    assertEquals((await get()).code, 0);
    assertEquals(await readFile(path, "utf8"), whole);
    await rm(path);
    await writeFile(`${path}.part`, `x${whole.slice(1, 500_000)}`);
    const damaged = await get();
    assertEquals(damaged.code, 1);
    assertStringIncludes(damaged.stderr, "CHECKSUM_MISMATCH");
    assertEquals((await readdir(workspace.path("copy"))).sort(), ["a.log"]);
    assertEquals((await get()).code, 0);
    assertEquals(await readFile(path, "utf8"), whole);
  });

  test(`${kind}: get leaves what is called like a resource and is something else, unless it may be replaced`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    await writeFile(workspace.path("empty.log"), "");
    await workspace.run(quickest, ["push", "a.log", "b.log", "empty.log", "--context", "run"]);
    const failed = await workspace.push(quickest, [
      "-",
      "--name",
      "failed.log",
      "--context",
      "run",
    ]);
    await failed.push.write("half");
    const follow = workspace.start(quickest, ["follow", failed.reference]);
    await follow.stdout.until((text) => text === "half");
    failed.push.signal("SIGTERM");
    await failed.push.exit();
    const get = (...options: string[]) =>
      workspace.run(kind, ["get", "--context", "run", "-o", "copy", ...options]);
    await mkdir(workspace.path("copy"));
    await writeFile(workspace.path("copy/a.log"), "notes of mine\n");
    // What is there after the first time, the copy of a FAILED one too, is no obstacle to the second.
    for (const round of [1, 2]) {
      const { stderr } = await get();
      assertMatch(stderr, /a\.log: .*copy\/a\.log is there already and is something else/);
      assertMatch(stderr, /3 of 4 resources are in copy/, `round ${round}`);
    }
    assertEquals(await readFile(workspace.path("copy/a.log"), "utf8"), "notes of mine\n");
    await writeFile(workspace.path("copy/failed.log"), "mine");
    assertMatch(
      (await get()).stderr,
      /failed\.log is there .*what was fetched is copy\/failed\.log\.part/,
    );
    assertMatch((await get("--overwrite")).stderr, /4 of 4 resources are in copy/);
    const copies = ["a.log", "failed.log"].map((name) =>
      readFile(workspace.path(`copy/${name}`), "utf8")
    );
    assertEquals(await Promise.all(copies), ["a.log\n", "half"]);
  });

  test(`${kind}: of two that get one resource into one file one gives way, and the file is whole`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    const { push } = await workspace.push(quickest, [
      "-",
      "--name",
      "live.log",
      "--context",
      "run",
    ]);
    await push.write("first\n");
    const get = () => workspace.start(kind, ["get", "run/live.log", "-o", "copy"]);
    const gets = [get()];
    const part = workspace.path("copy/live.log.part");
    while (await readFile(part, "utf8").catch(() => "") === "");
    gets.push(get());
    const readers = async () => await (await fetch(`${workspace.server}/metrics`)).text();
    while (!/^stream_connections\{kind="download"\} 2$/m.test(await readers()));
    await push.write("second\n");
    const [gone] = await Promise.race(gets.map(async (get, at) => [at, await get.exit()] as const));
    await push.write("third\n");
    push.end();
    const { code, stderr } = await gets[gone].exit();
    assertEquals(code, 1);
    assertMatch(stderr, /another program writes copy\/live\.log\.part, too.*CONFLICT/);
    assertEquals((await gets[1 - gone].exit()).code, 0);
    const whole = await readFile(workspace.path("copy/live.log"), "utf8");
    assertEquals(whole, "first\nsecond\nthird\n");
  });

  test(`${kind}: get fetches what is called like a folder of others beside it`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    for (const name of ["a", "a/b/c", "a/b"]) {
      await uploaded(workspace, "", { name, contextId: "run" });
    }
    const { code } = await workspace.run(kind, ["get", "--context", "run", "-o", "copy"]);
    const names = await readdir(workspace.path("copy"), { recursive: true });
    const shown = names.map((name) => name.replace(/~[0-9a-f]{8}$/, "~id")).sort();
    assertEquals([code, shown], [0, ["a", "a/b", "a/b/c", "a/b~id", "a~id"]]);
  });

  test(`${kind}: get takes no bytes of another resource, whatever that is called and the directory holds`, async () => {
    await using workspace = await withFiles();
    await workspace.serveBeside();
    // One that is called like the part of the next, and as long as it.
    await writeFile(workspace.path("other"), "EVIL");
    const name = ["--name", "x.log.part", "--context", "run"];
    assertEquals((await workspace.run(quickest, ["push", "other", ...name])).code, 0);
    const live = await workspace.push(quickest, ["-", "--name", "x.log", "--context", "run"]);
    await live.push.write("go");
    const get = workspace.start(kind, ["get", "--context", "run", "-o", "copy"]);
    await get.stdout.until((text) => text.includes("\n"));
    await live.push.write("od");
    live.push.end();
    assertEquals((await get.exit()).code, 0);
    const copy = await readdir(workspace.path("copy"));
    const texts = await Promise.all(
      copy.map((path) => readFile(workspace.path(`copy/${path}`), "utf8")),
    );
    assertEquals(new Set(texts), new Set(["good", "EVIL"]));
    assertEquals(await readFile(workspace.path("copy/x.log"), "utf8"), "good");

    // A part of something else, where no digest tells that.
    const failed = await workspace.push(quickest, ["-", "--name", "f.log"]);
    await failed.push.write("right");
    await content(workspace, failed.reference, 5);
    failed.push.signal("SIGTERM");
    await failed.push.exit();
    await writeFile(workspace.path("f.log.part"), "wro");
    const { code } = await workspace.run(kind, ["get", failed.reference, "-o", "."]);
    assertEquals(code, 3);
    assertEquals(await readFile(workspace.path("f.log"), "utf8"), "right");
  });
}
