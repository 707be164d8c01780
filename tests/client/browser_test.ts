import { after, test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Deno keeps waiting for esbuild's child process otherwise. */
after(() => esbuild.stop());

async function bundle(source: string): Promise<{ text: string; inputs: string[] }> {
  const result = await esbuild.build({
    stdin: { contents: source, resolveDir: root, loader: "ts" },
    bundle: true,
    format: "esm",
    platform: "browser",
    write: false,
    metafile: true,
    logLevel: "silent",
  });
  return { text: result.outputFiles[0].text, inputs: Object.keys(result.metafile.inputs) };
}

/** What only a server's runtime could load, as it stands in a bundle. */
function serverImports(text: string): string[] {
  return text.match(/["'`]node:\w+|\brequire\(["'`][^"'`]*["'`]\)/g) ?? [];
}

test("the client bundles for a browser without anything from a server's runtime", async () => {
  const { text, inputs } = await bundle(`export * from "./src/client.ts"`);
  assert(inputs.includes("src/client.ts"));
  assertEquals(serverImports(text), []);
});

test("a bundle that needs a server's runtime is refused", async () => {
  await assertRejects(() => bundle(`export * from "node:fs"`), Error, "node:fs");
  await assertRejects(() => bundle(`export * from "fs"`), Error, "fs");
  const { text } = await bundle(`export const load = (name: string) => import(name);
    console.log("node:fs", globalThis.require("crypto"));`);
  assertEquals(serverImports(text), [`"node:fs`, `require("crypto")`]);
});
