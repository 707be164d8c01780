/**
 * Packs the library as anybody would, and uses it where it is installed: client and server on Node and
 * Bun, types, a bundle for browsers, the program; an older Node is told what is missing.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as esbuild from "esbuild";
import config from "../deno.json" with { type: "json" };
import { realBun } from "./set_up.ts";

const limitMs = 120_000;
const directory = await Deno.makeTempDir({ prefix: "stream-package-" });

const use = `
import { strictEqual } from "node:assert";
import { createServer, FileStorage, loadRuntime, SqliteCatalog } from "@stream/live/server";
import { follow, getLines, push, search, statusEvents } from "@stream/live/client";

const server = createServer({
  runtime: await loadRuntime(),
  storage: new FileStorage("./data"),
  catalog: new SqliteCatalog("./data/catalog.sqlite"),
});
const { port } = await server.listen({ port: 0 });
for (const transport of ["ws", "http"]) {
  const upload = await push("http://127.0.0.1:" + port, {
    filename: "hello.txt",
    mimeType: "text/plain",
    supportsLineAccess: true,
  }, { transport });
  const { reference } = upload;
  const text = new Response(follow(reference, { transport })).text();
  const writer = upload.writable.getWriter();
  for (let line = 0; line < 10_000; line++) {
    await writer.write(new TextEncoder().encode("line " + line + "\\n"));
  }
  await writer.close();
  strictEqual((await upload.done).numberOfLines, 10_000);
  strictEqual((await text).length, (await upload.done).size);
  strictEqual((await getLines(reference, { start: -1 })).lines[0], "line 9999\\n");
  for await (const { line } of search(reference, "line 77")) strictEqual(String(line).slice(0, 2), "77");
  for await (const { numberOfLines } of statusEvents(reference)) strictEqual(numberOfLines, 10_000);
}
await server.close();
console.log("used");
`;

const types = `
import {
  createServer,
  framesRuntime,
  loadRuntime,
  MemoryCatalog,
  MemoryStorage,
  openGrowingFile,
  type StreamServer,
  uploadToDirectory,
} from "@stream/live";
import * as client from "@stream/live/client";
import { LIMITS } from "@stream/live/protocol";

const { follow, push } = client;

const runtime = await loadRuntime();
createServer({ runtime, storage: new MemoryStorage(), catalog: new MemoryCatalog() });
const upload = await push("", { filename: "a", mimeType: "b", supportsLineAccess: false });
const bytes: ReadableStream<Uint8Array> = follow(upload.reference);
const size: number = (await upload.done).size;
// @ts-expect-error a name is a text
await push("", { filename: 1 });
export { bytes, LIMITS, size };

/** All that may be left out of an object, as undefined: what a program has that hands its own options on. */
type Undefined<T> = { [K in keyof T as Record<never, never> extends Pick<T, K> ? K : never]: undefined };
declare function takes<T>(options: Undefined<T> extends Partial<T> ? "undefined" : never): void;
type Second<F extends (...args: never[]) => unknown> = NonNullable<Parameters<F>[1]>;
type Third<F extends (...args: never[]) => unknown> = NonNullable<Parameters<F>[2]>;
takes<Parameters<typeof createServer>[0]>("undefined");
takes<Parameters<StreamServer["listen"]>[0]>("undefined");
takes<Second<StreamServer["resources"]["startUpload"]>>("undefined");
takes<Second<StreamServer["resources"]["read"]>>("undefined");
takes<Second<StreamServer["resources"]["listen"]>>("undefined");
takes<NonNullable<Parameters<typeof framesRuntime>[0]>>("undefined");
takes<NonNullable<Parameters<typeof loadRuntime>[0]>>("undefined");
takes<Second<typeof openGrowingFile>>("undefined");
takes<Third<typeof uploadToDirectory>>("undefined");
takes<Third<typeof push>>("undefined");
takes<Second<typeof client.open>>("undefined");
takes<Second<typeof follow>>("undefined");
takes<Second<typeof client.getResource>>("undefined");
takes<Second<typeof client.deleteResource>>("undefined");
takes<Second<typeof client.shareResource>>("undefined");
takes<Second<typeof client.listResources>>("undefined");
takes<Second<typeof client.listContexts>>("undefined");
takes<Second<typeof client.getLines>>("undefined");
takes<Third<typeof client.search>>("undefined");
takes<Second<typeof client.statusEvents>>("undefined");
takes<Second<typeof client.resourceEvents>>("undefined");
takes<Third<typeof client.contextEvents>>("undefined");
`;

const strictest = '{ "compilerOptions": { "exactOptionalPropertyTypes": true } }';

interface Ended {
  success: boolean;
  stdout: string;
  stderr: string;
}

async function runHere(words: string[], cwd = directory): Promise<Ended> {
  const [command, ...args] = words;
  const signal = AbortSignal.timeout(limitMs);
  const output = await new Deno.Command(command, { args, cwd, stdin: "null", signal }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { success: output.success, stdout: text(output.stdout), stderr: text(output.stderr) };
}

async function succeed(words: string[], cwd = directory): Promise<string> {
  const { success, stdout, stderr } = await runHere(words, cwd);
  assert(success, `${words.join(" ")}\n${stdout}${stderr}`);
  return stdout;
}

/** A runtime that npm brings, without the second that npm itself takes at each start. */
async function runtimeOf(packageName: string): Promise<string> {
  return (await succeed(["npx", "-y", packageName, "-p", "process.execPath"])).trim();
}

/** The program on Node. */
async function wrapped(node: string, program: string): Promise<string> {
  const wrapper = `${directory}/stream`;
  const text = `#!/bin/sh\nexec '${node}' '${directory}/${program}' "$@"\n`;
  await Deno.writeTextFile(wrapper, text, { mode: 0o755 });
  return wrapper;
}

