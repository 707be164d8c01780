/**
 * Builds what npm packs into `dist/npm`: JavaScript for Node, Bun and bundlers, and its types.
 * `npm pack` runs it first.
 */
import * as esbuild from "esbuild";
import config from "../deno.json" with { type: "json" };
import manifest from "../package.json" with { type: "json" };
import { run } from "./run.ts";

const target = "dist/npm";
const limitMs = 120_000;

/** Comes before all else: what an older Node lacks would be missed somewhere in the middle. */
const check = `if (typeof Promise.withResolvers !== "function") ` +
  `throw new Error("@stream/live needs Node 22 or newer, Bun, Deno or a browser of 2024");`;

/** The program; it tells of an older Node before it loads what that does not have. */
const program = `#!/usr/bin/env node
if (Number(process.versions.node.split(".")[0]) < 22) {
  console.error("stream: this is Node " + process.versions.node + "; Node 22 or newer is needed");
  process.exit(1);
}
const { main } = await import("./cli.js");
process.exit(await main(process.argv.slice(2)));
`;

async function buildJavaScript(): Promise<void> {
  const entries = Object.values(config.exports).map((path) => path.slice(2));
  await esbuild.build({
    entryPoints: entries,
    outbase: ".",
    outdir: target,
    bundle: true,
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    target: "es2022",
    external: [...Object.keys(manifest.dependencies), "node:*"],
    banner: { js: check },
    logLevel: "warning",
  });
  await esbuild.stop();
  await Deno.writeTextFile(`${target}/stream.js`, program, { mode: 0o755 });
}

/** The types of every module: what the entry points name is in files of their own. */
async function buildTypes(): Promise<void> {
  const temporary = await Deno.makeTempDir({ prefix: "stream-types-" });
  try {
    const files = ["mod.ts", "cli.ts", ...modulesBelow("src")];
    const words = [Deno.execPath(), "transpile", "--quiet", "--declaration", "--outdir", temporary];
    if (!await run([...words, ...files], { limitMs })) throw new Error("no types were made");
    for (const file of files) {
      const name = file.replace(/\.ts$/, ".d.ts");
      const text = await Deno.readTextFile(`${temporary}/${name}`);
      await Deno.mkdir(`${target}/${name}`.replace(/\/[^/]+$/, ""), { recursive: true });
      await Deno.writeTextFile(`${target}/${name}`, forNode(text));
    }
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** The viewer is no part of the library. */
function modulesBelow(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    if (isDirectory) return path === "src/viewer" ? [] : modulesBelow(path);
    return name.endsWith(".ts") ? [path] : [];
  });
}

/** Names the files that are there, and no path of this machine. */
function forNode(types: string): string {
  return types.replace(/^\/\/\/ <amd-module .*\n/m, "")
    .replace(/((?:from|import\() ?"\.[^"]*)\.ts"/g, '$1.js"');
}

await Deno.remove(target, { recursive: true }).catch(() => {});
await buildJavaScript();
await buildTypes();
