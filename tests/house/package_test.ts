/** Both manifests say the same: `deno.json` for Deno and what is published, `package.json` for npm and Bun. */
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import deno from "../../deno.json" with { type: "json" };
import { DIGEST_VERSION } from "../../src/digest.ts";
import npm from "../../package.json" with { type: "json" };

/** Packages of npm by name, with their versions. */
function packagesOf(imports: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(imports).filter(([, target]) => target.startsWith("npm:"))
      .map(([name, target]) => [name, target.slice(target.lastIndexOf("@") + 1)]),
  );
}

test("the version that is kept with the state of a digest is that of the library", async () => {
  const [, minor] = /"hash-wasm@(\d+\.\d+)\.\d+"/.exec(await readFile("deno.lock", "utf8"))!;
  assertEquals(DIGEST_VERSION, `hash-wasm ${minor}`);
});

test("name, version and license are the same for Deno and for npm", () => {
  assertEquals([npm.name, npm.version, npm.license], [deno.name, deno.version, deno.license]);
});

test("npm exports what Deno exports, built", () => {
  const built = Object.entries(deno.exports).map(([name, path]) => {
    const module = path.replace("./", "./dist/npm/").replace(/\.ts$/, "");
    return [name, { types: `${module}.d.ts`, default: `${module}.js` }];
  });
  assertEquals(npm.exports as Record<string, unknown>, Object.fromEntries(built));
});

test("every package has the same version for Deno and for npm", () => {
  const { "@types/node": _types, ...packages }: Record<string, string> = {
    ...npm.dependencies,
    ...npm.devDependencies,
  };
  const fromNpm = Object.entries(packages).filter(([, version]) => !version.startsWith("file:"));
  assertEquals(Object.fromEntries(fromNpm), packagesOf(deno.imports));
});
