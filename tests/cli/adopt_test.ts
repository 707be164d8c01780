/** Data directories as the Java server leaves them, and what `stream adopt` makes of them. */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { eitherRuntime, type Kind, own, quickest, wordsOf } from "../helpers/cli.ts";
import { lockDirectory } from "../../src/cli/lock.ts";
import { isResourceId } from "../../src/protocol.ts";
import {
  createServer,
  deleteResource,
  FileStorage,
  follow,
  getResource,
  listResources,
  loadRuntime,
  open,
  type ResourceInfo,
  SqliteCatalog,
} from "../../mod.ts";

const test = eitherRuntime();

const root = mkdtempSync(join(tmpdir(), "stream-adopt-"));
after(() => rmSync(root, { recursive: true }));

let directories = 0;
const newDirectory = () => join(root, `${++directories}`);

function startOf(kind: Kind, args: string[]) {
  const [command, ...words] = wordsOf(kind);
  return spawn(command, [...words, ...args]);
}
const start = (...args: string[]) => startOf(own, args);

/** How the program ended. */
interface Exit {
  code: number | null;
  lines: string[];
  stderr: string;
}

/** What one table decides, and what stands beside. */
const quickly = (...args: string[]) => ended(startOf(quickest, args));
const stream = (...args: string[]) => ended(start(...args));

async function ended(child: ReturnType<typeof start>): Promise<Exit> {
  const chunks: Buffer[] = [], errors: Buffer[] = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.stderr.on("data", (chunk) => errors.push(chunk));
  const [code] = await once(child, "close");
  const stdout = Buffer.concat(chunks).toString();
  return { code, lines: stdout.split("\n").slice(0, -1), stderr: Buffer.concat(errors).toString() };
}

async function assertAdopts(args: string[], code: number, expected: string[]): Promise<void> {
  const { lines, stderr, ...exit } = await stream("adopt", ...args);
  assertEquals({ exit, stderr, lines: lines.sort() }, {
    exit: { code },
    stderr: "",
    lines: expected.sort(),
  });
}

async function assertRefuses(args: string[], code: number, reason: RegExp): Promise<void> {
  const exit = await quickly("adopt", ...args);
  assertEquals([exit.code, exit.lines], [code, []], exit.stderr);
  assertMatch(exit.stderr, reason);
}

interface Counts {
  adopted?: number;
  known?: number;
  built?: number;
  rebuilt?: number;
  left?: number;
}

const summary = ({ adopted = 0, known = 0, built = 0, rebuilt = 0, left = 0 }: Counts) =>
  `${adopted} adopted, ${known} already there, ${built} indexes built, ${rebuilt} rebuilt, ` +
  `${left} left alone`;

const rebuiltLine = (path: string) => `${path}.idx: did not name the line breaks; built anew`;
const leftLine = (path: string, why: string) => `${path}: left alone: ${why}`;
const STRAY = "it is neither a data file nor the index of one";

/** The index of a text, made the slow and obvious way. */
function indexOf(content: Uint8Array): Uint8Array {
  const entries: Buffer[] = [];
  content.forEach((byte, at) => {
    if (byte !== 10) return;
    const entry = Buffer.alloc(5);
    entry.writeUIntBE(at, 0, 5);
    entries.push(entry);
  });
  return Buffer.concat(entries);
}

const hashed = (id: string) => createHash("md5").update(id).digest("hex");
const unhashed = (id: string) => id.length < 4 ? "xxyy" : id;
const binPath = (directory: string, id: string, place = hashed(id)) =>
  join(directory, place.slice(0, 2), place.slice(2, 4), `${id}.bin`);

const WRITTEN_AT_MS = Date.parse("2024-05-06T07:08:09.123Z");

