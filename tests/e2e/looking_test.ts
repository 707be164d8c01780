/** Finding and looking: names, lists, searches, waits and deletions of several, by the real program. */
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inTurn, type Kind, kinds, quickest, Workspace } from "../helpers/cli.ts";
import { content, listed, uploaded } from "../helpers/seen.ts";

const LOG = [
  ...["first", "second", "an error", "fourth", "fifth", "sixth", "ERROR é", "last"],
].map((line) => `${line}\n`).join("");

/** A server with one log in the context `ci/17`; runs the program there. */
async function withLog(kind: Kind) {
  const workspace = await Workspace.open();
  await workspace.serveBeside();
  return await logAt(workspace, kind);
}

async function logAt(workspace: Workspace, kind: Kind) {
  const reference = await uploaded(workspace, LOG, { name: "build.log", contextId: "ci/17" });
  await writeFile(workspace.path("build.log"), LOG);
  return {
    workspace,
    id: reference.split("/").at(-1)!,
    run: (...args: string[]) => workspace.run(kind, args),
    /** What one table decides on every runtime. */
    quickly: (...args: string[]) => workspace.run(quickest, args),
    lines: async (...args: string[]) =>
      (await workspace.run(kind, args)).stdout.split("\n").slice(0, -1),
    [Symbol.asyncDispose]: () => workspace[Symbol.asyncDispose](),
  };
}

