/** The package as a Deno program has it from JSR: by its name there, with types, found in this directory instead. */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { assertEquals } from "@std/assert";
import npm from "../../package.json" with { type: "json" };
import { eitherRuntime } from "../helpers/cli.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const PROGRAM = `
import { createServer, loadRuntime, MemoryCatalog, MemoryStorage } from "@stream/live/server";
import { follow, push, type PushedUpload } from "@stream/live/client";
import { LIMITS } from "@stream/live/protocol";

const server = createServer({
  runtime: await loadRuntime(),
  storage: new MemoryStorage(),
  catalog: new MemoryCatalog(),
});
const { port } = await server.listen({ port: 0 });
const upload: PushedUpload = await push("http://127.0.0.1:" + port, {
  filename: "hello.txt",
  mimeType: "text/plain",
  supportsLineAccess: true,
});
const text: Promise<string> = new Response(follow(upload.reference)).text();
const writer = upload.writable.getWriter();
await writer.write(new TextEncoder().encode("hello\\n"));
await writer.close();
console.log(JSON.stringify([await text, (await upload.done).numberOfLines, LIMITS.dataMessageBytes]));
await server.close();
`;

/** Runs Deno on that program, in a directory of its own; returns what it prints. */
async function deno(...args: string[]): Promise<string> {
  await using directory = await temporaryDirectory();
  const config = {
    imports: { "@stream/live": `jsr:@stream/live@^${npm.version}` },
    links: [ROOT, `${ROOT}vendor/std-cli`],
  };
  await writeFile(`${directory.path}/deno.json`, JSON.stringify(config));
  await writeFile(`${directory.path}/main.ts`, PROGRAM);
  const [command, ...words] = process.env.STREAM_DENO === undefined
    ? ["npx", "-y", "deno@2"]
    : [process.env.STREAM_DENO];
  return execFileSync(command, [...words, ...args, "main.ts"], {
    cwd: directory.path,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
}

// Deno is what both start, whichever runtime these tests are on.
const test = eitherRuntime();

test("a Deno program that imports the package as jsr:@stream/live runs", async () => {
  assertEquals(JSON.parse(await deno("run", "-A", "--no-check")), ["hello\n", 1, 65536]);
});

test("it has the types of the package", async () => {
  await deno("check");
});