async function bundleForBrowser(): Promise<void> {
  const result = await esbuild.build({
    stdin: { contents: `export * from "@stream/live/client"`, resolveDir: directory },
    bundle: true,
    format: "esm",
    platform: "browser",
    write: false,
    logLevel: "silent",
  });
  await esbuild.stop();
  assertEquals(result.outputFiles[0].text.match(/["'\`]node:\w+/g), null);
}

try {
  const packed = await succeed(["npm", "pack", "--pack-destination", directory], ".");
  const tarball = packed.trim().split("\n").at(-1)!;
  await Deno.writeTextFile(`${directory}/package.json`, '{ "type": "module" }');
  await succeed(["npm", "install", "--no-audit", "--no-fund", `./${tarball}`]);
  await Deno.writeTextFile(`${directory}/use.mjs`, use);
  await Deno.writeTextFile(`${directory}/types.ts`, types);
  await Deno.writeTextFile(`${directory}/deno.json`, strictest);
  await Deno.writeTextFile(`${directory}/client.mjs`, 'import "@stream/live/client";\n');

  const [node, oldNode, bun] = [
    await runtimeOf("node@22"),
    await runtimeOf("node@20"),
    await realBun(),
  ];
  assertEquals(await succeed([node, "use.mjs"]), "used\n");
  assertEquals(await succeed([bun, "use.mjs"]), "used\n");
  await succeed([Deno.execPath(), "check", "types.ts"]);
  await bundleForBrowser();

  const program = "node_modules/.bin/stream";
  assertEquals(await succeed([node, program, "--version"]), `stream ${config.version}\n`);
  await succeed(
    [Deno.execPath(), "run", "-A", "scripts/smoke.ts", await wrapped(node, program)],
    ".",
  );
  const refused = await runHere([oldNode, "client.mjs"]);
  assertEquals(refused.success, false);
  assertMatch(refused.stderr, /^Error: @stream\/live needs Node 22 or newer/m);
  const refusedProgram = await runHere([oldNode, program, "--version"]);
  assertMatch(refusedProgram.stderr, /^stream: this is Node 20\.\S+; Node 22 or newer is needed$/m);
  console.log(
    "packed, installed, used on Node and Bun, checked, bundled, refused by an older Node",
  );
} finally {
  await Deno.remove(directory, { recursive: true });
}
