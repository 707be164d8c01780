/** Completions in the shells themselves, which ask the real program. */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { assertEquals, assertMatch } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { uploaded } from "../helpers/seen.ts";

/** Words that print what a shell offers behind `stream status` and a beginning; `completions` is there. */
const SHELLS: Record<string, (beginning: string) => string[]> = {
  bash: (beginning) => [
    "bash",
    "-c",
    'source completions; COMP_WORDS=(stream status "$1"); COMP_CWORD=2; _stream; printf "%s\\n" "${COMPREPLY[@]}"',
    "bash",
    beginning,
  ],
  // What is typed is known to zsh as PREFIX, and compadd is what takes the offers.
  zsh: (beginning) => [
    "zsh",
    "-fc",
    'compdef() {}; compadd() { print -rl -- "${(@P)@[-1]}" }; source ./completions; PREFIX=$1; _stream_references',
    "zsh",
    beginning,
  ],
  fish: (beginning) => [
    "fish",
    "--no-config",
    "-c",
    'source completions; complete -C "stream status $argv[1]"',
    beginning,
  ],
};

for (const kind of kinds) {
  const test = inTurn(kind);
  for (const [shell, words] of Object.entries(SHELLS)) {
    test(`${kind}: ${shell} offers ids, contexts, and what is in a context`, async () => {
      await using workspace = await Workspace.open();
      await workspace.serve(quickest);
      for (const name of ["a.log", "b.log"]) {
        await uploaded(workspace, "", { name, contextId: "zone/17" });
      }
      const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
      await uploaded(workspace, "", { id });
      const { stdout } = await workspace.run(quickest, ["completions", shell]);
      await writeFile(workspace.path("completions"), stdout);
      const path = `${await workspace.install(kind)}:${process.env.PATH}`;
      const offered = (beginning: string) => {
        const [program, ...args] = words(beginning);
        const output = execFileSync(program, args, {
          cwd: workspace.path("."),
          env: {
            ...process.env,
            PATH: path,
            HOME: workspace.path("."),
            STREAM_SERVER: workspace.server,
          },
          encoding: "utf8",
        });
        return output.split("\n").filter((line) => line !== "").sort();
      };
      assertEquals(offered("0e9b"), [id]);
      assertEquals(offered("zo"), ["zone/17/"]);
      assertEquals(offered("zone/17/a"), ["zone/17/a.log"]);
      assertEquals(offered("zone/17/"), ["zone/17/", "zone/17/a.log", "zone/17/b.log"]);
    });
  }

  test(`${kind}: zsh offers commands at once where it finds the completions in its fpath`, async () => {
    await using workspace = await Workspace.open();
    const { stdout } = await workspace.run(kind, ["completions", "zsh"]);
    await writeFile(workspace.path("_stream"), stdout);
    const script =
      'compdef() {}; _describe() { print -rl -- "${(@P)2}" }; fpath=(.); autoload -U _stream; CURRENT=2; _stream';
    const offered = execFileSync("zsh", ["-fc", script], {
      cwd: workspace.path("."),
      encoding: "utf8",
    });
    assertMatch(offered, /^push:/m);
  });
}
