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
  ...["server", "session", "resources", "metrics", "reasons", "timer", "upload", "flushes"],
  ...["allowance", "byte_queue", "cluster", "turn"],
];
/** Rooms where the file is the interface, and the folder (`storage/*`) holds its implementations. */
const interfaceRooms = ["access", "storage", "catalog", "runtime"];
/** Protocols that the server speaks: rooms of their own within it. */
const faces = [
  ...["server/http", "server/websocket", "server/viewer", "server/tus"],
  "server/durable_streams",
];
const implementationRooms = interfaceRooms.map((room) => `${room}/*`);
const libraryRooms = ["mod", ...wholeRooms, ...faces, ...interfaceRooms, ...implementationRooms]
  .filter((room) => room !== "cli");

/** Who may import whom. */
const allowed: Record<string, readonly string[]> = {
  mod: libraryRooms,
  cli: ["cli", ...libraryRooms],
  server: [
    ...["server", "session", "resources", "access", "metrics", "runtime", "timer", "turn"],
    "protocol",
  ],
  "server/http": [
    ...["server/http", "server", "session", "resources", "metrics", "mime", "bell", "protocol"],
  ],
  "server/websocket": [
    ...["server/websocket", "server", "session", "resources", "runtime", "protocol"],
  ],
  "server/tus": ["server/tus", "server", "session", "resources", "mime", "protocol"],
  "server/durable_streams": [
    ...["server/durable_streams", "server", "session", "resources", "mime", "bell", "turn"],
    "protocol",
  ],
  "server/viewer": ["server/viewer", "server", "protocol"],
  session: ["session", "resources", "allowance", "bell", "runtime", "timer", "turn", "protocol"],
  resources: [
    ...["resources", "byte_queue", "storage", "catalog", "digest", "bell", "timer", "turn"],
    "protocol",
  ],
  client: [
    ...[
      "client",
      "byte_queue",
      "digest",
      "latest",
      "bell",
      "reasons",
      "timer",
      "upload",
      "protocol",
    ],
  ],
  source: [
    ...["source", "byte_queue", "bell", "digest", "distance", "latest", "reasons", "upload"],
    "protocol",
  ],
  byte_queue: ["protocol"],
  upload: ["latest", "protocol"],
  digest: ["protocol"],
  access: ["protocol"],
  storage: ["protocol"],
  catalog: ["protocol"],
  runtime: ["protocol"],
  "access/*": ["access/*", "access", "allowance", "reasons", "protocol"],
  "storage/*": [
    ...["storage/*", "storage", "cluster", "byte_queue", "digest", "flushes", "reasons"],
    "protocol",
  ],
  "catalog/*": ["catalog/*", "catalog", "cluster", "digest", "flushes", "turn", "protocol"],
  cluster: ["cluster", "byte_queue", "protocol"],
  "runtime/*": ["runtime/*", "runtime", "allowance", "byte_queue", "digest", "reasons", "protocol"],
  allowance: [],
  distance: [],
  flushes: [],
  metrics: [],
  latest: ["bell"],
  bell: [],
  mime: [],
  reasons: [],
  timer: [],
  turn: ["turn"],
  protocol: ["protocol"],
};

/** The one place where the server knows its faces, by their doors. */
const assembly: readonly Arrow[] = faces.map((face) => ["src/server/faces.ts", `src/${face}.ts`]);

/** The room a file of this project stands in; an empty string when it stands in none. */
function roomOf(path: string): string {
  if (path === "mod.ts" || path === "src/embedding.ts") return "mod";
  if (path === "cli.ts") return "cli";
  const face = faces.find((face) => path.match(new RegExp(`^src/${face}[./]`)));
  if (face !== undefined) return face;
  const [, name, inside] = path.match(/^src\/(\w+)(?:\.ts|(\/).+)$/) ?? [];
  if (wholeRooms.includes(name)) return name;
  if (interfaceRooms.includes(name)) return inside ? `${name}/*` : name;
  return "";
}

function isOurs(path: string): boolean {
  return path.endsWith(".ts") && !path.includes(":");
}

/** Rooms that others enter by the file of their name, and nowhere else. */
const doors = ["resources", "session"];

function passesDoor(from: string, to: string): boolean {
  return doors.some((room) => to.startsWith(`src/${room}/`) && roomOf(from) !== room);
}

