/** A server whose catalog was lost says so when it starts, and nobody believes that there never was anything. */
import { rm } from "node:fs/promises";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inTurn, type Kind, kinds, Workspace } from "../helpers/cli.ts";

const SAYS = "records are missing";

async function pushText(workspace: Workspace, kind: Kind, text: string): Promise<string> {
  const push = workspace.start(kind, ["push", "-", "--name", "a.log"]);
  await push.write(text);
  push.end();
  const { code, stdout, stderr } = await push.exit();
  assertEquals(code, 0, stderr);
  return stdout.split("\n")[0];
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: a server whose catalog is gone says how many files nobody can read, and what to do`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(kind);
    await pushText(workspace, kind, "one\n");
    const reference = await pushText(workspace, kind, "two\n");
    await server.kill("SIGTERM");
    for (const end of ["", "-wal", "-shm"]) {
      await rm(workspace.path(`data/catalog.sqlite${end}`), { force: true });
    }
    const again = await workspace.serve(kind);
    const said = await again.stderr.until((text) => text.includes(SAYS));
    assertMatch(said, /the catalog is empty, and 2 data files have no record/);
    assertMatch(said, /stream check --rebuild --data data/);
    const check = await workspace.run(kind, ["check", "--data", "data"]);
    assertEquals(check.code, 1);
    assertMatch(check.stdout, /0 resources checked, 2 problems/);
    await again.kill("SIGTERM");
    const rebuilt = await workspace.run(kind, ["check", "--data", "data", "--rebuild"]);
    assertMatch(rebuilt.stdout, /2 resources checked, 2 problems/);
    const last = await workspace.serve(kind);
    const id = reference.split("/").at(-1)!;
    const content = await fetch(`${workspace.server}/resources/${id}/content?x`, {
      headers: { range: "bytes=0-3" },
    });
    assertEquals([content.status, await content.text()], [206, "two\n"]);
    assertEquals(content.headers.get("stream-transfer-status"), "FAILED");
    assertEquals(last.stderr.text.includes(SAYS), false);
  });

  test(`${kind}: a server that was killed and lost the newest updates of its catalog says so, and no other`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(kind);
    await pushText(workspace, kind, "one\n");
    await server.kill("SIGTERM");
    const killed = await workspace.serve(kind);
    await pushText(workspace, kind, "two\n");
    await killed.kill("SIGKILL");
    const whole = await workspace.serve(kind);
    assertEquals(whole.stderr.text.includes(SAYS), false);
    await pushText(workspace, kind, "three\n");
    await whole.kill("SIGKILL");
    await rm(workspace.path("data/catalog.sqlite-wal"));
    const again = await workspace.serve(kind);
    const said = await again.stderr.until((text) => text.includes(SAYS));
    assertStringIncludes(said, "the catalog lost its newest updates");
    assertMatch(said, /and \d data files have no record/);
  });
}