/** Writes a log as the Java server does; returns the path of its data. */
function put(
  directory: string,
  id: string,
  content: Uint8Array | string,
  { index, place = hashed }: { index?: Uint8Array; place?: (id: string) => string } = {},
): string {
  const path = binPath(directory, id, place(id));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  utimesSync(path, new Date(WRITTEN_AT_MS), new Date(WRITTEN_AT_MS));
  if (index !== undefined) writeFileSync(`${path}.idx`, index);
  return path;
}

/** All files below a directory: their paths, times and contents. */
function filesOf(directory: string): Record<string, string> {
  const paths = readdirSync(directory, { recursive: true }) as string[];
  const files = paths.sort().map((path) => [path, statSync(join(directory, path))] as const)
    .filter(([, stats]) => stats.isFile());
  return Object.fromEntries(files.map(([path, { mtimeMs }]) => {
    const digest = createHash("md5").update(readFileSync(join(directory, path))).digest("hex");
    return [path, `${Math.floor(mtimeMs)} ${digest}`];
  }));
}

interface Served extends AsyncDisposable {
  url: string;
}

async function serve(directory: string): Promise<Served> {
  const storage = new FileStorage(directory);
  const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
  const server = createServer({ runtime: await loadRuntime(), storage, catalog });
  const { port } = await server.listen({ port: 0 });
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await server.close();
      await storage.close();
      await catalog.close();
    },
  };
}

async function served(directory: string): Promise<Map<string, ResourceInfo>> {
  await using server = await serve(directory);
  const infos = await Array.fromAsync(listResources(server.url));
  return new Map(infos.map((info) => [info.id, info]));
}

/** Fails unless every byte, every line and the status are served, and `stream check` finds them right. */
async function assertServes(
  directory: string,
  contents: Record<string, { content: Uint8Array; lineAccess: boolean }>,
): Promise<void> {
  {
    await using server = await serve(directory);
    for (const [id, { content, lineAccess }] of Object.entries(contents)) {
      const text = Buffer.from(content).toString();
      const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
      const info = await getResource(id, { server: server.url });
      assertEquals(
        [info.transferStatus, info.currentSize, info.durableSize, info.numberOfLines],
        ["COMPLETED", content.length, content.length, lineAccess ? lines.length : null],
        id,
      );
      const bytes = await new Response(follow(info.reference)).bytes();
      assert(Buffer.compare(bytes, content) === 0, id);
      const from = Math.floor(content.length / 3);
      const tail = await new Response(follow(info.reference, { from })).bytes();
      assert(Buffer.compare(tail, content.subarray(from)) === 0, id);
      if (!lineAccess) continue;
      const download = await open(info.reference);
      assertEquals(await Array.fromAsync(download.lines(0, lines.length)), lines, id);
      download.close();
    }
  }
  const count = Object.keys(contents).length;
  const { lines } = await quickly("check", "--data", directory);
  const what = count === 1 ? "1 resource" : `${count} resources`;
  assertEquals(lines, [`${what} checked, 0 problems`]);
}

const TEXT = new Uint8Array(Buffer.from("first\nsecond\r\n\nthird, without an end"));
const BYTES = new Uint8Array(randomBytes(3_000_000));
const text = { content: TEXT, lineAccess: true };
const binary = { content: BYTES, lineAccess: false };
/** Ids as a document store makes them. */
const oid = (number: number) => `65f1c0ffee00000000${number.toString(16).padStart(6, "0")}`;
const UUID = "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11";

test("an id has 8 to 64 lower-case hexadecimal digits and dashes, and begins with a digit", () => {
  const ids = [oid(1), UUID, "0123abcd", "f".repeat(64), "2026-11-23"];
  for (const id of ids) assert(isResourceId(id), id);
  const others = [
    ...[
      "",
      "-0123abcd",
      "f".repeat(65),
      "0123abc",
      UUID.toUpperCase(),
      "build-17-log",
      "a.b",
      "a/b",
      "a\\b",
      "%61",
      "a%2f",
      "..",
      "a_b",
      "a b",
      "a\n",
    ],
    ...["a\0", " a", "é", "a:b", "~", "__proto__", "../../etc/passwd"],
  ];
  for (const text of others) assert(!isResourceId(text), JSON.stringify(text));
});

