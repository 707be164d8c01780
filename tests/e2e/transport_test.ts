/** `--transport` of push and follow, by the real program. */
import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { eitherRuntime, own, pairs, quickest, Workspace } from "../helpers/cli.ts";
import { UpgradeProxy } from "../helpers/frames/upgrade_proxy.ts";

const either = eitherRuntime();

for (const { server, client } of pairs) {
  test(`by HTTP a pipe is followed while it is pushed: server on ${server}, client on ${client}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(server);
    const args = ["-", "--name", "a.log", "--transport", "http"];
    const { push, reference } = await workspace.push(client, args);
    const follow = workspace.start(client, ["follow", reference, "--transport", "http"]);
    let expected = "";
    for (const line of ["one\n", "two\n", "three\n"]) {
      await push.write(line);
      expected += line;
      await follow.stdout.until((text) => text === expected);
    }
    push.end();
    assertEquals((await push.exit()).code, 0);
    const { code, stderr } = await follow.exit();
    assertEquals([code, stderr], [0, ""]);
    const tail = ["follow", reference, "--tail", "2", "--transport", "http"];
    assertEquals((await workspace.run(client, tail)).stdout, "two\nthree\n");
    const lines = ["follow", reference, "--lines", "1:1", "--transport", "http"];
    assertEquals((await workspace.run(client, lines)).stdout, "two\n");
  });

  test(`by HTTP random bytes arrive unchanged: server on ${server}, client on ${client}`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(server);
    const bytes = randomBytes(9_000_003); // More than a window.
    await writeFile(workspace.path("random.bin"), bytes);
    const { push, reference } = await workspace.push(client, ["random.bin", "--transport", "http"]);
    const follow = ["follow", reference, "-o", "copy.bin", "--transport", "http"];
    assertEquals((await workspace.run(client, follow)).code, 0);
    assertEquals((await push.exit()).code, 0);
    const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
    assertEquals(sha256(await readFile(workspace.path("copy.bin"))), sha256(bytes));
  });
}

either("a proxy that refuses upgrades is said once, and everything else is as ever", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  await using proxy = await UpgradeProxy.open(workspace.server, "426");
  await writeFile(workspace.path("a.txt"), "one\ntwo\n");
  const { code, stdout, stderr } = await workspace.run(own, [
    "push",
    "a.txt",
    "--server",
    proxy.url,
  ]);
  assertEquals(code, 0, stderr);
  const said =
    `stream: the server at ${proxy.url} refused the WebSocket connection; going on by HTTP\n`;
  assertEquals(stderr, said);
  const reference = stdout.trim();
  const followed = await workspace.run(own, ["follow", reference]);
  assertEquals([followed.code, followed.stdout], [0, "one\ntwo\n"]);
  const refused = await workspace.run(own, ["follow", reference, "--transport", "ws"]);
  assertEquals([refused.code, refused.stdout], [4, ""]);
});

either("a transport that is none is told before anything is done", async () => {
  await using workspace = await Workspace.open();
  for (const command of ["push", "follow"]) {
    const { code, stderr } = await workspace.run(quickest, [
      command,
      "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11",
      "--transport",
      "carrier",
    ]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "--transport carrier: that is none of auto, ws, http");
  }
});
