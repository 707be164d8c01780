/** Holds a compiled binary against its first promises: `scripts/smoke.ts BINARY`. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import config from "../deno.json" with { type: "json" };

const binary = await Deno.realPath(Deno.args[0]);
const waitMs = 10_000;

async function stream(...args: string[]): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(waitMs);
  const command = new Deno.Command(binary, { args, stdin: "null", stderr: "inherit", signal });
  const { code, stdout } = await command.output();
  assertEquals(code, 0, `stream ${args.join(" ")}`);
  return stdout;
}

async function firstLine(output: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const part of output.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes("\n")) break;
  }
  return text.split("\n")[0];
}

async function pushAndFollow(server: string, directory: string): Promise<void> {
  const file = `${directory}/small.log`;
  await Deno.writeTextFile(file, "first line\nsecond line\r\nno line break at the end");
  const printed = await stream("push", file, "--server", server);
  const reference = new TextDecoder().decode(printed).split("\n")[0];
  assertEquals(await stream("follow", reference), await Deno.readFile(file));
}

const version = new TextDecoder().decode(await stream("--version"));
assert(version.includes(config.version), `--version says ${version}`);

const directory = await Deno.makeTempDir({ prefix: "stream-smoke-" });
const server = new Deno.Command(binary, {
  args: ["serve", "--port", "0", "--data", `${directory}/data`],
  stdin: "null",
  stdout: "piped",
  signal: AbortSignal.timeout(4 * waitMs),
}).spawn();
try {
  const line = await firstLine(server.stdout);
  assertMatch(line, /^listening on http:\/\/\S+$/);
  await pushAndFollow(line.replace("listening on ", ""), directory);
  server.kill("SIGTERM");
  assertEquals((await server.status).code, 0, "serve, ended by SIGTERM");
  console.log("version, serve, push, follow and a clean end");
} finally {
  try {
    server.kill("SIGKILL");
  } catch { /* already gone */ }
  await Deno.remove(directory, { recursive: true });
}
