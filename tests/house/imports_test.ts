/** Reads the import graph and fails on any arrow against the direction of ARCHITECTURE.md. */
import { execFileSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "@std/assert";

/** One import: a path from the root of the project, and a path or a bare specifier. */
type Arrow = readonly [from: string, to: string];

/** Rooms that are a file, its folder, or both. */
const wholeRooms = [
  ...["protocol", "digest", "distance", "latest", "bell", "mime", "client", "source", "cli"],
  ...["server", "session", "resources", "metrics", "timer", "upload"],
];
/** Rooms where the file is the interface, and the folder (`storage/*`) holds its implementations. */
const interfaceRooms = ["access", "storage", "catalog", "runtime"];
const implementationRooms = interfaceRooms.map((room) => `${room}/*`);
const libraryRooms = ["mod", ...wholeRooms, ...interfaceRooms, ...implementationRooms]
  .filter((room) => room !== "cli");

/** Who may import whom. */
const allowed: Record<string, readonly string[]> = {
  mod: libraryRooms,
  cli: ["cli", ...libraryRooms],
  server: [
    ...["server", "session", "resources", "access", "metrics", "runtime", "mime", "bell", "timer"],
    "protocol",
  ],
  session: ["session", "resources", "bell", "runtime", "timer", "protocol"],
  resources: ["resources", "storage", "catalog", "digest", "bell", "timer", "protocol"],
  client: ["client", "digest", "latest", "bell", "timer", "upload", "protocol"],
  source: ["source", "digest", "distance", "latest", "upload", "protocol"],
  upload: ["latest", "protocol"],
  digest: ["protocol"],
  access: ["protocol"],
  storage: ["protocol"],
  catalog: ["protocol"],
  runtime: ["protocol"],
  "access/*": ["access/*", "access", "protocol"],
  "storage/*": ["storage/*", "storage", "digest", "protocol"],
  "catalog/*": ["catalog/*", "catalog", "digest", "protocol"],
  "runtime/*": ["runtime/*", "runtime", "digest", "protocol"],
  distance: [],
  metrics: [],
  latest: ["bell"],
  bell: [],
  mime: [],
  timer: [],
  protocol: ["protocol"],
};

/** The room a file of this project stands in; an empty string when it stands in none. */
function roomOf(path: string): string {
  if (path === "mod.ts") return "mod";
  if (path === "cli.ts") return "cli";
  const [, name, inside] = path.match(/^src\/(\w+)(?:\.ts|(\/).+)$/) ?? [];
  if (wholeRooms.includes(name)) return name;
  if (interfaceRooms.includes(name)) return inside ? `${name}/*` : name;
  return "";
}

function isOurs(path: string): boolean {
  return path.endsWith(".ts") && !path.includes(":");
}

/** Rooms that others enter by the file of their name, and nowhere else. */
const doors = ["resources"];

function passesDoor(from: string, to: string): boolean {
  return doors.some((room) => to.startsWith(`src/${room}/`) && roomOf(from) !== room);
}

function wrongArrows(arrows: Arrow[]): string[] {
  return arrows.filter(([from, to]) => {
    const room = roomOf(from);
    if (!isOurs(to)) return room === "protocol";
    if (passesDoor(from, to)) return true;
    return !allowed[room]?.includes(roomOf(to));
  }).map(([from, to]) => `${from} → ${to}`);
}

/** Every way from `start` to something that no browser has, as a chain of imports. */
function waysOutOfTheBrowser(arrows: Arrow[], start: string): string[] {
  const chains = new Map([[start, start]]);
  for (const [path, chain] of chains) {
    for (const [from, to] of arrows) {
      if (from === path && !chains.has(to)) chains.set(to, `${chain} → ${to}`);
    }
  }
  const browserRooms = ["client", "digest", "latest", "bell", "timer", "upload", "protocol"];
  return [...chains].filter(([path]) =>
    path.startsWith("node:") || isOurs(path) && !browserRooms.includes(roomOf(path))
  ).map(([, chain]) => chain);
}

interface Info {
  modules: {
    specifier: string;
    error?: string;
    dependencies?: { code?: { specifier: string }; type?: { specifier: string } }[];
  }[];
}

/** The arrows between our files and out of them, imports of types and dynamic ones included. */
function importsOf(entry: string): Arrow[] {
  const root = new URL("../..", import.meta.url);
  const [command, ...words] = process.env.STREAM_DENO
    ? [process.env.STREAM_DENO]
    : ["npx", "-y", "deno@2"];
  const output = execFileSync(command, [...words, "info", "--json", entry], {
    cwd: fileURLToPath(root),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  const { modules } = JSON.parse(output) as Info;
  const path = (specifier: string) => specifier.replace(root.href, "");
  return modules.flatMap(({ specifier, error, dependencies = [] }) => {
    assertEquals(error, undefined, specifier);
    return dependencies.map(({ code, type }) =>
      [path(specifier), path((code ?? type)!.specifier)] as const
    );
  }).filter(([from]) => !from.startsWith("vendor/"))
    .filter(([, to]) => !to.startsWith("vendor/"));
}

test("every import goes the way ARCHITECTURE.md says", () => {
  const arrows = [...importsOf("mod.ts"), ...importsOf("cli.ts")];
  assert(arrows.some(([from, to]) => from === "mod.ts" && to === "src/client.ts"));
  assert(arrows.some(([from]) => from === "cli.ts"));
  assertEquals(wrongArrows(arrows), []);
});

test("no path leads from the client to server code or to node:", () => {
  assertEquals(waysOutOfTheBrowser(importsOf("src/client.ts"), "src/client.ts"), []);
});

test("the check lets right arrows pass", () => {
  assertEquals(
    wrongArrows([
      ["cli.ts", "src/cli/push.ts"],
      ["cli.ts", "src/storage/file.ts"],
      ["cli.ts", "node:process"],
      ["src/cli/push.ts", "src/cli/progress.ts"],
      ["src/server.ts", "npm:hono@4"],
      ["src/client/upload.ts", "src/client.ts"],
      ["src/storage/file.ts", "src/storage.ts"],
      ["src/storage/file.ts", "src/storage/lines.ts"],
      ["src/storage.ts", "src/protocol.ts"],
      ["src/session/upload.ts", "src/resources.ts"],
      ["src/resources.ts", "src/resources/reading/resource.ts"],
      ["src/source/local.ts", "src/upload.ts"],
    ]),
    [],
  );
});

test("the check refuses every arrow of a bad graph", () => {
  const bad: Arrow[] = [
    ["src/protocol.ts", "src/digest.ts"],
    ["src/protocol.ts", "npm:hono@4"],
    ["src/client.ts", "src/server.ts"],
    ["src/server.ts", "src/storage/file.ts"],
    ["src/server.ts", "src/storage.ts"],
    ["src/server/access.ts", "src/access/links.ts"],
    ["src/access.ts", "src/access/links.ts"],
    ["src/access/links.ts", "src/resources.ts"],
    ["src/session.ts", "src/server.ts"],
    ["src/resources.ts", "src/catalog/sqlite.ts"],
    ["src/storage.ts", "src/storage/file.ts"],
    ["src/storage.ts", "src/catalog.ts"],
    ["src/storage/file.ts", "src/catalog/sqlite.ts"],
    ["src/runtime/bun.ts", "src/session.ts"],
    ["src/source/file.ts", "src/client.ts"],
    ["mod.ts", "src/cli/push.ts"],
    ["src/session/upload.ts", "src/resources/writing/appender.ts"],
    ["mod.ts", "src/resources/reading/resource.ts"],
    ["src/server.ts", "src/utils.ts"],
    ["src/utils.ts", "src/protocol.ts"],
    ["src/server.ts", "scripts/demo.ts"],
  ];
  assertEquals(wrongArrows(bad), bad.map(([from, to]) => `${from} → ${to}`));
});

test("the check finds the way from the client to node: through other modules", () => {
  const arrows: Arrow[] = [
    ["src/client.ts", "src/digest.ts"],
    ["src/digest.ts", "node:crypto"],
    ["src/client.ts", "src/client/upload.ts"],
    ["src/client/upload.ts", "src/storage.ts"],
    ["src/server.ts", "node:fs"],
  ];
  assertEquals(waysOutOfTheBrowser(arrows, "src/client.ts"), [
    "src/client.ts → src/digest.ts → node:crypto",
    "src/client.ts → src/client/upload.ts → src/storage.ts",
  ]);
});