function wrongArrows(arrows: Arrow[]): string[] {
  return arrows.filter(([from, to]) => {
    const room = roomOf(from);
    if (!isOurs(to)) return room === "protocol";
    if (assembly.some((arrow) => arrow[0] === from && arrow[1] === to)) return false;
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
  return [...chains].filter(([path]) =>
    path.startsWith("node:") || isOurs(path) && !allowed.client.includes(roomOf(path))
  ).map(([, chain]) => chain);
}

/** Groups of files each of which imports all others of its group, by way of others or not. */
function circles(arrows: Arrow[]): string[][] {
  const found: string[][] = [];
  const open: string[] = [];
  const entered = new Map<string, number>();
  const closed = new Set<string>();
  /** The place of the earliest open file that a file reaches (Tarjan). */
  const enter = (path: string): number => {
    const at = entered.size;
    let earliest = at;
    entered.set(path, at);
    open.push(path);
    for (const [from, to] of arrows) {
      if (from !== path || !isOurs(to) || closed.has(to)) continue;
      earliest = Math.min(earliest, entered.get(to) ?? enter(to));
    }
    if (earliest === at) {
      const group = open.splice(open.indexOf(path));
      for (const member of group) closed.add(member);
      if (group.length > 1) found.push(group.toSorted());
    }
    return earliest;
  };
  for (const [path] of arrows) if (!entered.has(path)) enter(path);
  return found;
}

interface Info {
  modules: {
    specifier: string;
    error?: string;
    dependencies?: {
      code?: { specifier: string };
      type?: { specifier: string };
      isDynamic?: boolean;
    }[];
  }[];
}

const told = new Map<string, Info["modules"]>();

/** Everything that a program may import, as Deno tells it; asked for once. */
function modulesOf(entry: string): Info["modules"] {
  const modules = told.get(entry) ?? askForModules(entry);
  told.set(entry, modules);
  return modules;
}

function askForModules(entry: string): Info["modules"] {
  const root = new URL("../..", import.meta.url);
  const [command, ...words] = process.env.STREAM_DENO
    ? [process.env.STREAM_DENO]
    : ["npx", "-y", "deno@2"];
  const output = execFileSync(command, [...words, "info", "--json", entry], {
    cwd: fileURLToPath(root),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return (JSON.parse(output.replaceAll(root.href, "")) as Info).modules;
}

/** What is loaded when a program starts: neither types nor what it imports later. */
function loadedBy(entry: string): Set<string> {
  const modules = new Map(modulesOf(entry).map((module) => [module.specifier, module]));
  const loaded = new Set([entry]);
  for (const path of loaded) {
    for (const { code, isDynamic } of modules.get(path)?.dependencies ?? []) {
      if (code !== undefined && !isDynamic) loaded.add(code.specifier);
    }
  }
  return loaded;
}

/** The arrows between our files and out of them, imports of types and dynamic ones included. */
function importsOf(entry: string): Arrow[] {
  return modulesOf(entry).flatMap(({ specifier, error, dependencies = [] }) => {
    assertEquals(error, undefined, specifier);
    return dependencies.map(({ code, type }) => [specifier, (code ?? type)!.specifier] as const);
  }).filter(([from]) => !from.startsWith("vendor/"))
    .filter(([, to]) => !to.startsWith("vendor/"));
}

test("every import goes the way ARCHITECTURE.md says", () => {
  const arrows = [...importsOf("mod.ts"), ...importsOf("cli.ts")];
  assert(arrows.some(([from, to]) => from === "mod.ts" && to === "src/client.ts"));
  assert(arrows.some(([from]) => from === "cli.ts"));
  assertEquals(wrongArrows(arrows), []);
});

test("the viewer imports the client and the protocol, and nothing else of ours", () => {
  const arrows = importsOf("src/viewer/main.tsx").filter(([from]) =>
    from.startsWith("src/viewer/")
  );
  assert(arrows.some(([, to]) => to === "src/client.ts"));
  const others = arrows.map(([, to]) => to).filter((to) =>
    to.startsWith("src/") && !/^src\/(viewer\/|client\.ts$|protocol\.ts$)/.test(to)
  );
  assertEquals(others, []);
  assertEquals(circles(arrows), []);
});

test("the client of the engine is loaded by nobody who was given no cluster", () => {
  for (const entry of ["src/cli/commands/serve.ts", "mod.ts"]) {
    const loaded = [...loadedBy(entry)];
    assert(loaded.includes("src/server.ts"));
    assertEquals(loaded.filter((path) => /nats|cluster\/(engine|bucket)/.test(path)), []);
  }
  assert(loadedBy("src/cli/cluster/node.ts").has("src/cluster/engine.ts"));
});

test("no files import each other in a circle", () => {
  const entries = ["mod.ts", "cli.ts", "bench/main.ts", "bench/clients/worker.ts"];
  assertEquals(circles(entries.flatMap(importsOf)), []);
});

test("the check finds circles, however long, and nothing else", () => {
  const arrows: Arrow[] = [
    ["a.ts", "b.ts"],
    ["b.ts", "c.ts"],
    ["c.ts", "a.ts"],
    ["c.ts", "d.ts"],
    ["a.ts", "d.ts"],
    ["d.ts", "e.ts"],
    ["e.ts", "d.ts"],
    ["e.ts", "f.ts"],
    ["f.ts", "npm:hono@4"],
  ];
  assertEquals(circles(arrows), [["d.ts", "e.ts"], ["a.ts", "b.ts", "c.ts"]]);
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
      ["src/server/faces.ts", "src/server/http.ts"],
      ["src/server/http.ts", "src/server/http/content.ts"],
      ["src/server/http/content.ts", "src/server/route.ts"],
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
    ["src/server/websocket.ts", "src/session/upload.ts"],
    ["mod.ts", "src/session/control.ts"],
    ["src/server.ts", "src/utils.ts"],
    ["src/utils.ts", "src/protocol.ts"],
    ["src/server.ts", "scripts/demo.ts"],
    ["src/server/router.ts", "src/server/http.ts"],
    ["src/server.ts", "src/server/http.ts"],
    ["src/server.ts", "src/server/http/content.ts"],
    ["src/server/http/content.ts", "src/server/websocket/upgrade.ts"],
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
