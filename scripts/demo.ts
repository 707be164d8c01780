/** Shows what this is for: a log is pushed while it is being written, and followed at the same time. */
const cli = new URL("../cli.ts", import.meta.url).href;
const lineCount = 10;
const lineEveryMs = 300;
const startedAtMs = performance.now();

function show(who: string, what: string): void {
  const seconds = (performance.now() - startedAtMs) / 1000;
  console.log(`${seconds.toFixed(2).padStart(5)} s  ${who.padEnd(8)}  ${what}`);
}

/** Starts `stream` with arguments, as a person would in a terminal. */
function stream(...args: string[]): Deno.ChildProcess {
  show("starts", `stream ${args.join(" ")}`);
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", cli, ...args],
    stdin: args[0] === "push" ? "piped" : "null",
    stdout: "piped",
    stderr: args[0] === "serve" ? "piped" : "inherit",
  }).spawn();
}

async function* linesOf(output: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

async function firstLine(output: ReadableStream<Uint8Array>): Promise<string> {
  const { value } = await linesOf(output).next();
  if (value === undefined) throw new Error("a program ended without a word");
  return value;
}

async function showLines(who: string, output: ReadableStream<Uint8Array>): Promise<number> {
  let count = 0;
  for await (const line of linesOf(output)) {
    show(who, line);
    count++;
  }
  return count;
}

async function writeLog(input: WritableStream<Uint8Array>): Promise<void> {
  const writer = input.getWriter();
  for (let number = 1; number <= lineCount; number++) {
    await new Promise((resolve) => setTimeout(resolve, lineEveryMs));
    const line = `line ${number} of ${lineCount}`;
    show("writes", line);
    await writer.write(new TextEncoder().encode(`${line}\n`));
  }
  await writer.close();
}

/** Returns whether the follower got every line. */
async function demonstrate(directory: string): Promise<boolean> {
  await using server = stream("serve", "--port", "0", "--data", directory);
  showLines("server", server.stderr);
  const url = (await firstLine(server.stdout)).replace("listening on ", "");

  await using push = stream("push", "-", "--name", "demo.log", "--server", url);
  const reference = await firstLine(push.stdout);
  await using follow = stream("follow", reference);
  const following = showLines("follows", follow.stdout);
  await writeLog(push.stdin);
  const followed = await following;

  await using status = stream("status", reference);
  await showLines("status", status.stdout);
  const ends = await Promise.all([push, follow, status].map((program) => program.status));
  return followed === lineCount && ends.every(({ success }) => success);
}

const directory = await Deno.makeTempDir({ prefix: "stream-demo-" });
const cleanUp = () => Deno.removeSync(directory, { recursive: true });
Deno.addSignalListener("SIGINT", () => {
  cleanUp();
  Deno.exit(130);
});
let succeeded = false;
try {
  succeeded = await demonstrate(directory);
} finally {
  cleanUp();
}
Deno.exit(succeeded ? 0 : 1);
