/** Readers of stdout that left, and output that cannot be written, by the real program. */
import { constants, existsSync } from "node:fs";
import { mkdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  eitherRuntime,
  inTurn,
  type Kind,
  kinds,
  own,
  type Program,
  quickest,
  Workspace,
} from "../helpers/cli.ts";
import { listed, uploaded } from "../helpers/seen.ts";

const either = eitherRuntime();

const ID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

/** Starts the program with a stdout that nobody reads any more. */
function unread(workspace: Workspace, kind: Kind, args: string[]): Program {
  const program = workspace.start(kind, args, { collect: false });
  program.leave();
  program.end();
  return program;
}

/** Starts the program with a descriptor that leads to a full disk. */
function full(workspace: Workspace, kind: Kind, args: string[], descriptor: 1 | 2): Program {
  return workspace.start(kind, args, { shell: `exec "$@" ${descriptor}>/dev/full` });
}

/** A data directory with as many finished resources as `count`, all of them damaged. */
async function damaged(workspace: Workspace, count: number): Promise<string[]> {
  const server = await workspace.serve(quickest);
  for (let made = 0; made < count; made++) await uploaded(workspace, "first\n");
  const ids = (await listed(workspace)).map(({ id }) => id);
  await server.kill("SIGTERM");
  return ids;
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: a push is finished when nobody reads its reference`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await writeFile(workspace.path("a.log"), "first\nsecond\n");
    const { code, stderr } = await unread(workspace, kind, ["push", "a.log"]).exit();
    assertEquals([code, stderr], [0, ""]);
    const [{ transferStatus, currentSize }] = await listed(workspace);
    assertEquals([transferStatus, currentSize], ["COMPLETED", 13]);
  });

  test(`${kind}: a push whose reference cannot be written is finished, and fails then`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await writeFile(workspace.path("a.log"), "first\nsecond\n");
    const { code, stderr } = await full(workspace, kind, ["push", "a.log"], 1).exit();
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: cannot write to stdout: no space is left .*\(SOURCE_FAILED\)\n$/);
    const [{ transferStatus, currentSize }] = await listed(workspace);
    assertEquals([transferStatus, currentSize], ["COMPLETED", 13]);
  });

  test(`${kind}: check finds and mends everything when nobody reads, and says there was something`, async () => {
    await using workspace = await Workspace.open();
    const ids = await damaged(workspace, 3);
    const logs = await logsOf(workspace, ids);
    for (const log of logs) await writeFile(`${log}.idx`, "wrong");
    assertEquals((await unread(workspace, kind, ["check", "--data", "data"]).exit()).code, 1);
    const repair = ["check", "--data", "data", "--repair"];
    assertEquals((await unread(workspace, kind, repair).exit()).code, 1);
    for (const log of logs) assertEquals((await stat(`${log}.idx`)).size, 5);
    const { code, stdout } = await workspace.run(kind, ["check", "--data", "data"]);
    assertEquals([code, stdout], [0, "3 resources checked, 0 problems\n"]);
  });

  test(`${kind}: a server serves when nobody reads where it listens`, async () => {
    await using workspace = await Workspace.open();
    const port = String(await freePort());
    const server = unread(workspace, kind, ["serve", "--port", port, "--data", "data"]);
    await server.stderr.until((text) => text.includes("recovered"));
    await answering(`http://127.0.0.1:${port}/healthz`);
    server.signal("SIGTERM");
    assertEquals((await server.exit()).code, 0);
  });

  test(`${kind}: a token that nobody reads is revoked, and that is a failure`, async () => {
    await using workspace = await Workspace.open();
    const create = ["token", "create", "--auth", "tokens", "--scope", "read"];
    const { code, stderr } = await unread(workspace, kind, create).exit();
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: the token was not printed and is revoked: nobody reads it .*\n$/);
    assertEquals(await readFile(workspace.path("tokens"), "utf8"), "");
  });

  test(`${kind}: adopt takes everything over when nobody reads`, async () => {
    await using workspace = await Workspace.open();
    const ids = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];
    const java = workspace.path("java/ab/cd");
    await mkdir(java, { recursive: true });
    for (const id of ids) {
      await writeFile(join(java, `${id}.bin`), "first\n");
      await writeFile(join(java, `${id}.bin.idx`), "wrong");
      await utimes(join(java, `${id}.bin`), 0, 0);
    }
    const args = ["adopt", "java", "--data", "new"];
    assertEquals((await unread(workspace, kind, args).exit()).code, 0);
    const { stdout } = await workspace.run(kind, ["check", "--data", "new"]);
    assertEquals(stdout, "3 resources checked, 0 problems\n");
    assert(!existsSync(join(java, "aaaaaaaa.bin")));
  });

  test(`${kind}: commands that print end quietly when nobody reads`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const reference = await uploaded(workspace, "first\n");
    for (const args of [["ls"], ["status", reference], ["follow", reference], ["help"]]) {
      const { code, stderr } = await unread(workspace, kind, args).exit();
      assertEquals([code, stderr], [0, ""], args[0]);
    }
    for (const args of [["ls"], ["status", reference], ["follow", reference]]) {
      const { code, stderr } = await full(workspace, kind, args, 1).exit();
      assertEquals(code, 1, args[0]);
      assertStringIncludes(stderr, "cannot write to stdout: no space is left on the device");
    }
  });

  test(`${kind}: an stderr that cannot be written stops neither server nor push nor follow`, async () => {
    await using workspace = await Workspace.open();
    const port = await freePort();
    const address = ["--port", String(port), "--data", "data"];
    const server = full(workspace, kind, ["serve", ...address, "--access-log"], 2);
    await server.stdout.until((text) => text.includes("listening on"));
    await writeFile(workspace.path("a.log"), "first\n");
    const at = ["--server", `http://127.0.0.1:${port}`];
    const push = full(workspace, kind, ["push", "a.log", "--until-file", "done", ...at], 2);
    const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
    const reading = full(workspace, kind, ["follow", reference], 2);
    await reading.stdout.until((text) => text === "first\n");
    // Both tell that their connection broke.
    await server.kill("SIGTERM");
    const again = full(workspace, kind, ["serve", ...address, "--access-log"], 2);
    await again.stdout.until((text) => text.includes("listening on"));
    await writeFile(workspace.path("done"), "");
    assertEquals((await push.exit()).code, 0);
    const { code, stdout } = await reading.exit();
    assertEquals([code, stdout], [0, "first\n"]);
    again.signal("SIGTERM");
    assertEquals((await again.exit()).code, 0);
    // What goes wrong is told by the exit code alone.
    assertEquals((await full(workspace, kind, ["status", ID, ...at], 2).exit()).code, 4);
    assertEquals((await full(workspace, kind, ["push"], 2).exit()).code, 2);
  });

  test(`${kind}: a log that is not read any more does not stop a server`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(kind, ["--access-log"]);
    server.leaveStderr();
    for (let asked = 0; asked < 50; asked++) {
      assertEquals((await fetch(`${workspace.server}/healthz`)).status, 200);
    }
    server.signal("SIGTERM");
    assertEquals((await server.exit()).code, 0);
  });

  test(`${kind}: follow says why a resource is FAILED, and -o - is stdout`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside({ resumeWindowMs: 0 });
    const { push, reference } = await workspace.push(quickest, ["-"]);
    push.write("first\n");
    const live = workspace.start(kind, ["follow", reference, "-o", "-"]);
    await live.stdout.until((text) => text === "first\n");
    push.signal("SIGINT");
    const { code, stdout, stderr } = await live.exit();
    assertEquals([code, stdout], [3, "first\n"]);
    assertMatch(stderr, /^stream: the resource is FAILED: ABORTED: .*interrupted.*\n$/);
    assert(!existsSync(workspace.path("-")));
    const more = await workspace.run(kind, ["follow", reference, "-o", "-", "--continue"]);
    assertEquals(more.code, 2);
  });

  test(`${kind}: output is whole where another program made the pipe one that does not block`, async () => {
    await using workspace = await Workspace.open();
    const shell = '{ dd oflag=nonblock count=0 status=none </dev/null; "$@"; } | cat';
    const words = ["run", "--quiet", "--retry-for", "0s", "--", "seq", "300000"];
    const { stdout } = await workspace.run(kind, words, { shell });
    assertEquals([stdout.length, stdout.slice(-7)], [1_988_895, "300000\n"]);
  });

  test(`${kind}: a pipe that blocks is left one that does, for what is printed into it next`, async () => {
    await using workspace = await Workspace.open();
    const shell = '{ "$@"; grep flags /proc/self/fdinfo/1; } | cat';
    const { stdout } = await workspace.run(kind, ["--version"], { shell });
    const flags = /^flags:\s*(\d+)$/m.exec(stdout)?.[1] ?? "none";
    assertEquals(parseInt(flags, 8) & constants.O_NONBLOCK, 0);
  });
}

