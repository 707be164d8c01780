/** What docs/operation.md tells an operator to do, done. */
import { cp, readFile, rename } from "node:fs/promises";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { eitherRuntime, own as kind, quickest, Workspace } from "../../helpers/cli.ts";
import { uploaded } from "../../helpers/seen.ts";

const test = eitherRuntime();

const manual = await readFile(new URL("../../../docs/operation.md", import.meta.url), "utf8");

/** The words behind a beginning of a line of the manual. */
function commandOf(beginning: string): string[] {
  const line = manual.split("\n").find((line) => line.startsWith(beginning));
  assert(line !== undefined, beginning);
  return line.slice(beginning.length).trim().split(" ");
}

test(`the recipe for Docker makes a token and starts a server that knows it, with ${kind}`, async () => {
  await using workspace = await Workspace.open();
  const here = (words: string[]) => words.map((word) => word.replace("/data", workspace.path("")));
  const create = here(commandOf("docker run --rm -v stream:/data stream "));
  const { code, stdout, stderr } = await workspace.run(kind, create);
  assertEquals([code, stderr], [0, ""]);
  const [, command] = /^CMD (\[.*\])$/m.exec(manual)!;
  const [name, ...args] = here(JSON.parse(command));
  assertEquals(name, "serve");
  const server = workspace.start(kind, [name, ...args, "--port", "0"]);
  const line = await server.stdout.until((text) => text.includes("\n"));
  const [address] = /http:[^"\s]+/.exec(line)!;
  const status = async (token: string) => {
    const url = `${address.replace("0.0.0.0", "127.0.0.1")}/resources`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    await answer.body?.cancel();
    return answer.status;
  };
  assertEquals(await status(stdout.trim()), 200);
  assertEquals(await status("another"), 401);
});

test(`a copy of a stopped server's directory is whole, and uploads go on beside it, with ${kind}`, async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(kind);
  const finished = await uploaded(workspace, "finished\n");
  const { push, reference } = await workspace.push(quickest, ["-", "--name", "b"]);
  await push.write("before\n");
  const follow = workspace.start(quickest, ["follow", reference]);
  await follow.stdout.until((text) => text.includes("before\n"));

  await server.kill("SIGTERM");
  await cp(workspace.path("data"), workspace.path("copy"), { recursive: true });
  const port = new URL(workspace.server).port;
  await workspace.serve(kind, ["--port", port]);
  await push.write("after\n");
  push.end();
  assertEquals((await push.exit()).code, 0);
  const followed = await follow.exit();
  assertEquals([followed.code, followed.stdout], [0, "before\nafter\n"]);

  await rename(workspace.path("data"), workspace.path("lost"));
  await rename(workspace.path("copy"), workspace.path("data"));
  await workspace.serve(kind, ["--resume-window", "1ms"]);
  const id = (text: string) => text.split("/").at(-1)!;
  const restored = await workspace.run(quickest, ["follow", id(finished)]);
  assertEquals([restored.code, restored.stdout], [0, "finished\n"]);
  const broken = await workspace.run(quickest, ["follow", id(reference)]);
  assertEquals([broken.code, broken.stdout], [3, "before\n"]);
  const { code, stdout } = await workspace.run(kind, ["check", "--data", "data"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, " 0 problems");
});

test("a link reads the events of its resource, where a browser can send no token", async () => {
  await using workspace = await Workspace.open();
  const create = ["token", "create", "--auth", "tokens", "--scope", "upload,read"];
  const token = (await workspace.run(quickest, create)).stdout.trim();
  await workspace.serve(kind, ["--auth", workspace.path("tokens")]);
  const env = { STREAM_TOKEN: token };
  const push = workspace.start(quickest, ["push", "-", "--name", "a"], { env });
  push.write("line\n");
  push.end();
  const reference = (await push.exit()).stdout.split("\n")[0];
  const link = (await workspace.run(kind, ["share", reference], { env })).stdout.trim();
  const answer = await fetch(link.replace("/content?", "/events?"));
  assertEquals([answer.status, answer.headers.get("content-type")], [200, "text/event-stream"]);
  assertStringIncludes(await answer.text(), `"transferStatus":"COMPLETED"`);
});
