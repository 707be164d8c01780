/** The shell parts of examples/, run as a CI would run them, with the real program and a build that fails. */
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inTurn, type Kind, kinds, quickest, Workspace } from "../../helpers/cli.ts";

/** The blocks of text behind a key or a dash (`run: |`, `- |`), by the line before. */
async function blocksOf(example: string): Promise<{ before: string; text: string }[]> {
  const path = fileURLToPath(new URL(`../../../examples/${example}`, import.meta.url));
  const lines = (await readFile(path, "utf8")).split("\n");
  const blocks: { before: string; text: string }[] = [];
  for (const [at, line] of lines.entries()) {
    const indent = /^( *)(?:run: |- )\|$/.exec(line)?.[1].length;
    if (indent === undefined) continue;
    const end = lines.findIndex((next, index) =>
      index > at && next.trim() !== "" && next.search(/\S/) <= indent
    );
    const text = lines.slice(at + 1, end < 0 ? undefined : end).join("\n");
    blocks.push({ before: lines[at - 1].trim(), text });
  }
  return blocks;
}

/** A machine of a CI: `stream` and a `make` that fails are on its PATH. */
async function machine(kind: Kind) {
  const workspace = await Workspace.open();
  await workspace.serve(quickest);
  const bin = await workspace.install(kind);
  const script = "#!/bin/sh\necho compiling\necho 'a.c:3: error: no semicolon'\nexit 2\n";
  await writeFile(`${bin}/make`, script, { mode: 0o755 });
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env.PATH}`,
    STREAM_SERVER: workspace.server,
    XDG_CONFIG_HOME: workspace.path("."),
    XDG_STATE_HOME: workspace.path("."),
    LOG_CONTEXT: "ci-17",
    GITHUB_STEP_SUMMARY: workspace.path("summary.md"),
    CI_JOB_STATUS: "failed",
  };
  return {
    workspace,
    shell(words: string[], text: string) {
      const [shell, ...options] = words;
      const { status, stdout } = spawnSync(shell, [...options, text], {
        cwd: workspace.path("."),
        env,
        encoding: "utf8",
      });
      return { code: status, stdout };
    },
    [Symbol.asyncDispose]: () => workspace[Symbol.asyncDispose](),
  };
}

/** The log of the build, as everybody sees it. */
async function buildLog(workspace: Workspace): Promise<Record<string, unknown>> {
  const { stdout } = await workspace.run(quickest, ["status", "ci-17/build.log", "--json"]);
  return JSON.parse(stdout);
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: the steps for GitHub Actions link, build, annotate and close`, async () => {
    await using at = await machine(kind);
    const results = new Map<string, { code: number | null; stdout: string }>();
    // As GitHub does: bash, each line has to succeed; what follows a failure runs where it says so.
    for (const { before, text } of await blocksOf("github-actions.yml")) {
      results.set(`${results.size} ${before}`, at.shell(["bash", "-eo", "pipefail", "-c"], text));
    }
    const [link, build, check, failed, closed] = [...results.values()];
    assertEquals([link.code, build.code, check.code, closed.code], [0, 2, 2, 0]);
    assertEquals(build.stdout, "compiling\na.c:3: error: no semicolon\n");
    assertStringIncludes(failed.stdout, "::error title=build.log::a.c:3: error: no semicolon\n");
    const summary = await readFile(at.workspace.path("summary.md"), "utf8");
    const [, url] = /\((\S+)\)/.exec(summary)!;
    const page = await fetch(url);
    assertEquals(page.status, 200);
    assertMatch(page.headers.get("content-type") ?? "", /^text\/html/);
    await page.body?.cancel();
    const { transferStatus, outcome } = await buildLog(at.workspace);
    assertEquals([transferStatus, outcome], ["COMPLETED", { exitCode: 2, signal: null }]);
    const contexts = await at.workspace.run(quickest, ["ls", "--contexts"]);
    assertMatch(contexts.stdout, /ci-17 {2}closed/);
  });

  test(`${kind}: the job for GitLab links, builds and shows what failed`, async () => {
    await using at = await machine(kind);
    const blocks = await blocksOf("gitlab-ci.yml");
    const [link, build, after] = blocks.map(({ text }) => at.shell(["sh", "-e", "-c"], text));
    assertEquals([link.code, build.code, after.code], [0, 2, 0]);
    assertStringIncludes(after.stdout, "2:a.c:3: error: no semicolon\n");
    const annotations = JSON.parse(await readFile(at.workspace.path("annotations.json"), "utf8"));
    const { url } = annotations.logs[0].external_link;
    assertEquals(url, `${at.workspace.server}/view?context=ci-17`);
    assertEquals((await buildLog(at.workspace)).transferStatus, "COMPLETED");
  });
}