either(
  "at a terminal a notice stands above the progress, and follow -o shows progress, too",
  async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const { push, reference } = await workspace.push(own, ["-"]);
    push.write("first\n");
    const reading = workspace.terminal(own, ["follow", reference, "-o", "copy"]);
    await reading.stdout.until((text) => text.includes("6 B  "));
    await server.kill("SIGKILL");
    // A notice clears the line of the progress, and that is shown again below.
    await reading.stdout.until((text) =>
      // deno-lint-ignore no-control-regex
      /\r\x1b\[Kstream: [^\r]*; trying again in [\d.]+ s\r?\n6 B {2}/.test(text)
    );
    await workspace.serve(quickest, ["--port", new URL(workspace.server).port]);
    push.end();
    const { code, stdout } = await reading.exit();
    assertEquals(code, 0);
    assertStringIncludes(stdout, "\r\x1b[Kstream: connected again\r\n6 B  ");
    assertMatch(stdout, /COMPLETED 6 B\r\n$/);
    assertEquals(await readFile(workspace.path("copy"), "utf8"), "first\n");
  },
);

either("a push and a follow say when they are connected again", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(quickest);
  const { push, reference } = await workspace.push(own, ["-"]);
  push.write("first\n");
  const reading = workspace.start(own, ["follow", reference]);
  await reading.stdout.until((text) => text === "first\n");
  await server.kill("SIGKILL");
  await workspace.serve(quickest, ["--port", new URL(workspace.server).port]);
  push.end();
  for (const program of [push, reading]) {
    const { code, stderr } = await program.exit();
    assertEquals(code, 0);
    assertMatch(stderr, /^(stream: .*; trying again in .*\n)+stream: connected again\n$/);
  }
});

either(
  "what the runtimes say of an address that nobody answers at is the same, without advice",
  async () => {
    await using workspace = await Workspace.open();
    const port = await freePort();
    const at = ["--server", `http://127.0.0.1:${port}`, "--retry-for", "0s"];
    const { stderr } = await workspace.run(own, ["status", ID, ...at.slice(0, 2)]);
    const reason = "the connection was refused: nothing listens there (UNREACHABLE)\n";
    assertEquals(stderr, `stream: the server at ${at[1]} cannot be reached: ${reason}`);
  },
);

async function freePort(): Promise<number> {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Asks until somebody answers. */
async function answering(url: string): Promise<void> {
  for (const endAtMs = performance.now() + 5000;;) {
    try {
      return void await (await fetch(url)).text();
    } catch (error) {
      if (performance.now() > endAtMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function logsOf(workspace: Workspace, ids: string[]): Promise<string[]> {
  const { findFiles } = await import("../../src/storage/verify.ts");
  const found = await Array.fromAsync(findFiles(workspace.path("data")));
  return found.filter(({ id }) => id !== null && ids.includes(id)).map(({ path }) => path);
}
