/** What ends a push, by the real program: signals, the ends of a growing file, and what goes wrong. */
import { appendFile, mkdir, rename, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { utf8 } from "../helpers/bytes.ts";
import { eitherRuntime, own, type Program, quickest, Workspace } from "../helpers/cli.ts";
import { content, known } from "../helpers/seen.ts";

const either = eitherRuntime();

const LINES = "first\nsecond\n";
/** An upload whose end the server did not hear of is not waited for for long. */
const SOON_FAILED = { resumeWindowMs: 300 };
const MORE_THAN_ANY_BUFFER = 32 * 1024 * 1024;

/** A push that follows `live.log` and has brought its first lines to the server. */
async function growing(
  workspace: Workspace,
  ...options: string[]
): Promise<{ push: Program; reference: string; path: string }> {
  const path = workspace.path("live.log");
  await writeFile(path, LINES);
  const { push, reference } = await workspace.push(own, ["live.log", ...options]);
  await arrived(workspace, reference, LINES);
  return { push, reference, path };
}

/** Waits until the server has so much of a resource that is still running. */
async function arrived(workspace: Workspace, reference: string, text: string): Promise<void> {
  assertEquals(await content(workspace, reference, utf8(text).length), text);
}

either(
  "Ctrl-C ends following a file, and completes the upload with what was just added",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside(SOON_FAILED);
    const { push, reference, path } = await growing(workspace, "--follow");
    await appendFile(path, "last");
    push.signal("SIGINT");
    assertEquals(await push.exit(), { code: 0, stdout: `${reference}\n`, stderr: "" });
    const { transferStatus, numberOfLines } = await known(workspace, reference);
    assertEquals([transferStatus, numberOfLines], ["COMPLETED", 3]);
    assertEquals(await content(workspace, reference), `${LINES}last`);
  },
);

either("a second Ctrl-C cancels an upload whose last bytes cannot be sent", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(quickest, ["--resume-window", "300ms"]);
  const { push, reference, path } = await growing(workspace, "--follow");
  server.signal("SIGSTOP");
  await appendFile(path, "x".repeat(MORE_THAN_ANY_BUFFER));
  const ended = push.exit();
  // Two at the same time would be one.
  const interrupts = setInterval(() => push.signal("SIGINT"), 100);
  const { code, stderr } = await ended.finally(() => clearInterval(interrupts));
  server.signal("SIGCONT");
  assertEquals(code, 130);
  assertStringIncludes(stderr, "interrupted");
  const follow = await workspace.run(quickest, ["follow", reference]);
  assertEquals(follow.code, 3);
  assertMatch(follow.stdout, /^first\nsecond\nx*$/);
});

either("--until-file completes the upload with what was there when the file appeared", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside(SOON_FAILED);
  const { push, reference, path } = await growing(workspace, "--until-file", "done");
  await appendFile(path, "third\n");
  await writeFile(workspace.path("done"), "");
  assertEquals((await push.exit()).code, 0);
  assertEquals(await content(workspace, reference), `${LINES}third\n`);
});

either("--until-idle completes the upload when nothing is added any more", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside(SOON_FAILED);
  const { push, reference, path } = await growing(workspace, "--until-idle", "3s");
  await appendFile(path, "third\n");
  assertEquals((await push.exit()).code, 0);
  assertEquals(await content(workspace, reference), `${LINES}third\n`);
});

either("a dash is standard input, also where something is called so", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await mkdir(workspace.path("-"));
  const { code, stdout } = await workspace.run(own, ["push", "-", "--name", "empty.log"]);
  assertEquals([code, await content(workspace, stdout.trim())], [0, ""]);
});

either("--until-pid completes the upload when the producer is gone", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await writeFile(workspace.path("live.log"), LINES);
  const producer = workspace.start(quickest, ["push", "-"]);
  const pid = String(producer.pid);
  const { push, reference } = await workspace.push(own, ["live.log", "--until-pid", pid]);
  await arrived(workspace, reference, LINES);
  await appendFile(workspace.path("live.log"), "third\n");
  await producer.kill("SIGKILL");
  assertEquals((await push.exit()).code, 0);
  assertEquals(await content(workspace, reference), `${LINES}third\n`);
});

