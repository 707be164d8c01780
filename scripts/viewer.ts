/**
 * Bundles src/viewer into the module that the server serves it from:
 *
 *     scripts/viewer.ts [--check]
 *
 * The module is committed, so that a clone, the package and the binary carry the viewer without a step before; with
 * `--check` nothing is written, and a module that the sources do not give is a failure.
 */
import * as esbuild from "esbuild";

const target = "src/server/viewer/bundle.ts";
/** What all files of the viewer may have, compressed. */
const MAX_GZIPPED_BYTES = 60_000;

async function bundle(entry: string, settings: esbuild.BuildOptions = {}): Promise<string> {
  const { outputFiles } = await esbuild.build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: ["chrome111", "firefox115", "safari16.4"],
    jsx: "automatic",
    jsxImportSource: "preact",
    charset: "utf8",
    legalComments: "none",
    write: false,
    ...settings,
  });
  return outputFiles![0].text;
}

async function gzippedBytes(text: string): Promise<number> {
  const zipped = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(zipped).arrayBuffer()).byteLength;
}

/** Lines of a module are cut, so that tools can show what changed. */
function literal(text: string): string {
  const pieces = text.match(/.{1,400}/gsu) ?? [];
  return pieces.map((piece) => JSON.stringify(piece)).join(" +\n  ");
}

const script = await bundle("src/viewer/main.tsx");
const style = await bundle("src/viewer/style.css");
await esbuild.stop();
const module = `// Made by scripts/viewer.ts from src/viewer: change that, and run it.
// deno-fmt-ignore-file
// deno-lint-ignore-file

/** The script of the viewer. */
export const SCRIPT: string =
  ${literal(script)};

/** The style sheet of the viewer. */
export const STYLE: string =
  ${literal(style)};
`;

const bytes = await gzippedBytes(script) + await gzippedBytes(style);
console.log(`viewer: ${bytes} bytes gzipped`);
if (bytes > MAX_GZIPPED_BYTES) {
  console.error(`more than ${MAX_GZIPPED_BYTES}`);
  Deno.exit(1);
}
if (!Deno.args.includes("--check")) {
  await Deno.mkdir("src/server/viewer", { recursive: true });
  await Deno.writeTextFile(target, module);
} else if (await Deno.readTextFile(target).catch(() => "") !== module) {
  console.error(`${target} is not what src/viewer gives: run deno run -A scripts/viewer.ts`);
  Deno.exit(1);
}
