/** `stream serve`, by the real program: its options, its end, its sudden death and its data directory. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { eitherRuntime, own, type Program, quickest, Workspace } from "../../helpers/cli.ts";
import { known } from "../../helpers/seen.ts";
import { stepPort } from "../../helpers/step/transfer.ts";

const either = eitherRuntime();

const LINES = "first\nsecond\n";

/** A server with a push from a pipe whose first lines a follower has. */
async function streaming(workspace: Workspace, ...options: string[]) {
  const server = await workspace.serve(own);
  const { push, reference } = await workspace.push(own, ["-", ...options]);
  const follow = workspace.start(own, ["follow", reference, ...options]);
  push.write(LINES);
  await follow.stdout.until((text) => text === LINES);
  return { server, push, follow, reference };
}

/** What the next server on the same data has of a resource that was being uploaded. */
async function assertKept(workspace: Workspace, reference: string): Promise<void> {
  await workspace.serve(own, ["--resume-window", "0s"]);
  const status = await known(workspace, idOf(reference));
  const { transferStatus, currentSize, numberOfLines, failure } = status;
  assertEquals([transferStatus, currentSize, numberOfLines], ["FAILED", LINES.length, 2]);
  assertMatch(String(failure), /^(SHUTDOWN|INTERRUPTED): the server/);
  const { code, stdout } = await workspace.run(quickest, ["follow", idOf(reference)]);
  assertEquals([code, stdout], [3, LINES]);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  either(`${signal} ends a server in good order, and its clients hear of it`, async () => {
    await using workspace = await Workspace.open();
    const { server, push, follow, reference } = await streaming(workspace, "--retry-for", "0s");
    server.signal(signal);
    assertEquals((await server.exit()).code, 0);
    for (const client of [push, follow]) {
      const { code, stderr } = await client.exit();
      assertEquals(code, 4);
      assertMatch(stderr, /^stream: the server was shut down.*\n$/);
    }
    await assertKept(workspace, reference);
  });
}

either("clients of a killed server end with 4 where they must not try again", async () => {
  await using workspace = await Workspace.open();
  const { server, push, follow, reference } = await streaming(workspace, "--retry-for", "0s");
  await server.kill("SIGKILL");
  for (const client of [push, follow]) {
    const { code, stderr } = await client.exit();
    assertEquals(code, 4);
    assertMatch(stderr, /^stream: the connection to the server broke.*\n$/);
  }
  await assertKept(workspace, reference);
});

either("clients of a killed server go on where they were when it is there again", async () => {
  await using workspace = await Workspace.open();
  const { server, push, follow, reference } = await streaming(workspace);
  await server.kill("SIGKILL");
  push.write("while nobody listened\n");
  await push.stderr.until((text) => text.includes("trying again"));
  await workspace.serve(own, ["--port", new URL(workspace.server).port]);
  push.write("last");
  push.end();
  assertEquals((await push.exit()).code, 0);
  const { code, stdout } = await follow.exit();
  assertEquals([code, stdout], [0, `${LINES}while nobody listened\nlast`]);
  assertEquals((await known(workspace, reference)).transferStatus, "COMPLETED");
});

function idOf(reference: string): string {
  return reference.split("/").at(-1)!;
}

either("a second server on the same data is refused, and names the first", async () => {
  await using workspace = await Workspace.open();
  const first = await workspace.serve(own);
  const second = await workspace.run(own, ["serve", "--port", "0", "--data", "data"]);
  assertEquals([second.code, second.stdout], [1, ""]);
  assertMatch(second.stderr, new RegExp(`^stream: the data directory data .*\\b${first.pid}\\b`));
  first.signal("SIGTERM");
  assertEquals((await first.exit()).code, 0);
  await workspace.serve(own);
});

either("of many servers that start on the same data at once, one does", async () => {
  await using workspace = await Workspace.open();
  const servers = Array.from(
    { length: 6 },
    () => workspace.start(own, ["serve", "--port", "0", "--data", "data"]),
  );
  const started = await Promise.all(servers.map(listensOrEnds));
  assertEquals(started.filter((isListening) => isListening).length, 1);
});

async function listensOrEnds(server: Program): Promise<boolean> {
  const listening = server.stdout.until((text) => text.startsWith("listening on"));
  return await Promise.race([
    listening.then(() => true, () => false),
    server.exit().then(() => false, () => true),
  ]);
}

either("a port that is taken is named, and the data directory is given back", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(own);
  const { port } = new URL(workspace.server);
  const arguments_ = ["serve", "--port", port, "--data", "other"];
  const { code, stdout, stderr } = await workspace.run(own, arguments_);
  assertEquals([code, stdout], [1, ""]);
  assertMatch(stderr, new RegExp(`^stream: .*\\b${port}\\b.*$`, "m"));
  await workspace.serve(own, ["--data", "other"]);
});

either("--require-context refuses an upload without a context", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(quickest, ["--require-context"]);
  await writeFile(workspace.path("text.txt"), LINES);
  const refused = await workspace.run(quickest, ["push", "text.txt"]);
  assertEquals([refused.code, refused.stdout], [5, ""]);
  assertMatch(refused.stderr, /^stream: .*--context.*\n$/);

  const accepted = await workspace.run(quickest, ["push", "text.txt", "--context", "run 17/ä"]);
  assertEquals(accepted.code, 0);
  const listed = await workspace.run(quickest, ["ls", "--context", "run 17/ä", "--json"]);
  const [resource, ...others] = JSON.parse(listed.stdout);
  assertEquals([resource.contextId, others], ["run 17/ä", []]);
  const other = await workspace.run(quickest, ["ls", "--context", "run 18", "--json"]);
  assertEquals(other.code, 1);
  assertMatch(other.stderr, /CONTEXT_UNKNOWN/);
});

