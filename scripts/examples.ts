/**
 * Makes tests of the examples in the documentation, a file a document. `deno test --doc` would make an isolate for each
 * example and load all modules anew, which takes a processor a minute; `deno check --doc` looks at their types.
 */
const target = "dist/tests/examples";

/** Writes the tests; returns their paths. */
export function testsOfExamples(): string[] {
  Deno.mkdirSync(target, { recursive: true });
  return ["README.md", "docs/embedding.md", "mod.ts", ...modulesBelow("src")].flatMap((path) => {
    const tests = examplesOf(path).map(({ line, code }) => {
      const name = `${path.replaceAll("/", "_")}_${line}.ts`;
      Deno.writeTextFileSync(`${target}/${name}`, code);
      return `Deno.test("${path}:${line}", () => import("./${name}"));\n`;
    });
    if (tests.length === 0) return [];
    const file = `${target}/${path.replaceAll("/", "_")}_test.ts`;
    Deno.writeTextFileSync(file, tests.join(""));
    return [file];
  });
}

function modulesBelow(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    if (isDirectory) return modulesBelow(path);
    return name.endsWith(".ts") ? [path] : [];
  });
}

/** What stands in fences, in Markdown or in comments; a module that is no part of the package is named from where it is. */
function examplesOf(path: string): { line: number; code: string }[] {
  const text = Deno.readTextFileSync(path);
  const here = new URL(`../${path}`, import.meta.url);
  return [...text.matchAll(/^( *\* |)```ts\n(.*?)^\1```$/gms)].map(
    ({ 1: margin, 2: example, index }) => {
      const code = margin === "" ? example : example.replace(/^ *\* ?/gm, "");
      return {
        line: text.slice(0, index).split("\n").length,
        code: code.replace(/(?<=from ")\.[^"]+/g, (module) => new URL(module, here).href),
      };
    },
  );
}