test("a hashed directory becomes a data directory; wrong indexes are built anew", async () => {
  const directory = newDirectory();
  const right = indexOf(TEXT);
  put(directory, oid(1), TEXT, { index: right });
  put(directory, UUID, BYTES);
  put(directory, oid(2), "", { index: new Uint8Array(0) });
  const wrong = {
    torn: put(directory, oid(3), TEXT, { index: right.subarray(0, 8) }),
    short: put(directory, oid(4), TEXT, { index: right.subarray(0, 10) }),
    long: put(directory, oid(5), TEXT, { index: Buffer.concat([right, right]) }),
    zeros: put(directory, oid(6), TEXT, { index: new Uint8Array(right.length) }),
    other: put(directory, oid(7), TEXT, { index: right.map((byte) => byte && byte + 1) }),
    empty: put(directory, oid(8), TEXT, { index: new Uint8Array(0) }),
  };
  await assertAdopts([directory], 0, [
    ...Object.values(wrong).map(rebuiltLine),
    summary({ adopted: 9, rebuilt: 6 }),
  ]);
  for (const path of Object.values(wrong)) {
    assertEquals(new Uint8Array(readFileSync(`${path}.idx`)), new Uint8Array(right));
  }
  const texts = [1, 3, 4, 5, 6, 7, 8].map((number) => [oid(number), text]);
  await assertServes(directory, {
    ...Object.fromEntries(texts),
    [UUID]: binary,
    [oid(2)]: { content: new Uint8Array(0), lineAccess: true },
  });
});

test("an unhashed directory is put in order; missing indexes are built where wanted", async () => {
  const directory = newDirectory();
  const place = unhashed;
  for (const id of [oid(1), UUID, "ab1-0123"]) put(directory, id, TEXT, { place });
  put(directory, oid(2), TEXT, { place, index: indexOf(TEXT) });
  await assertAdopts([directory, "--text"], 0, [
    "4 moved, 0 copied",
    summary({ adopted: 4, built: 3 }),
  ]);
  const contents = { [oid(1)]: text, [UUID]: text, "ab1-0123": text, [oid(2)]: text };
  const logs = Object.keys(contents).flatMap((id) => {
    const path = binPath("", id);
    return [path, `${path}.idx`];
  });
  assertEquals(
    Object.keys(filesOf(directory)).sort(),
    [...logs, "catalog.sqlite", "catalog.sqlite-reserve", "lock.sqlite"].sort(),
  );
  for (const old of ["65", "0e", "ab"]) assert(!existsSync(join(directory, old)), old);
  await assertServes(directory, contents);
});

test("sizes, lines, digest and times are what an upload would have got", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  await assertAdopts([directory, "--context", "old"], 0, [summary({ adopted: 1 })]);
  const info = (await served(directory)).get(oid(1))!;
  const { createdAt, updatedAt, digest, contextId, filename, mimeType } = info;
  const time = new Date(WRITTEN_AT_MS).toISOString();
  assertEquals([createdAt, updatedAt, contextId], [time, time, "old"]);
  assertEquals([filename, mimeType], [`${oid(1)}.log`, "text/plain"]);
  assertEquals(digest?.algorithm, "xxh128");
  assertMatch(digest!.value, /^[0-9a-f]{32}$/);
});

test("adopting again registers only what is new", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  await assertAdopts([directory], 0, [summary({ adopted: 1 })]);
  await assertAdopts([directory, "--name", "other"], 0, [summary({ known: 1 })]);
  put(directory, oid(2), BYTES);
  await assertAdopts([directory, "--name", "other"], 0, [summary({ adopted: 1, known: 1 })]);
  const names = [...await served(directory)].map(([id, { filename }]) => [id, filename]).sort();
  assertEquals(names, [[oid(1), `${oid(1)}.log`], [oid(2), "other"]]);
});

