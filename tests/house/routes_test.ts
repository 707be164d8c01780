/** The table of requests in PROTOCOL.md is what the routes say. */
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { Route } from "../../src/server/route.ts";
import { allRoutes } from "../helpers/routes.ts";

/** A row: the request, the scope it wants, the statuses of its answers, and what it does. */
function rowOf({ method, path, parameters, access, answers, summary, section }: Route): string[] {
  const names = Object.values(parameters).filter((parameter) => parameter.in === "query")
    .map(({ name }) => `${name}=`);
  const query = names.length === 0 ? "" : `?${names.join("&")}`;
  const place = path.replace(/:(\w+)/g, (_, name) => name.toUpperCase());
  return [
    `\`${method} ${place}${query}\``,
    access === "everybody" ? "–" : `\`${access.scope}\``,
    Object.keys(answers).join(", "),
    section === "6" ? summary : `${summary} (${section})`,
  ];
}

/** The cells of a table's rows, without its head. */
function cellsOf(markdown: string): string[][] {
  return markdown.split("\n").slice(2).map((line) =>
    line.replace(/^\| | \|$/g, "").split(" | ").map((cell) => cell.trim())
  );
}

test("the table of section 6 has the routes, their scopes and their answers", async () => {
  const text = await readFile(new URL("../../PROTOCOL.md", import.meta.url), "utf8");
  const [, table] = /^## 6 HTTP\n\n((?:\|.*\n)+)/m.exec(text) ?? [];
  assert(table !== undefined);
  const routes = (await allRoutes()).map(rowOf);
  assertEquals(
    cellsOf(table.trimEnd()),
    routes,
    `the table should be\n${routes.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}`,
  );
});

test("every section that a route names exists", async () => {
  const text = await readFile(new URL("../../PROTOCOL.md", import.meta.url), "utf8");
  const sections = [...text.matchAll(/^##+ ([\d.]+) /gm)].map(([, number]) => number);
  for (const { name, section } of await allRoutes()) assert(sections.includes(section), name);
});