either(
  "a file that shrinks while it is followed is named, and the resource is FAILED",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside(SOON_FAILED);
    const { push, reference, path } = await growing(workspace, "--follow");
    await truncate(path, 3);
    const { code, stderr } = await push.exit();
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: live\.log shrank from 13 to 3 bytes.*\n$/);
    const follow = await workspace.run(quickest, ["follow", reference]);
    assertEquals([follow.code, follow.stdout], [3, LINES]);
    assertMatch(String((await known(workspace, reference)).failure), /live\.log shrank/);
  },
);

either(
  "a file that is truncated and has regrown is named, and the resource is FAILED with what it was",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside(SOON_FAILED);
    for (const [name, text] of [["a.log", "another"], ["b.log", "another text, which is longer"]]) {
      await writeFile(workspace.path(name), LINES);
      const { push, reference } = await workspace.push(own, [name, "--follow"]);
      await arrived(workspace, reference, LINES);
      // In one write, as nobody is to see it empty.
      await writeFile(workspace.path(name), text.padEnd(LINES.length, "."), { flag: "r+" });
      const { code, stderr } = await push.exit();
      assertEquals(code, 1);
      assertMatch(
        stderr,
        /^stream: [ab]\.log was rewritten \(truncated .*\) when 13 bytes were read.*\n$/,
      );
      const follow = await workspace.run(quickest, ["follow", reference]);
      assertEquals([follow.code, follow.stdout], [3, LINES]);
      assertMatch(String((await known(workspace, reference)).failure), /log was rewritten/);
    }
  },
);

either(
  "a file that is replaced while it is followed is named, and the resource is FAILED",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside(SOON_FAILED);
    const { push, reference, path } = await growing(workspace, "--follow");
    await writeFile(workspace.path("new.log"), "of another file\n");
    await rename(workspace.path("new.log"), path);
    const { code, stderr } = await push.exit();
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: live\.log was replaced by another file.*\n$/);
    const follow = await workspace.run(quickest, ["follow", reference]);
    assertEquals([follow.code, follow.stdout], [3, LINES]);
    assertMatch(String((await known(workspace, reference)).failure), /live\.log was replaced/);
  },
);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  either(`${signal} ends a push from a pipe with 130 and keeps what arrived`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside(SOON_FAILED);
    const { push, reference } = await workspace.push(own, ["-"]);
    push.write(LINES);
    await arrived(workspace, reference, LINES);
    push.signal(signal);
    const { code, stderr } = await push.exit();
    assertEquals(code, 130);
    assertMatch(stderr, /^stream: interrupted; .*FAILED.*\n$/);
    const follow = await workspace.run(quickest, ["follow", reference]);
    assertEquals([follow.code, follow.stdout], [3, LINES]);
    const { failure } = await known(workspace, reference);
    assertEquals(failure, "ABORTED: the uploader was interrupted");
  });
}

either("Ctrl-C ends a push whose server accepts a connection and never answers", async () => {
  await using workspace = await Workspace.open();
  const silent = await silentServer();
  try {
    const push = workspace.start(own, ["push", "-", "--server", silent.url]);
    await silent.asked;
    push.signal("SIGINT");
    assertEquals((await push.exit(3000)).code, 130);
  } finally {
    silent.close();
  }
});

/** Takes a connection and says nothing. */
async function silentServer(): Promise<{ url: string; asked: Promise<void>; close(): void }> {
  const asked = Promise.withResolvers<void>();
  const server: Server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => asked.resolve());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, asked: asked.promise, close: () => server.close() };
}

either("killing the pusher leaves a FAILED resource with all that arrived", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside(SOON_FAILED);
  const text = `${LINES}and half a li`;
  const { push, reference } = await workspace.push(own, ["-"]);
  const follow = workspace.start(quickest, ["follow", reference]);
  push.write(text);
  await follow.stdout.until((received) => received === text);
  await push.kill("SIGKILL");
  const followed = await follow.exit();
  assertEquals([followed.code, followed.stdout], [3, text]);
  assertMatch(followed.stderr, /^stream: the resource is FAILED: INTERRUPTED: .*\n$/);
  const { transferStatus, numberOfLines, failure } = await known(workspace, reference);
  assertEquals([transferStatus, numberOfLines], ["FAILED", 3]);
  assertMatch(String(failure), /^INTERRUPTED: /);
});
