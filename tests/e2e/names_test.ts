/** Files whose names are not UTF-8, by the real program. */
import { test } from "node:test";
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { assertEquals, assertMatch } from "@std/assert";
import { kinds, quickest, Workspace } from "../helpers/cli.ts";
import { known } from "../helpers/seen.ts";

for (const kind of kinds) {
  test(`${kind}: a file whose name is not UTF-8 is pushed, and followed while it grows`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const names = ["'caf\\351.log'", '"$PWD/caf\\351 \'%s\\\\\\\\n.log"'];
    for (const name of names) {
      const set = `name=$(printf ${name.replace("%s", "%%s")});`;
      const shell = (command: string) =>
        execFileSync("sh", ["-c", `${set} ${command}`], { cwd: workspace.path(".") });
      shell('echo first > "$name"');
      const temporary = workspace.path(`tmp${names.indexOf(name)}`);
      execFileSync("mkdir", [temporary]);
      const push = workspace.start(kind, ["push"], {
        shell: `${set} exec "$@" "$name" --follow`,
        env: { TMPDIR: temporary },
      });
      const reference = (await push.stdout.until((text) => text.includes("\n"))).trim();
      const follow = workspace.start(quickest, ["follow", reference]);
      await follow.stdout.until((text) => text === "first\n");
      shell('echo second >> "$name"');
      await follow.stdout.until((text) => text === "first\nsecond\n");
      push.signal("SIGTERM");
      assertEquals((await push.exit()).code, 0);
      assertMatch(String((await known(workspace, reference)).filename), /^caf\ufffd.*\.log$/);
      assertEquals(await readdir(temporary), []);
    }
  });
}