test("what was adopted can be deleted, and is not adopted again", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  put(directory, oid(2), BYTES);
  await assertAdopts([directory], 0, [summary({ adopted: 2 })]);
  {
    await using server = await serve(directory);
    await deleteResource(oid(1), { server: server.url });
  }
  await assertAdopts([directory], 0, [summary({ known: 1 })]);
  await assertServes(directory, { [oid(2)]: binary });
});

test("what is no log is named, left alone and makes the exit code 1", async () => {
  const directory = newDirectory();
  const good = put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  const badId = put(directory, "no_id", TEXT);
  const tooLarge = put(directory, oid(2), "");
  truncateSync(tooLarge, 2 ** 40 + 1);
  const strays = [
    join(directory, "notes\x1b.txt"),
    join(dirname(good), "draft.tmp"),
    `${binPath(directory, oid(3))}.idx`,
    `${dirname(dirname(good))}/loose.bin`,
  ];
  mkdirSync(dirname(strays[2]), { recursive: true });
  for (const path of strays) writeFileSync(path, "stray");
  symlinkSync(good, `${dirname(good)}/link.bin`);
  mkdirSync(join(directory, "backup"));
  strays.push(`${dirname(good)}/link.bin`, join(directory, "backup"));
  const before = filesOf(dirname(badId));
  const oddities = [
    leftLine(badId, "an id has 8 to 64 lower-case hexadecimal digits and '-'"),
    leftLine(tooLarge, "it is larger than a resource may be, 1 TiB"),
    ...strays.map((path) => leftLine(path.replace("\x1b", "\\x1b"), STRAY)),
  ];
  const left = oddities.length;
  await assertAdopts([directory], 1, [...oddities, summary({ adopted: 1, left })]);
  await assertAdopts([directory], 1, [...oddities, summary({ known: 1, left })]);
  assertEquals(filesOf(dirname(badId)), before);
  for (const path of strays) assert(existsSync(path), path);
});

test("of two files with one id the one that is in its place wins", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  const second = put(directory, oid(1), "another text\n", { place: unhashed });
  const { code, lines } = await stream("adopt", directory);
  assertEquals([code, lines.length, lines[1]], [1, 2, summary({ adopted: 1, left: 1 })]);
  assert(lines[0].startsWith(`${second}: left alone: `), lines[0]);
  assertEquals(readFileSync(second, "utf8"), "another text\n");
  await assertAdopts([directory], 1, [
    leftLine(second, `the catalog knows it with ${TEXT.length} bytes, not 13`),
    summary({ known: 1, left: 1 }),
  ]);
});

test("with --data the files are moved there, beside what is there already", async () => {
  const [directory, data] = [newDirectory(), newDirectory()];
  put(data, oid(9), TEXT, { index: indexOf(TEXT) });
  await assertAdopts([data], 0, [summary({ adopted: 1 })]);
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  put(directory, oid(2), BYTES, { place: unhashed });
  const torn = put(directory, oid(3), TEXT, { index: indexOf(TEXT).subarray(0, 7) });
  await assertAdopts([directory, "--data", data], 0, [
    rebuiltLine(torn.replace(directory, data)),
    "3 moved, 0 copied",
    summary({ adopted: 3, rebuilt: 1 }),
  ]);
  assertEquals(readdirSync(directory), []);
  await assertServes(data, { [oid(9)]: text, [oid(1)]: text, [oid(2)]: binary, [oid(3)]: text });
  await assertAdopts([directory, "--data", data], 0, [summary({})]);
});

test("with --copy the originals stay as they are", async () => {
  const [directory, data] = [newDirectory(), newDirectory()];
  put(directory, oid(1), TEXT, { index: indexOf(TEXT).subarray(0, 7) });
  put(directory, oid(2), BYTES, { place: unhashed });
  const before = filesOf(directory);
  await assertAdopts([directory, "--data", data, "--copy", "--text"], 0, [
    rebuiltLine(binPath(data, oid(1))),
    "0 moved, 2 copied",
    summary({ adopted: 2, built: 1, rebuilt: 1 }),
  ]);
  await assertAdopts([directory, "--data", data, "--copy"], 0, [summary({ known: 2 })]);
  assertEquals(filesOf(directory), before);
  assertEquals(statSync(binPath(data, oid(2))).mtimeMs, WRITTEN_AT_MS);
  assertEquals((await served(data)).get(oid(2))?.createdAt, "2024-05-06T07:08:09.123Z");
});