for (const kind of kinds) {
  const test = inTurn(kind);

  test(`${kind}: a name is found whether its letters are composed or not`, async () => {
    await using at = await withLog(kind);
    const [composed, apart] = ["\u00dcbung.log", "U\u0308bung.log"];
    for (const [name, typed] of [[composed, apart], [apart, composed]]) {
      await uploaded(at.workspace, LOG, { name, contextId: name });
      assertEquals((await at.run("follow", `${name}/${typed}`)).stdout, LOG);
    }
  });

  test(`${kind}: what is named by a context is waited for, followed and fetched from a server that starts later`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    await logAt(workspace, kind);
    const { port } = new URL(workspace.server);
    await server.kill("SIGTERM");
    const commands = [
      ...[["wait", "--context", "ci/17"], ["follow", "ci/17/build.log"]],
      ...[["get", "--context", "ci/17", "-o", "copy"], ["get", "ci/17/build.log", "-o", "other"]],
    ].map((words) => workspace.start(kind, [...words, "--retry-for", "20s"]));
    for (const { stderr } of commands) {
      await stderr.until((text) => text.includes("trying again in"));
    }
    await workspace.serve(quickest, ["--port", port]);
    const ends = await Promise.all(commands.map((command) => command.exit()));
    assertEquals(ends.map(({ code }) => code), [0, 0, 0, 0]);
    assertEquals(ends[1].stdout, LOG);
    for (const directory of ["copy", "other"]) {
      assertEquals(await readFile(workspace.path(`${directory}/build.log`), "utf8"), LOG);
    }
  });

  test(`${kind}: a resource is found by its context and name wherever a reference is taken`, async () => {
    await using at = await withLog(kind);
    assertEquals((await at.run("follow", "ci/17/build.log")).stdout, LOG);
    assertEquals(
      JSON.parse((await at.run("status", "ci/17/build.log", "--json")).stdout).id,
      at.id,
    );
    assertEquals((await at.run("wait", "ci/17/build.log")).code, 0);
    const missing = await at.run("status", "ci/17/other.log");
    assertEquals(missing.code, 1);
    assertStringIncludes(missing.stderr, "no resource is called ci/17/other.log (NOT_FOUND)");
    await uploaded(at.workspace, LOG, { name: "build.log", contextId: "ci/17" });
    const two = await at.run("follow", "ci/17/build.log");
    assertEquals([two.code, two.stdout], [1, ""]);
    assertMatch(
      two.stderr,
      /several resources are called ci\/17\/build\.log: .*; give an id \(CONFLICT\)/,
    );
    assertStringIncludes(two.stderr, at.id);
  });

  test(`${kind}: the beginning of an id is enough where only one begins so`, async () => {
    await using at = await withLog(kind);
    assertEquals((await at.run("follow", at.id.slice(0, 8))).stdout, LOG);
    assertEquals((await at.quickly("follow", at.id.slice(0, 4))).stdout, LOG);
    const twin = `${at.id.slice(0, 8)}-0000-4000-8000-000000000000`;
    await fetch(`${at.workspace.server}/resources/${twin}?name=twin`, { method: "PUT", body: "x" });
    const { code, stderr } = await at.run("follow", at.id.slice(0, 8));
    assertEquals(code, 1);
    assertStringIncludes(stderr, `${twin} twin`);
    assertEquals((await at.quickly("follow", at.id.slice(0, 20))).stdout, LOG);
    assertEquals((await at.quickly("status", "00000000")).code, 1);
  });

  test(`${kind}: a resource can have an id that was known before, which none else gets`, async () => {
    await using at = await withLog(kind);
    for (const [transport, id] of [["ws", crypto.randomUUID()], ["http", crypto.randomUUID()]]) {
      const push = ["push", "build.log", "--transport", transport, "--id"];
      assertMatch((await at.run(...push, id.toUpperCase())).stdout, new RegExp(`${id}\n$`));
      const again = await at.quickly(...push, id);
      assertEquals([again.code, again.stdout], [1, ""]);
      assertStringIncludes(again.stderr, "(CONFLICT)");
      assertEquals(await content(at.workspace, id), LOG);
    }
    const id = crypto.randomUUID();
    await at.run("run", "-q", "--id", id, "--", "echo", "one");
    assertEquals(await content(at.workspace, id), "one\n");
    const { code, stderr } = await at.quickly("push", "build.log", "--id", "my-id");
    assertEquals(code, 2);
    assertStringIncludes(stderr, "--id my-id: that is no UUID");
  });

  test(`${kind}: search prints lines as grep does, and ends with its exit codes`, async () => {
    await using at = await withLog(kind);
    const search = (...args: string[]) => at.run("search", at.id, ...args);
    const quickly = (...args: string[]) => at.quickly("search", at.id, ...args);
    assertEquals(await search("ERR(OR)?"), { code: 0, stdout: "ERROR é\n", stderr: "" });
    assertEquals((await search("error", "-i", "-n")).stdout, "3:an error\n7:ERROR é\n");
    assertEquals((await quickly("-i", "error", "-c")).stdout, "2\n");
    assertEquals((await quickly("error", "-i", "-m", "1")).stdout, "an error\n");
    assertEquals(
      (await search("error", "-i", "-n", "-C", "1")).stdout,
      "2-second\n3:an error\n4-fourth\n--\n6-sixth\n7:ERROR é\n8-last\n",
    );
    assertEquals(
      (await quickly("f", "-n", "-B", "1", "-A", "9")).stdout.split("\n").length,
      LOG.split("\n").length,
    );
    assertEquals(await search("nowhere"), { code: 1, stdout: "", stderr: "" });
    assertEquals(await quickly("er.or", "-F"), { code: 1, stdout: "", stderr: "" });
    assertEquals(await quickly("last", "-q"), { code: 0, stdout: "", stderr: "" });
    for (
      const [args, reason] of [[[at.id, "("], "expression"], [
        ["00000000", "a"],
        "00000000",
      ]] as const
    ) {
      const { code, stderr } = await at.quickly("search", ...args);
      assertEquals(code, 2);
      assertStringIncludes(stderr, reason);
    }
  });

  test(`${kind}: search --json prints an object a line; colours are for terminals and CLICOLOR_FORCE`, async () => {
    await using at = await withLog(kind);
    const [json] = await at.lines("search", at.id, "ROR", "--json");
    assertEquals(JSON.parse(json).text, "ERROR é");
    assertEquals(await at.lines("search", at.id, "ROR", "--json", "-c"), ['{"count":1}']);
    assertEquals((await at.quickly("search", at.id, "ROR", "--json", "-C", "1")).code, 2);
    const colours = async (env: Record<string, string>, ...args: string[]) =>
      (await at.workspace.run(kind, ["search", at.id, "R é", ...args], { env })).stdout;
    assertEquals(await colours({ CLICOLOR_FORCE: "1" }), "ERRO\x1b[31mR é\x1b[0m\n");
    assertEquals(await colours({ CLICOLOR_FORCE: "1" }, "--no-color"), "ERROR é\n");
    const terminal = async (env: Record<string, string>) =>
      (await at.workspace.terminal(kind, ["search", at.id, "R é"], { env }).exit()).stdout;
    assertEquals(await terminal({ NO_COLOR: "", TERM: "xterm" }), "ERRO\x1b[31mR é\x1b[0m\r\n");
    assertEquals(await terminal({ NO_COLOR: "1", TERM: "xterm" }), "ERROR é\r\n");
    assertEquals(await terminal({ NO_COLOR: "", TERM: "dumb" }), "ERROR é\r\n");
  });

  test(`${kind}: follow --no-color leaves out what colours a terminal`, async () => {
    await using at = await withLog(kind);
    await uploaded(at.workspace, "\x1b[31mred\x1b[0m\n", { name: "red.log", contextId: "c" });
    assertEquals((await at.run("follow", "c/red.log")).stdout, "\x1b[31mred\x1b[0m\n");
    assertEquals((await at.run("follow", "c/red.log", "--no-color")).stdout, "red\n");
    const several = await at.run("follow", "c/red.log", at.id, "--no-color", "--tail", "1");
    assertEquals(several.stdout.split("\n").sort(), ["", "build.log | last", "red.log   | red"]);
  });

  test(`${kind}: ls chooses by state, time and name, and sorts`, async () => {
    await using at = await withLog(kind);
    await uploaded(at.workspace, "x", { name: "a.bin" });
    const running = await at.workspace.push(quickest, ["-", "--name", "live"]);
    const namesIn = ({ stdout }: { stdout: string }) =>
      JSON.parse(stdout).map(({ filename }: { filename: string }) => filename);
    assertEquals(namesIn(await at.run("ls", "--json")), ["live", "a.bin", "build.log"]);
    const names = async (...args: string[]) => namesIn(await at.quickly("ls", "--json", ...args));
    assertEquals(await names("--sort", "name"), ["a.bin", "build.log", "live"]);
    assertEquals(await names("--sort", "size", "--limit", "2"), ["build.log", "a.bin"]);
    assertEquals(await names("--status", "completed"), ["a.bin", "build.log"]);
    assertEquals(await names("--status", "FAILED", "--status", "INITIATED"), ["live"]);
    assertEquals(await names("--name", "b"), ["a.bin", "build.log"]);
    assertEquals(await names("--since", "1h"), ["live", "a.bin", "build.log"]);
    assertEquals(await names("--since", "2100-01-01"), []);
    assertEquals(await at.lines("ls", "-q", "--context", "ci/17"), [at.id]);
    for (const args of [["--sort", "colour"], ["--status", "DONE"], ["--since", "soon"]]) {
      const { code, stderr } = await at.quickly("ls", ...args);
      assertEquals(code, 2);
      assertStringIncludes(stderr, args.join(" "));
    }
    running.push.end();
  });

  test(`${kind}: ls is a table with ages and sizes for people at a terminal`, async () => {
    await using at = await withLog(kind);
    const { stdout } = await at.workspace.terminal(kind, ["ls"], { env: { NO_COLOR: "1" } }).exit();
    const [header, row] = stdout.split("\r\n");
    assertMatch(header, /^ID +STATUS +SIZE +LINES +AGE +NAME$/);
    assertMatch(row, /^[0-9a-f-]{36} +COMPLETED +55 B +8 +\d+s +build\.log$/);
    assertEquals(row.indexOf("build.log"), header.indexOf("NAME"));
  });

  test(`${kind}: ls --watch prints a line for what is new and for what changed`, async () => {
    await using at = await withLog(kind);
    const watch = at.workspace.start(kind, ["ls", "--watch", "--json"]);
    const lines = (text: string) => text.trimEnd().split("\n").map((line) => JSON.parse(line));
    await watch.stdout.until((text) => text.endsWith("\n"));
    const { push } = await at.workspace.push(quickest, ["-", "--name", "live"]);
    await watch.stdout.until((text) => text.includes("INITIATED"));
    push.end();
    const seen = lines(await watch.stdout.until((text) => text.split("COMPLETED").length === 3));
    assertEquals(seen.map(({ filename, transferStatus }) => [filename, transferStatus]), [
      ["build.log", "COMPLETED"],
      ["live", "INITIATED"],
      ["live", "COMPLETED"],
    ]);
  });

  test(`${kind}: wait ends with the resource, with 3 for a FAILED one, with 124 when it is too late`, async () => {
    await using at = await withLog(kind);
    const { push, reference } = await at.workspace.push(quickest, ["-", "--name", "live"]);
    assertEquals((await at.run("wait", reference, "--timeout", "300ms")).code, 124);
    const waiting = at.workspace.start(kind, ["wait", at.id, reference, "--json"]);
    await waiting.stdout.until((text) => text.includes("build.log"));
    push.signal("SIGINT");
    const { code, stdout } = await waiting.exit();
    assertEquals(code, 3);
    const statuses = stdout.trimEnd().split("\n").map((line) => JSON.parse(line).transferStatus);
    assertEquals(statuses, ["COMPLETED", "FAILED"]);
    assertEquals((await at.quickly("wait", "00000000")).code, 1);
    assertEquals((await at.quickly("wait")).code, 2);
  });

  test(`${kind}: wait --context ends with the last of its resources`, async () => {
    await using at = await withLog(kind);
    const { push } = await at.workspace.push(quickest, [
      "-",
      "--context",
      "ci/17",
      "--name",
      "live",
    ]);
    const waiting = at.workspace.start(kind, ["wait", "--context", "ci/17"]);
    const next = await at.workspace.push(quickest, ["-", "--context", "ci/17", "--name", "next"]);
    push.end();
    await waiting.stdout.until((text) => text.includes("live"));
    next.push.end();
    const { code, stdout } = await waiting.exit();
    assertEquals([code, stdout.trimEnd().split("\n").length], [0, 3]);
    assertEquals((await at.quickly("wait", "--context", "nobody")).code, 1);
  });

  test(`${kind}: a context is closed, and is listed as such`, async () => {
    await using at = await withLog(kind);
    assertEquals((await at.lines("ls", "--contexts", "-q"))[0], "ci/17");
    const narrowed = await at.quickly("ls", "--contexts", "--status", "FAILED");
    assertEquals([narrowed.code, narrowed.stdout], [2, ""]);
    assertStringIncludes(narrowed.stderr, "--status chooses resources");
    assertEquals((await at.run("close", "ci/17")).code, 0);
    assertMatch((await at.lines("ls", "--contexts"))[0], /ci\/17 +closed \d{4}-/);
    const refused = await at.run("push", "build.log", "--context", "ci/17");
    assertEquals(refused.code, 5);
    assertEquals((await at.quickly("close", "nobody")).code, 1);
  });

  test(`${kind}: rm takes several, says which it could not delete, and goes on`, async () => {
    await using at = await withLog(kind);
    const { push, reference } = await at.workspace.push(quickest, ["-", "--context", "ci/17"]);
    const { code, stderr } = await at.run("rm", "00000000", reference, at.id);
    assertEquals(code, 1);
    assertMatch(stderr, /^stream: 00000000: .*\(NOT_FOUND\)\nstream: .*\(WRONG_STATE\)\n$/);
    assertEquals((await listed(at.workspace)).length, 1);
    push.end();
    await push.exit();
    assertEquals((await at.run("rm", "--context", "ci/17")).code, 0);
    assertEquals(await listed(at.workspace), []);
    assertEquals((await at.quickly("rm")).code, 2);
  });

  test(`${kind}: share --json tells the end of the link`, async () => {
    await using workspace = await Workspace.open();
    const created = await workspace.run(quickest, [
      ...["token", "create", "--auth", "tokens", "--scope", "upload,read,admin"],
    ]);
    await workspace.serve(quickest, ["--auth", "tokens"]);
    const env = { STREAM_TOKEN: created.stdout.trim() };
    await writeFile(workspace.path("a.log"), LOG);
    const pushed = await workspace.run(quickest, ["push", "a.log", "--context", "c"], { env });
    assertEquals(pushed.code, 0);
    const { stdout } = await workspace.run(kind, ["share", "c/a.log", "--json"], { env });
    const link = JSON.parse(stdout);
    assert(Date.parse(link.expiresAt) > Date.now());
    assertEquals(await (await fetch(link.url)).text(), LOG);
  });

  test(`${kind}: lines around many matches are those of grep, and are asked for together`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest, ["--access-log"]);
    const text = Array.from({ length: 3000 }, (_, line) => `line ${line + 1}\n`).join("");
    await writeFile(workspace.path("long.log"), text);
    await workspace.run(quickest, ["push", "long.log", "--context", "c"]);
    for (const options of [["-nC1", "3$"], ["-nB2", "1[05]0"], ["-nA1000", "2999|3000"]]) {
      const found = await workspace.run(kind, ["search", "c/long.log", ...options]);
      const grep = ["-E", ...options, workspace.path("long.log")];
      assertEquals(found.stdout, execFileSync("grep", grep, { encoding: "utf8" }));
    }
    const asked = server.stderr.text.match(/\/lines/g)?.length ?? 0;
    assert(0 < asked && asked < 100, `${asked} requests`);
  });
}