either("--max-resource-size ends an upload that grows beyond it, and keeps what fits", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(quickest, ["--max-resource-size", "16B"]);
  const { push, reference } = await workspace.push(quickest, ["-"]);
  push.write(LINES);
  const follow = workspace.start(quickest, ["follow", reference]);
  await follow.stdout.until((text) => text === LINES);
  push.write("third\n");
  const { code, stderr } = await push.exit();
  assertEquals(code, 5);
  assertMatch(stderr, /^stream: .*\b16 bytes\b.*\n$/);
  const followed = await follow.exit();
  assertEquals([followed.code, followed.stdout], [3, LINES]);
});

either("--log-format json logs one object a line", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(own, ["--log-format", "json"]);
  await writeFile(workspace.path("text.txt"), LINES);
  await workspace.run(quickest, ["push", "text.txt", "--name", 'a "name"\nin two lines']);
  server.signal("SIGTERM");
  const { stdout, stderr } = await server.exit();
  const { event, address } = JSON.parse(stdout);
  assertEquals([event, address], ["listening", workspace.server]);
  const entries = stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
  const [started, ended, stopping] = entries.slice(-3);
  assertEquals([started.event, started.filename], ["upload started", 'a "name"\nin two lines']);
  assertEquals([ended.event, ended.transferStatus], ["upload ended", "COMPLETED"]);
  assertEquals([stopping.event, stopping.signal], ["stopping", "SIGTERM"]);
  assert(entries.every(({ time, level }) => level === "info" && !Number.isNaN(Date.parse(time))));
});

either("--base-url is what references begin with", async () => {
  await using workspace = await Workspace.open();
  await workspace.serve(quickest, ["--base-url", "https://logs.example.org/live/"]);
  await writeFile(workspace.path("text.txt"), LINES);
  const { stdout } = await workspace.run(quickest, ["push", "text.txt"]);
  assertMatch(
    stdout,
    /^wss:\/\/logs\.example\.org\/live\/ws\/streaming\/download\/[0-9a-f-]{36}\n$/,
  );
  const status = await known(workspace, idOf(stdout.trim()));
  assertEquals(status.reference, stdout.trim());
});

either("wrong options end with 2 before anything is done", async () => {
  await using workspace = await Workspace.open();
  const wrong: [string[], string][] = [
    [["--port", "70000"], "--port 70000"],
    [["--port", "http"], "--port http"],
    [["--max-resource-size", "3 apples"], "--max-resource-size 3 apples"],
    [["--checkpoint-interval", "50"], "--checkpoint-interval 50"],
    [["--log-format", "xml"], "--log-format xml"],
    [["--base-url", "logs.example.org"], "--base-url logs.example.org"],
    [["--prot", "80"], "--port"],
    [["somewhere"], "somewhere"],
  ];
  await Promise.all(wrong.map(async ([options, expected]) => {
    const { code, stdout, stderr } = await workspace.run(quickest, ["serve", ...options]);
    assertEquals([code, stdout], [2, ""], options.join(" "));
    assertStringIncludes(stderr, expected);
  }));
  assert(!existsSync(workspace.path("stream-data")));
});

either(
  "with a port for Step clients its reference is shown beside ours, and leads there",
  async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest, ["--step-port", "0", "--log-format", "json"]);
    const port = await stepPort(server);
    await writeFile(workspace.path("a.log"), LINES);
    for (const transport of ["ws", "http"]) {
      const push = await workspace.run(quickest, [
        "push",
        "a.log",
        "--json",
        "--transport",
        transport,
      ]);
      const [begun, ended] = push.stdout.trim().split("\n").map((line) => JSON.parse(line));
      const id = idOf(begun.reference);
      const wanted = `ws://127.0.0.1:${port}/ws/streaming/download/${id}`;
      assertEquals([begun.stepReference, ended.stepReference], [wanted, wanted]);
      assertEquals((await known(workspace, id)).stepReference, wanted);
      assertMatch((await workspace.run(quickest, ["status", id])).stdout, /\nfor Step +ws:/);
      const list = JSON.parse((await workspace.run(quickest, ["ls", "--json"])).stdout);
      assertEquals(list[0].stepReference, wanted);
      assertEquals((await workspace.run(quickest, ["follow", wanted])).stdout, LINES);
    }
  },
);

either(
  "the reference for Step clients has the base that was given, and none is guessed behind a proxy",
  async () => {
    await using workspace = await Workspace.open();
    await writeFile(workspace.path("a.log"), LINES);
    const shown = async (...args: string[]) => {
      const server = await workspace.serve(quickest, ["--step-port", "0", ...args]);
      const { stdout } = await workspace.run(quickest, ["push", "a.log", "--json"]);
      const { stepReference, reference } = JSON.parse(stdout.split("\n")[0]);
      await server.kill("SIGTERM");
      return stepReference?.replace(idOf(reference), "ID");
    };
    assertEquals(
      await shown("--step-base-url", "wss://logs.example.org:8443", "--trust-proxy"),
      "wss://logs.example.org:8443/ws/streaming/download/ID",
    );
    assertEquals(await shown("--trust-proxy"), undefined);
  },
);