test("names, types and lines come from the index, a list, and rules", async () => {
  const adopted = async (put: (directory: string) => void, ...args: string[]) => {
    const directory = newDirectory();
    put(directory);
    assertEquals((await quickly("adopt", directory, ...args)).code, 0);
    return [...await served(directory)].sort().map((
      [, { filename, mimeType, supportsLineAccess }],
    ) => `${filename} ${mimeType} ${supportsLineAccess}`);
  };
  const plain = (directory: string) => put(directory, "a1000000", TEXT);
  const indexed = (directory: string) => put(directory, "a1000000", TEXT, { index: indexOf(TEXT) });
  const octets = "application/octet-stream";
  assertEquals(await adopted(plain), [`a1000000.bin ${octets} false`]);
  assertEquals(await adopted(plain, "--text"), ["a1000000.log text/plain true"]);
  assertEquals(await adopted(plain, "--type", "text/csv"), ["a1000000.log text/csv true"]);
  assertEquals(await adopted(plain, "--type", "text/csv", "--binary"), [
    "a1000000.bin text/csv false",
  ]);
  assertEquals(await adopted(plain, "--name", "{id}-{id}.json"), [
    "a1000000-a1000000.json application/json false",
  ]);
  assertEquals(await adopted(plain, "--name", "{id}.log", "--text"), [
    "a1000000.log text/plain true",
  ]);
  assertEquals(await adopted(indexed, "--binary", "--name", "x.png"), ["x.png image/png true"]);

  const names = newDirectory();
  writeFileSync(
    names,
    "a1000000\tserver.log\r\n\na2000000\timage\timage/png\nff000000\tnobody's\n",
  );
  const three = (directory: string) =>
    ["a1000000", "a2000000", "a3000000"].map((id) => put(directory, id, TEXT));
  assertEquals(await adopted(three, "--names", names, "--name", "rest-{id}.xml"), [
    "server.log text/plain true",
    "image image/png false",
    "rest-a3000000.xml application/xml false",
  ]);
});

test("a rule for names gives no lines to files that had none", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT, { index: indexOf(TEXT) });
  put(directory, oid(2), BYTES);
  await assertAdopts([directory, "--name", "{id}.log"], 0, [summary({ adopted: 2 })]);
  const filenames = [...(await served(directory)).values()].map(({ filename }) => filename);
  assertEquals(filenames.sort(), [`${oid(1)}.log`, `${oid(2)}.log`]);
  await assertServes(directory, { [oid(1)]: text, [oid(2)]: binary });
});

test("an adoption that was cut off is completed by the next one", async () => {
  const [directory, data] = [newDirectory(), newDirectory()];
  const index = indexOf(TEXT);
  const half = (id: string, step: (from: string, to: string) => void) => {
    const from = put(directory, id, TEXT, { index, place: unhashed });
    const to = binPath(data, id);
    mkdirSync(dirname(to), { recursive: true });
    step(from, to);
  };
  half(oid(1), (from, to) => linkSync(`${from}.idx`, `${to}.idx`));
  half(oid(2), (from, to) => {
    linkSync(`${from}.idx`, `${to}.idx`);
    linkSync(from, to);
    writeFileSync(`${to}.idx.new`, "half an index");
  });
  half(oid(3), (_, to) => writeFileSync(`${to}.new`, "half a copy"));
  half(oid(4), (from, to) => {
    copyFileSync(from, to);
    utimesSync(to, new Date(WRITTEN_AT_MS), new Date(WRITTEN_AT_MS));
  });
  const { code, lines } = await stream("adopt", directory, "--data", data);
  assertEquals([code, lines.at(-1)], [0, summary({ adopted: 4 })]);
  await assertServes(data, Object.fromEntries([1, 2, 3, 4].map((n) => [oid(n), text])));

  // Registered, but not yet without its first name.
  const from = binPath(directory, oid(1), unhashed(oid(1)));
  mkdirSync(dirname(from), { recursive: true });
  linkSync(binPath(data, oid(1)), from);
  await assertAdopts([directory, "--data", data], 0, [summary({ known: 2 })]);
  // Of what was copied the original stays.
  assertEquals(Object.keys(filesOf(directory)).length, 2);
});

