/** What the documentation names is there. */
import { readdir, readFile, stat } from "node:fs/promises";
import { test } from "node:test";
import { assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

async function missing(addresses: readonly URL[]): Promise<string[]> {
  const isThere = await Promise.all(
    addresses.map((url) => stat(url).then(() => true, () => false)),
  );
  return addresses.filter((_, at) => !isThere[at]).map(({ pathname }) => pathname);
}

test("every file and picture that a document links to is there", async () => {
  for (const directory of [ROOT, new URL("docs/", ROOT)]) {
    const documents = (await readdir(directory)).filter((name) => name.endsWith(".md"));
    for (const name of documents) {
      const document = new URL(name, directory);
      const links = (await readFile(document, "utf8")).matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g);
      assertEquals(await missing([...links].map(([, path]) => new URL(path, document))), [], name);
    }
  }
});

test("the files that docs/step.md names beside each capability are there", async () => {
  const rows = (await readFile(new URL("docs/step.md", ROOT), "utf8")).matchAll(/^\| \d+ .*$/gm);
  for (const [row] of rows) {
    const [, , , sources, tests] = row.split("|");
    const named = [[sources, "src/"], [tests, "tests/"]].flatMap(([cell, below]) =>
      [...cell.matchAll(/`([\w/]+\.ts)`/g)].map(([, path]) => new URL(below + path, ROOT))
    );
    assertEquals(await missing(named), [], row);
  }
});
