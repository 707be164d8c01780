/** `stream run`, by the real program: what the command, its terminal and its server see of it. */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  eitherRuntime,
  inTurn,
  kinds,
  own,
  type Program,
  quickest,
  UNTIL_SIGNAL,
  untilFile,
  Workspace,
} from "../helpers/cli.ts";
import { runOutput } from "../helpers/peers/run_output.ts";
import { content, known, listed as listedNow } from "../helpers/seen.ts";
import { limitedServer } from "../helpers/faults/limited_server.ts";

const either = eitherRuntime();

/** A port that nobody listens on. */
const NOBODY = { STREAM_SERVER: "http://127.0.0.1:2" };

/** All resources, oldest first. */
async function listed(workspace: Workspace) {
  return (await listedNow(workspace)).reverse();
}

/** The first resource, when there is one and it has so many bytes. */
async function arrived(workspace: Workspace, bytes: number): Promise<string> {
  for (;;) {
    const [first] = await listed(workspace);
    if (first === undefined) continue;
    await content(workspace, first.reference, bytes);
    return first.reference;
  }
}

function runs(program: Program): Promise<string> {
  return program.stdout.until((text) => text.includes("runs\n"));
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: output and exit code of a command are its own; the resource has its output`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "echo one; echo two >&2; echo three >/dev/stdout; exit 3";
    const { code, stdout, stderr } = await workspace.run(
      kind,
      ["run", "--context", "job", "--name", "build.log", "--", "sh", "-c", script],
    );
    assertEquals([code, stdout], [3, "one\nthree\n"]);
    const [resource] = await listed(workspace);
    assertEquals(stderr.split("\n").sort(), [
      ...["", `stream: build.log: watch it at ${resource.view}`],
      ...[`stream: build.log: ${resource.reference}`, "two"],
    ]);
    assertEquals(
      [resource.transferStatus, resource.filename, resource.contextId, resource.numberOfLines],
      ["COMPLETED", "build.log", "job", 3],
    );
    const lines = (await content(workspace, resource.reference)).split("\n").sort();
    assertEquals(lines, ["", "one", "three", "two"]);
  });

  test(`${kind}: readers see that all is there, and how the command ended`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const run = (script: string, ...args: string[]) =>
      workspace.run(kind, ["run", "-q", "--context", "c", ...args, "--", "sh", "-c", script]);
    await run("echo one; exit 2", "--name", "failed.log", "--transport", "http");
    await run("echo one; kill -9 $$", "--name", "killed.log");
    await run("echo one", "--name", "well.log");
    const resources = await listed(workspace);
    assertEquals(resources.map(({ transferStatus, outcome }) => [transferStatus, outcome]), [
      ["COMPLETED", { exitCode: 2, signal: null }],
      ["COMPLETED", { exitCode: null, signal: "SIGKILL" }],
      ["COMPLETED", { exitCode: 0, signal: null }],
    ]);
    const said = async (...args: string[]) => {
      const { code, stdout, stderr } = await workspace.run(quickest, args);
      return [code, stdout + stderr] as const;
    };
    assertStringIncludes(
      (await said("status", "c/failed.log"))[1],
      "ended      with exit code 2\n",
    );
    assertStringIncludes((await said("status", "c/killed.log"))[1], "ended      by SIGKILL\n");
    assertEquals(await said("follow", "c/failed.log"), [
      0,
      "one\nstream: the command ended with exit code 2\n",
    ]);
    assertEquals(await said("follow", "c/well.log"), [0, "one\n"]);
    assertEquals((await said("wait", "c/well.log"))[0], 0);
    const [code, text] = await said("wait", "--context", "c");
    assertEquals(code, 3);
    assertStringIncludes(text, "killed.log  ended by SIGKILL\n");
    const shown = await workspace.terminal(quickest, ["ls"], { env: { NO_COLOR: "1" } }).exit();
    assertStringIncludes(shown.stdout, "failed.log  (ended with exit code 2)\r\n");
  });

  test(`${kind}: 32 MiB of output are passed on and uploaded as they are`, async () => {
    await runOutput(kind, 32 * 1024 ** 2, 30_000);
  });

  test(`${kind}: stdout and stderr keep their order where they go to the same place`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done";
    const wanted = Array.from({ length: 9 }, (_, i) => `out ${i + 1}\nerr ${i + 1}\n`).join("");
    const program = workspace.start(kind, ["run", "-q", "--", "sh", "-c", script], {
      shell: `exec "$@" 2>&1`,
    });
    assertEquals((await program.exit()).stdout, wanted);
    assertEquals(await content(workspace, (await listed(workspace))[0].reference), wanted);
  });

  test(`${kind}: --split makes two resources of one context`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "echo one; echo two >&2";
    const { code } = await workspace.run(kind, ["run", "--split", "--", "sh", "-c", script]);
    assertEquals(code, 0);
    const [first, second] = (await listed(workspace)).sort((a, b) =>
      String(b.filename).localeCompare(String(a.filename))
    );
    assertEquals([first.filename, second.filename], ["sh.stdout.log", "sh.stderr.log"]);
    assertMatch(String(first.contextId), /^run-/);
    assertEquals(first.contextId, second.contextId);
    assertEquals(await content(workspace, first.reference), "one\n");
    assertEquals(await content(workspace, second.reference), "two\n");
  });

  test(`${kind}: a command that is killed ends as in a shell; its output is there`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { code, stdout } = await workspace.run(
      kind,
      ["run", "--", "sh", "-c", "echo one; kill -9 $$"],
    );
    assertEquals([code, stdout], [137, "one\n"]);
    assertEquals(await content(workspace, (await listed(workspace))[0].reference), "one\n");
  });

  test(`${kind}: signals are passed on, and the command decides what they mean`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const) {
      const script = `trap 'echo got it; exit 7' ${signal.slice(3)}; ` +
        `echo runs; ${UNTIL_SIGNAL}`;
      const program = workspace.start(kind, ["run", "-q", "--", "sh", "-c", script]);
      await runs(program);
      program.signal(signal);
      const { code, stdout } = await program.exit();
      assertEquals([signal, code, stdout], [signal, 7, "runs\ngot it\n"]);
    }
  });

  test(`${kind}: a command that ignores SIGTERM goes on to its end`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = `trap '' TERM; echo runs; ${untilFile("done")}; echo end`;
    const program = workspace.start(kind, ["run", "-q", "--", "sh", "-c", script]);
    await runs(program);
    program.signal("SIGTERM");
    await writeFile(workspace.path("done"), "");
    const { code, stdout } = await program.exit();
    assertEquals([code, stdout], [0, "runs\nend\n"]);
    const [{ transferStatus, reference }] = await listed(workspace);
    assertEquals(transferStatus, "COMPLETED");
    assertEquals(await content(workspace, reference), "runs\nend\n");
  });

  test(`${kind}: Ctrl-C at a terminal reaches the command once`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "trap 'echo got it' INT; echo runs; " +
      `${untilFile("done")}; echo end; exit 4`;
    const program = workspace.terminal(kind, ["run", "-q", "--", "sh", "-c", script]);
    await program.stdout.until((text) => text.includes("runs\r\n"));
    await program.write("\x03");
    await program.stdout.until((text) => text.includes("got it\r\n"));
    await writeFile(workspace.path("done"), "");
    const { code, stdout } = await program.exit();
    assertEquals([code, stdout.replaceAll("^C", "")], [4, "runs\r\ngot it\r\nend\r\n"]);
  });

  test(`${kind}: --tty gives the command a terminal, and its exit code back`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = 'test -t 1 && test -t 2 && echo "a terminal, it\'s $0"; exit 5';
    const { code, stdout } = await workspace.run(
      kind,
      ["run", "--tty", "-q", "--", "sh", "-c", script, "a 'name'"],
    );
    assertEquals([code, stdout], [5, "a terminal, it's a 'name'\r\n"]);
    assertEquals(await content(workspace, (await listed(workspace))[0].reference), stdout);
  });

  test(`${kind}: with --tty what we say at a terminal ends where the command's lines begin`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const words = ["run", "--tty", "--name", "a.log", "--", "sh", "-c", "read go; echo done"];
    const program = workspace.terminal(kind, words);
    await program.stdout.until((text) => /stream: a\.log: \S+\r\n/.test(text));
    await program.write("\r");
    assertEquals((await program.exit()).code, 0);
  });

  test(`${kind}: signals reach a command that has a terminal, and it decides what they mean`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = `trap 'echo got it; exit 7' TERM; echo runs; ${UNTIL_SIGNAL}`;
    const program = workspace.start(kind, ["run", "--tty", "-q", "--", "sh", "-c", script]);
    await program.stdout.until((text) => text.includes("runs\r\n"));
    program.signal("SIGTERM");
    const { code, stdout } = await program.exit();
    assertEquals([code, stdout], [7, "runs\r\ngot it\r\n"]);
  });

  test(`${kind}: a command that outlives its terminal goes on, and so does its upload`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const wait = `${untilFile("go")}; rm go`;
    const script = `trap "" HUP; echo one; ${wait}; echo two; ${wait}; echo three`;
    const program = workspace.terminal(kind, ["run", "--", "sh", "-c", script]);
    await program.stdout.until((text) => text.includes("sh.log: ws:") && text.includes("one"));
    const [{ reference }] = await listed(workspace);
    await program.kill("SIGKILL");
    const follow = workspace.start(quickest, ["follow", String(reference)]);
    for (const text of ["one\n", "one\ntwo\n"]) {
      await follow.stdout.until((shown) => shown === text);
      await writeFile(workspace.path("go"), "");
    }
    const { code, stdout } = await follow.exit();
    assertEquals([code, stdout], [0, "one\ntwo\nthree\n"]);
  });

  test(`${kind}: a process that the command leaves behind is waited for only as long as --linger`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = `(${untilFile("done")}; echo late) & echo one; exit 0`;
    const { code, stdout, stderr } = await workspace.run(
      kind,
      ["run", "--linger", "200ms", "--", "sh", "-c", script],
    );
    await writeFile(workspace.path("done"), "");
    assertEquals([code, stdout], [0, "one\n"]);
    assertStringIncludes(stderr, "left behind were waited for 0.2 s (--linger)");
    const [{ transferStatus, reference }] = await listed(workspace);
    assertEquals(transferStatus, "COMPLETED");
    assertEquals(await content(workspace, reference), "one\n");
  });

  test(`${kind}: what a process that is left behind prints in time is not lost`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "(sleep 0.3; echo late) & echo one";
    const { stdout } = await workspace.run(kind, ["run", "--", "sh", "-c", script]);
    assertEquals(stdout, "one\nlate\n");
    assertEquals(await content(workspace, (await listed(workspace))[0].reference), "one\nlate\n");
  });

  test(`${kind}: without a server the command runs, prints and ends as it would`, async () => {
    await using workspace = await Workspace.open();
    const script = "echo one; echo two >&2; exit 6";
    const { code, stdout, stderr } = await workspace.run(
      kind,
      ["run", "-q", "--", "sh", "-c", script],
      { env: NOBODY },
    );
    assertEquals([code, stdout], [6, "one\n"]);
    assertMatch(stderr, /^two\nstream: sh\.log is not uploaded as a whole: [^\n]*\n$/);
  });

  test(`${kind}: without a server and without best effort a command that did well ends with 4`, async () => {
    await using workspace = await Workspace.open();
    const args = ["run", "--no-best-effort", "--retry-for", "0s", "--"];
    const well = await workspace.run(kind, [...args, "echo", "one"], { env: NOBODY });
    assertEquals([well.code, well.stdout], [4, "one\n"]);
    const badly = await workspace.run(kind, [...args, "sh", "-c", "exit 6"], { env: NOBODY });
    assertEquals(badly.code, 6);
    assertMatch(badly.stderr, /cannot be reached: .* \(UNREACHABLE\)\n$/);
  });

  test(`${kind}: a server that dies for ever in the middle holds up nothing`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const script = `echo runs; ${untilFile("done")}; seq 200000; exit 2`;
    const program = workspace.start(
      kind,
      ["run", "--spool-limit", "100KB", "--", "sh", "-c", script],
    );
    await arrived(workspace, "runs\n".length);
    await server.kill("SIGKILL");
    await writeFile(workspace.path("done"), "");
    const { code, stdout, stderr } = await program.exit();
    assertEquals([code, stdout.length, stdout.slice(-7)], [2, 5 + 1_288_895, "200000\n"]);
    assertStringIncludes(stderr, "no more can be kept");
  });

  test(`${kind}: a server that comes back in time gets everything`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const script = `echo runs; ${untilFile("done")}; seq 20000; exit 2`;
    const program = workspace.start(kind, ["run", "--", "sh", "-c", script]);
    const reference = await arrived(workspace, "runs\n".length);
    await server.kill("SIGKILL");
    await writeFile(workspace.path("done"), "");
    await program.stdout.until((text) => text.endsWith("\n20000\n"));
    await workspace.serve(quickest, ["--port", new URL(workspace.server).port]);
    const { code, stdout } = await program.exit();
    assertEquals(code, 2);
    assertEquals((await known(workspace, reference)).transferStatus, "COMPLETED");
    assertEquals(await content(workspace, reference), stdout);
  });

  test(`${kind}: a full disk at the server is told, and the command goes on`, async () => {
    await using workspace = await Workspace.open();
    await mkdir(workspace.path("full"));
    await using server = await limitedServer(workspace.path("full"), { fileBytes: 512 * 1024 });
    const { code, stdout, stderr } = await workspace.run(
      kind,
      ["run", "--server", server.url, "--", "sh", "-c", "seq 200000; exit 9"],
    );
    assertEquals([code, stdout.length], [9, 1_288_895]);
    assertMatch(stderr, /^stream: sh\.log is not uploaded as a whole: .*$/m);
  });

  test(`${kind}: a reader that leaves is told to the command as without us`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const program = workspace.start(kind, ["run", "-q", "--", "yes"], { collect: false });
    await new Promise((resolve) => program.output.once("data", resolve));
    program.leave();
    assertEquals((await program.exit()).code, 128 + 13);
    const [{ transferStatus }] = await listed(workspace);
    assertEquals(transferStatus, "COMPLETED");
  });

  test(`${kind}: a command that is not there is named, with the exit code of shells`, async () => {
    await using workspace = await Workspace.open();
    const missing = await workspace.run(kind, ["run", "--", "no-such-command"], { env: NOBODY });
    assertEquals(missing, {
      code: 127,
      stdout: "",
      stderr: "stream: there is no command no-such-command\n",
    });
    await writeFile(workspace.path("plain"), "");
    await chmod(workspace.path("plain"), 0o644);
    const plain = await workspace.run(kind, ["run", "--", "./plain"], { env: NOBODY });
    assertEquals(plain.code, 126);
  });

  test(`${kind}: a signal to the whole group, such as timeout sends, ends the command and not its upload`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    for (let turn = 0; turn < 4; turn++) {
      const words = ["run", "-q", "--", "sh", "-c", "echo runs; exec sleep 30"];
      const program = workspace.start(kind, words, { shell: 'exec setsid "$@"' });
      await runs(program);
      process.kill(program.pid, "SIGTERM");
      process.kill(-program.pid, "SIGTERM");
      assertEquals((await program.exit()).code, 128 + 15);
    }
    const ends = (await listed(workspace)).map(({ transferStatus }) => transferStatus);
    assertEquals(ends, Array(4).fill("COMPLETED"));
  });

  test(`${kind}: what is open for the command without us is open for it, and nothing of ours`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = "echo three >&3; readlink /proc/self/fd/*; exit 3";
    const { code } = await workspace.run(kind, ["run", "--", "sh", "-c", script], {
      shell: 'exec 3>three; exec "$@" >one 2>two',
    });
    const [one, three] = await Promise.all(
      ["one", "three"].map((name) => readFile(workspace.path(name), "utf8")),
    );
    assertEquals([code, three], [3, "three\n"]);
    const open = one.trim().split("\n");
    assertEquals(["one", "two", "three"].map((name) => open.includes(workspace.path(name))), [
      ...[false, false, true],
    ]);
  });

  test(`${kind}: arguments and variables reach the command byte by byte, also those that are no UTF-8`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const script = `printf '%s,' "$@" "$V" | od -An -tx1 | tr -d ' \n\r'; exit 3`;
    const shell = `V=$(printf 'v\\376') && export V && exec "$@" "$(printf '%%\\377')" 'é\n'`;
    for (const tty of [[], ["--tty"]]) {
      const words = ["run", "-q", ...tty, "--", "sh", "-c", script, "sh"];
      const { code, stdout } = await workspace.run(kind, words, { shell });
      assertEquals([code, stdout], [3, "25ff2cc3a90a2c76fe2c"]);
    }
  });

  test(`${kind}: a command starts also where what is open is near the limit`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const shell = `exec bash -c 'exec 62>open; ulimit -n 64; exec "$@"' bash "$@"`;
    const { code, stdout } = await workspace.run(kind, ["run", "-q", "--", "echo", "one"], {
      shell,
    });
    assertEquals([code, stdout], [0, "one\n"]);
  });

  test(`${kind}: a signal that is ignored at our start is ignored by the command`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    for (const tty of [[], ["--tty"]]) {
      const words = ["run", ...tty, "--", "sh", "-c", "kill -HUP $$; kill -INT $$; exit 3"];
      const { code } = await workspace.run(kind, words, { shell: `trap "" HUP INT; exec "$@"` });
      assertEquals(code, 3);
    }
  });
}