test("an adoption that is killed can be repeated", async () => {
  const [directory, data] = [newDirectory(), newDirectory()];
  const ids = Array.from({ length: 50 }, (_, number) => oid(number));
  for (const id of ids) put(directory, id, TEXT, { index: new Uint8Array(3), place: unhashed });
  const child = start("adopt", directory, "--data", data);
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  const { code, lines } = await stream("adopt", directory, "--data", data);
  assertEquals(code, 0);
  assertMatch(lines.at(-1)!, /^\d+ adopted, [01] already there, .* 0 left alone$/);
  assertEquals(readdirSync(directory), []);
  await assertServes(data, Object.fromEntries(ids.map((id) => [id, text])));
});

test("a directory that a server holds is refused, and so is what is no Java directory", async () => {
  const [directory, data] = [newDirectory(), newDirectory()];
  put(directory, oid(1), TEXT);
  const before = filesOf(directory);
  const unlock = await lockDirectory(data);
  await assertRefuses([directory, "--data", data], 1, /running process \d+: stop it.*\(CONFLICT\)/);
  await unlock();
  for (const path of [newDirectory(), binPath(directory, oid(1))]) {
    await assertRefuses([path, "--data", data], 1, /cannot adopt .*\(SOURCE_FAILED\)/);
  }
  const other = newDirectory();
  mkdirSync(join(other, "src"), { recursive: true });
  await assertRefuses([other], 1, /is no data directory of a Java server: .*\(SOURCE_FAILED\)/);
  assertEquals(readdirSync(other), ["src"]);
  assertEquals(filesOf(directory), before);
  await assertAdopts([directory], 0, [summary({ adopted: 1 })]);
  await assertRefuses(
    [directory, "--data", data],
    1,
    /is a data directory of stream.*\(CONFLICT\)/,
  );
  assertEquals(readdirSync(data), ["lock.sqlite"]);
});

test("rules that make no sense are refused before anything is touched", async () => {
  const directory = newDirectory();
  put(directory, oid(1), TEXT);
  const before = filesOf(directory);
  const names = newDirectory();
  const refused: [string[], RegExp][] = [
    [["--text", "--binary"], /--text and --binary exclude each other/],
    [["--copy"], /--copy goes with --data/],
    [["--type", "text"], /MIME type "text" is not type\/subtype/],
    [["--name", "{id}".repeat(17)], /is longer than 1024 bytes/],
    [["--context", "a\nb"], /upload context/],
  ];
  for (const [args, reason] of refused) await assertRefuses([directory, ...args], 2, reason);
  for (const line of ["a1000000", "a1000000 name", "a_1\tname", "a1000000\ta\ttext/plain\tmore"]) {
    writeFileSync(names, `0123abcd\tname\n${line}\n`);
    await assertRefuses([directory, "--names", names], 2, /: line 2 is not ID, tab, NAME/);
  }
  for (const line of ["a1000000\t", "a1000000\tname\ttext"]) {
    writeFileSync(names, line);
    await assertRefuses([directory, "--names", names], 2, /\(BAD_METADATA\)/);
  }
  await assertRefuses([directory, "--names", newDirectory()], 1, /\(SOURCE_FAILED\)/);
  assertEquals(filesOf(directory), before);
});
