/** `--json`, by the real program: an object a line, which says what the text says. */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { assertEquals, assertMatch } from "@std/assert";
import { inTurn, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { uploaded } from "../helpers/seen.ts";

function objects(text: string): Record<string, unknown>[] {
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: rm --json and close --json tell what became of each`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    await uploaded(workspace, "one\n", { contextId: "c" });
    const { push, reference } = await workspace.push(quickest, ["-", "--context", "c"]);
    const id = reference.split("/").at(-1);
    const all = await workspace.run(kind, ["rm", "--context", "c", "--json"]);
    assertEquals(all.code, 1);
    const told = objects(all.stdout).sort((a, b) =>
      String(a.filename).localeCompare(`${b.filename}`)
    );
    assertEquals(told.map(({ filename, deleted, code }) => [filename, deleted, code]), [
      ["a.log", true, undefined],
      ["stdin.log", false, "WRONG_STATE"],
    ]);
    assertEquals(told[1].reference, id);
    push.end();
    assertEquals((await push.exit()).code, 0);
    const one = await workspace.run(kind, ["rm", reference, "--json"]);
    assertEquals([one.code, objects(one.stdout)], [0, [{ reference, deleted: true }]]);
    const gone = await workspace.run(kind, ["rm", reference, "--json"]);
    assertEquals([gone.code, objects(gone.stdout)[0].code], [1, "NOT_FOUND"]);
    const closed = await workspace.run(kind, ["close", "c", "--json"]);
    assertEquals(objects(closed.stdout), [{ contextId: "c", closed: true }]);
  });

  test(`${kind}: adopt --json and check --json tell each resource and problem, and the sum`, async () => {
    await using workspace = await Workspace.open();
    const id = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";
    const hash = createHash("md5").update(id).digest("hex");
    const folder = `java/${hash.slice(0, 2)}/${hash.slice(2, 4)}`;
    await mkdir(workspace.path(folder), { recursive: true });
    await writeFile(workspace.path(`${folder}/${id}.bin`), "one\n");
    await writeFile(workspace.path("java/strange"), "");
    const adopted = await workspace.run(kind, ["adopt", "java", "--text", "--json"]);
    assertEquals(adopted.code, 1);
    const [first, second, sum] = objects(adopted.stdout).sort((a, b) =>
      Number("id" in b) - Number("id" in a) || Number("path" in b) - Number("path" in a)
    );
    assertEquals([first.id, first.filename, first.size, first.lines], [id, `${id}.log`, 4, 1]);
    assertMatch(String(second.path), /strange$/);
    assertEquals([sum.adopted, sum.leftAlone, sum.indexesBuilt], [1, 1, 1]);
    await writeFile(workspace.path(`${folder}/${id}.bin`), "on");
    const checked = await workspace.run(kind, ["check", "--data", "java", "--json"]);
    assertEquals(checked.code, 1);
    const told = objects(checked.stdout);
    assertEquals([told[0].id, told[0].remedy], [id, null]);
    assertEquals(told.at(-1), { checked: 1, problems: told.length - 1, unknown: 0 });
  });

  test(`${kind}: follow --json tells each line while it comes, and of several whose it is`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { push, reference } = await workspace.push(quickest, ["-", "--context", "c"]);
    const follow = workspace.start(kind, ["follow", reference, "--json", "--timestamps"]);
    await push.write("one\n\x1b[31mtwo\r\n");
    await follow.stdout.until((text) => text.split("\n").length === 3);
    await push.write("three");
    push.end();
    const { code, stdout } = await follow.exit();
    assertEquals(code, 0);
    const lines = objects(stdout);
    for (const { time } of lines) assertMatch(String(time), /^\d{4}-.*Z$/);
    assertEquals(lines.map(({ line, text }) => [line, text]), [
      [0, "one"],
      [1, "\x1b[31mtwo"],
      [2, "three"],
    ]);
    const last = await workspace.run(kind, ["follow", reference, "--json", "--tail", "1"]);
    assertEquals(objects(last.stdout), [{ line: 2, text: "three" }]);
    await workspace.run(quickest, ["close", "c"]);
    const all = await workspace.run(kind, ["follow", "--context", "c", "--json", "--grep", "on"]);
    const id = reference.split("/").at(-1);
    assertEquals(objects(all.stdout), [{ id, filename: "stdin.log", line: 0, text: "one" }]);
    const wrong = await workspace.run(kind, ["follow", reference, "--json", "--from", "1"]);
    assertEquals(wrong.code, 2);
  });

  test(`${kind}: config --json is what is set, and where`, async () => {
    await using workspace = await Workspace.open();
    await writeFile(workspace.path("s.toml"), "[serve]\nport = 99\n");
    const env = { STREAM_SERVER: "http://a", STREAM_CONFIG: "" };
    const args = ["config", "serve", "--config", "s.toml", "--json"];
    const { code, stdout } = await workspace.run(kind, args, { env });
    assertEquals(code, 0);
    const source = "s.toml: [serve] port";
    assertEquals(objects(stdout), [
      { file: "s.toml", commands: { serve: { port: { value: "99", source } } } },
    ]);
    const all = objects((await workspace.run(kind, ["config", "--json"], { env })).stdout)[0];
    const { push } = all.commands as Record<string, Record<string, unknown>>;
    assertEquals(push.server, { value: "http://a", source: "STREAM_SERVER" });
  });

  test(`${kind}: run --json tells on stderr what begins, and how it ended, with a server and without`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const words = ["--context", "c", "--name", "a.log", "--", "sh", "-c", "echo one; exit 3"];
    const well = await workspace.run(kind, ["run", "--json", ...words]);
    assertEquals([well.code, well.stdout], [3, "one\n"]);
    const [begun, viewable, ended, ...more] = objects(well.stderr);
    assertEquals(more, []);
    assertEquals([viewable.event, viewable.reference], ["viewable", begun.reference]);
    assertMatch(String(viewable.view), /\/view\//);
    assertEquals([begun.event, begun.filename, begun.contextId], ["begun", "a.log", "c"]);
    assertEquals([ended.event, ended.reference], ["ended", begun.reference]);
    assertEquals([ended.exitCode, ended.signal, ended.failure], [3, null, null]);
    assertEquals([ended.size, ended.numberOfLines], [4, 1]);
    const env = { STREAM_SERVER: "http://127.0.0.1:2" };
    const lost = await workspace.run(kind, ["run", "--json", ...words], { env });
    assertEquals([lost.code, lost.stdout], [3, "one\n"]);
    const last = objects(lost.stderr).at(-1)!;
    assertEquals([last.event, last.reference, last.exitCode], ["ended", null, 3]);
    assertEquals((last.failure as { code: string }).code, "ABORTED");
    assertEquals((await workspace.run(kind, ["run", "--json", "-q", "--", "true"])).code, 2);
    const strict = ["run", "--json", "--no-best-effort", "--retry-for", "0s", "--", "true"];
    const refused = await workspace.run(kind, strict, { env });
    assertEquals([refused.code, objects(refused.stderr).map(({ event }) => event)], [4, ["ended"]]);
    const none = await workspace.run(kind, ["run", "--json", "--", "no-such-command"]);
    assertEquals([none.code, objects(none.stderr).map(({ event }) => event)], [127, ["notice"]]);
    // Whatever the command prints, with this only ours stands on stderr (docs/ci.md).
    const shell = ["sh", "-c", 'exec "$@" 2>&1', "sh", "sh", "-c", "echo one; echo two >&2"];
    const apart = await workspace.run(kind, ["run", "--json", "--", ...shell]);
    assertEquals(apart.stdout, "one\ntwo\n");
    assertEquals(objects(apart.stderr).map(({ event }) => event), ["begun", "viewable", "ended"]);
  });
}
