/** The end of a terminal, by the real program. */
import { appendFile, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../helpers/cli.ts";

/** As `nohup` starts a program. */
const NOHUP = `trap "" HUP; exec "$@"`;

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: the end of the terminal completes a push that follows a file`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await writeFile(workspace.path("live.log"), "first\n");
    const { push, reference } = await workspace.push(kind, ["live.log", "--follow"]);
    const follow = workspace.start(quickest, ["follow", reference]);
    await follow.stdout.until((text) => text === "first\n");
    await appendFile(workspace.path("live.log"), "last\n");
    push.signal("SIGHUP");
    assertEquals((await push.exit()).code, 0);
    const { code, stdout } = await follow.exit();
    assertEquals([code, stdout], [0, "first\nlast\n"]);
  });

  test(`${kind}: a push that ignored the end of its terminal at its start goes on`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await writeFile(workspace.path("live.log"), "first\n");
    const push = workspace.start(kind, ["push", "live.log", "--follow"], { shell: NOHUP });
    const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
    const follow = workspace.start(quickest, ["follow", reference]);
    await follow.stdout.until((text) => text === "first\n");
    for (const line of ["second\n", "third\n"]) {
      push.signal("SIGHUP");
      const before = follow.stdout.text;
      await appendFile(workspace.path("live.log"), line);
      await follow.stdout.until((text) => text === before + line);
    }
    push.signal("SIGTERM");
    assertEquals((await push.exit()).code, 0);
    const { code, stdout } = await follow.exit();
    assertEquals([code, stdout], [0, "first\nsecond\nthird\n"]);
  });

  test(`${kind}: the end of the terminal ends a server in good order, unless it ignored it at its start`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(kind);
    server.signal("SIGHUP");
    const { code, stderr } = await server.exit();
    assertEquals(code, 0);
    assertStringIncludes(stderr, 'stopping signal="SIGHUP"');
    const serve = ["serve", "--port", "0", "--data", "data"];
    const lasting = workspace.start(kind, serve, { shell: NOHUP });
    const address = (await lasting.stdout.until((text) =>
      text.includes("\n")
    )).trim().split(" ")[2];
    for (let asked = 0; asked < 5; asked++) {
      lasting.signal("SIGHUP");
      assertEquals((await fetch(`${address}/healthz`)).status, 200);
    }
    lasting.signal("SIGTERM");
    const ended = await lasting.exit();
    assertEquals(ended.code, 0);
    assertStringIncludes(ended.stderr, 'stopping signal="SIGTERM"');
  });

  test(`${kind}: a signal to the whole group, such as timeout sends, is one that ends following`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    await writeFile(workspace.path("live.log"), "first\n");
    for (let turn = 0; turn < 2; turn++) {
      const words = ["push", "live.log", "--follow"];
      const push = workspace.start(kind, words, { shell: 'exec setsid "$@"' });
      await push.stdout.until((text) => text.includes("\n"));
      server.signal("SIGSTOP");
      process.kill(push.pid, "SIGINT");
      await sleep(20); // Two that nobody has seen yet are one to the system.
      process.kill(-push.pid, "SIGINT");
      server.signal("SIGCONT");
      assertEquals((await push.exit()).code, 0);
    }
  });

  test(`${kind}: a signal ends what is the first process of a container, and listens to none`, async () => {
    await using workspace = await Workspace.open();
    const words = ["follow", crypto.randomUUID(), "--retry-for", "1m"];
    const shell = 'exec unshare -rpf --mount-proc "$@"';
    const follow = workspace.start(kind, words, { shell });
    await follow.stderr.until((text) => text.includes("\n"));
    const children = await readFile(`/proc/${follow.pid}/task/${follow.pid}/children`, "utf8");
    process.kill(Number(children), "SIGTERM");
    assertEquals((await follow.exit()).code, 143);
  });
}
