/** Durations longer than the timers of the runtimes hold, by the real program. */
import { writeFile } from "node:fs/promises";
import { assertEquals, assertMatch } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../../helpers/cli.ts";
import { content } from "../../helpers/seen.ts";

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: an upload waits as long as --resume-window 30d says, after a restart, too`, async () => {
    await using workspace = await Workspace.open();
    const options = ["--resume-window", "30d", "--checkpoint-interval", "30d"];
    const server = await workspace.serve(kind, options);
    await writeFile(workspace.path("live.log"), "first\n");
    const { push, reference } = await workspace.push(kind, ["live.log", "--follow"]);
    const follow = workspace.start(quickest, ["follow", reference, "--retry-for", "1m"]);
    await follow.stdout.until((text) => text === "first\n");
    await push.kill("SIGKILL");
    const { port } = new URL(workspace.server);
    await server.kill("SIGTERM");
    await workspace.serve(kind, [...options, "--port", port]);
    const resume = await workspace.run(kind, ["push", "live.log", "--resume", reference]);
    assertEquals([resume.code, resume.stderr], [0, ""]);
    const { code, stdout } = await follow.exit();
    assertEquals([code, stdout], [0, "first\n"]);
  });

  test(`${kind}: wait --timeout 30d waits`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { push, reference } = await workspace.push(quickest, ["-"]);
    const wait = workspace.start(kind, ["wait", reference, "--timeout", "30d"]);
    await push.write("first\n");
    assertEquals(await content(workspace, reference, 6), "first\n");
    push.end();
    const { code, stdout, stderr } = await wait.exit();
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /COMPLETED/);
  });
}
