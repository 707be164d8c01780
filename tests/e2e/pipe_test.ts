/** Pushes from standard input, by the real program: what it is, and where it waits. */
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { type Kind, own, Workspace } from "../helpers/cli.ts";
import { assertBytes } from "../helpers/frames/connection.ts";

const KINDS: Kind[] = own === "deno" ? ["deno"] : ["bun", "binary"];
const MIB = 1024 * 1024;

/** Bytes of which no two MiB are the same. */
function manyBytes(byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let at = 0; at < byteCount; at += 1024) {
    bytes.fill((at >> 10) * 7 + (at >> 18), at, at + 1024);
  }
  return bytes;
}

for (const kind of KINDS) {
  for (
    const [where, shell, env, reason] of [
      ["has no room", 'trap "" XFSZ; ulimit -f 8192; exec "$@"', {}, /takes no more: /],
      ["is missing", undefined, { TMPDIR: "/no/such/place" }, /no temporary file can be made in /],
    ] as const
  ) {
    test(`${kind}: a pipe has to wait when the place for its spool ${where}, and all of it arrives`, async () => {
      await using workspace = await Workspace.open();
      const server = await workspace.serve(kind);
      const push = workspace.start(kind, ["push", "-"], { shell, env });
      const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
      const { port } = new URL(workspace.server);
      await server.kill("SIGKILL");
      const bytes = manyBytes(32 * MIB);
      const written = push.write(bytes);
      push.end();
      await push.stderr.until((text) => text.includes("has to wait earlier"));
      await workspace.serve(kind, ["--port", port]);
      await written;
      const { code, stderr } = await push.exit(30_000);
      assertEquals(code, 0, stderr);
      const warnings = stderr.split("\n").filter((line) => line.includes("has to wait"));
      assertEquals(warnings.length, 1);
      assertMatch(warnings[0], reason);
      const follow = workspace.start(kind, ["follow", reference]);
      await follow.exit(30_000);
      assertBytes(follow.stdout.bytes, bytes);
    });
  }

  test(`${kind}: a pipe needs no place for a spool while it can be sent`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    const env = { TMPDIR: "/no/such/place" };
    const push = workspace.start(kind, ["push", "-"], { env });
    const bytes = manyBytes(32 * MIB);
    await push.write(bytes);
    push.end();
    assertEquals((await push.exit(30_000)).code, 0);
  });

  test(`${kind}: a standard input that cannot be read is no empty upload`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    for (const [input, reason] of [["<&-", /it is closed/], ["</", /it is a directory/]] as const) {
      const shell = `exec "$@" ${input}`;
      const { code, stdout, stderr } = await workspace.run(kind, ["push", "-"], { shell });
      assertEquals([code, stdout], [1, ""]);
      assertMatch(stderr, reason);
    }
    assertEquals((await workspace.run(kind, ["ls"])).stdout, "");
  });

  test(`${kind}: a file as standard input is pushed from where the shell left it`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(kind);
    await writeFile(workspace.path("a.log"), "first\nsecond\nthird\n");
    const shell = '(read -r line; exec "$@") < a.log';
    const { code, stdout } = await workspace.run(kind, ["push", "-"], { shell });
    assertEquals(code, 0);
    assertEquals((await workspace.run(kind, ["follow", stdout.trim()])).stdout, "second\nthird\n");
  });
}