either("--tty without script of util-linux is refused before anything runs", async () => {
  await using workspace = await Workspace.open();
  const bin = workspace.path("bin");
  await mkdir(bin);
  await writeFile(`${bin}/script`, "#!/bin/sh\necho script of somebody else\n");
  await chmod(`${bin}/script`, 0o755);
  const { code, stdout, stderr } = await workspace.run(own, ["run", "--tty", "--", "echo", "one"], {
    env: { ...NOBODY, PATH: `${bin}:${process.env.PATH}` },
  });
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, "--tty wants the program script of util-linux");
});

either("the options of a command are its own", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const script = "echo $#$1$2$3";
  const words = ["sh", "-c", script, "sh", "--help", "--name", ""];
  for (const args of [["-q", ...words], ["-q", "--name", "a", "--", ...words]]) {
    const { stdout } = await workspace.run(own, ["run", ...args]);
    assertEquals(stdout, "3--help--name\n");
  }
});

either("a command reads our stdin", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const program = workspace.start(own, ["run", "-q", "--", "sed", "s/a/b/"]);
  await program.write("banana\n");
  program.end();
  assertEquals((await program.exit()).stdout, "bbnana\n");
});

either("output that cannot be written is no success", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const program = workspace.start(own, ["run", "-q", "--", "echo", "one"], {
    shell: `exec "$@" >/dev/full`,
  });
  const { code, stderr } = await program.exit();
  assertEquals(code, 1);
  assertStringIncludes(stderr, "cannot write to stdout");
  assertEquals(await content(workspace, (await listed(workspace))[0].reference), "one\n");
});

either("a command runs where no pipe with a name can be made", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const env = { TMPDIR: workspace.path("missing") };
  const script = "echo one; echo two >&2; exit 3";
  const { code, stdout, stderr } = await workspace.run(
    own,
    ["run", "-q", "--", "sh", "-c", script],
    { env },
  );
  assertEquals([code, stdout, stderr], [3, "one\n", "two\n"]);
  const [{ numberOfLines }] = await listed(workspace);
  assertEquals(numberOfLines, 2);
});

either("nothing of a command's output is left in the temporary directory", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const temporary = workspace.path("tmp");
  await mkdir(temporary);
  const { stdout } = await workspace.run(own, ["run", "-q", "--", "ls", "-A", temporary], {
    env: { TMPDIR: temporary },
  });
  assertEquals(stdout, "");
});
