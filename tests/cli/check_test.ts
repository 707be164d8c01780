/** `stream check`: every kind of damage is found, what can be mended is, and nothing else is touched. */
import fs from "node:fs";
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { follow, push } from "../../mod.ts";
import { isOfEarlierVersion, SqliteCatalog } from "../../src/catalog/sqlite.ts";
import { lockDirectory } from "../../src/cli/lock.ts";
import { main } from "../../src/cli/main.ts";
import { standardOutput } from "../../src/cli/output/output.ts";
import { StreamError } from "../../src/protocol.ts";
import { Resources, type ResourceView } from "../../src/resources.ts";
import { FileStorage } from "../../src/storage/file.ts";
import { indexPath, logPath } from "../../src/storage/layout.ts";
import { concat, linesOf, utf8 } from "../helpers/bytes.ts";
import { assertBytes, within } from "../helpers/frames/connection.ts";
import { olderData, unpack } from "../helpers/older/data.ts";
import { Place } from "../helpers/place.ts";
import { checksumOf, readAll, registration, statusWhere } from "../helpers/resources.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";

const BYTES = utf8("first\nsecond\n\nlast one");
const MINUTE_MS = 60_000;

/** What a run of the program gave. */
interface Checked {
  code: number;
  lines: string[];
  stderr: string;
}

async function check(directory: string, ...options: string[]): Promise<Checked> {
  const stdout = standardOutput();
  const original = { stdout: stdout.write, stderr: fs.write };
  const written = { stdout: "", stderr: "" };
  stdout.write = (bytes) => {
    written.stdout += new TextDecoder().decode(bytes);
    return Promise.resolve();
  };
  fs.write = ((_descriptor: number, bytes: Uint8Array, ...rest: unknown[]) => {
    written.stderr += new TextDecoder().decode(bytes);
    (rest.at(-1) as (error: null, byteCount: number) => void)(null, bytes.length);
  }) as typeof fs.write;
  try {
    const code = await main(["check", "--data", directory, ...options]);
    return { code, lines: written.stdout.split("\n").slice(0, -1), stderr: written.stderr };
  } finally {
    stdout.write = original.stdout;
    fs.write = original.stderr;
  }
}

/** A data directory with one resource of each kind, whose server ended. */
interface Data extends AsyncDisposable {
  directory: string;
  /** COMPLETED, with lines. */
  log: string;
  /** COMPLETED, without lines. */
  binary: string;
  /** COMPLETED, without a byte. */
  empty: string;
  failed: string;
  /** Interrupted and to be resumed. */
  running: string;
}

async function data(): Promise<Data> {
  const directory = await temporaryDirectory();
  const { log, binary, empty, failed, running } = await within("uploads", fill(directory.path));
  const dispose = () => directory[Symbol.asyncDispose]();
  const ids = { log, binary, empty, failed, running };
  return { directory: directory.path, ...ids, [Symbol.asyncDispose]: dispose };
}

async function fill(directory: string) {
  const resources = await opened(directory);
  const upload = async (supportsLineAccess: boolean, bytes: Uint8Array) => {
    const metadata = { ...registration().metadata, supportsLineAccess };
    const given = registration({ metadata, ownedBy: "SECRET" });
    const { appender } = await resources.server.register(given);
    appender.append(bytes.slice());
    return appender;
  };
  const completed = async (supportsLineAccess: boolean, bytes: Uint8Array) => {
    const appender = await upload(supportsLineAccess, bytes);
    await appender.complete(await checksumOf(bytes));
    return appender.resource.id;
  };
  const failed = await upload(true, BYTES);
  await failed.fail(new StreamError("ABORTED", "it was enough"));
  const running = await upload(true, BYTES);
  await statusWhere(running.resource, ({ currentSize }) => currentSize === BYTES.length);
  const ids = {
    log: await completed(true, BYTES),
    binary: await completed(false, BYTES),
    empty: await completed(true, new Uint8Array(0)),
    failed: failed.resource.id,
    running: running.resource.id,
  };
  await resources.close();
  return ids;
}

/** The resources of a directory, as a server has them. */
async function opened(directory: string) {
  const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
  const server = new Resources({ storage: new FileStorage(directory), catalog });
  await server.recover();
  const close = async () => {
    await server.close();
    await catalog.close();
  };
  return { server, close, [Symbol.asyncDispose]: close };
}

/** What a server shows of a resource, and what can be read of it. */
async function served(directory: string, id: string) {
  await using resources = await opened(directory);
  const view = await resources.server.get(id);
  await using handle = await resources.server.open(id);
  const { resource } = handle;
  const bytes = await readAll(resource);
  const { numberOfLines } = resource.status;
  const starts: number[] = [];
  for (let line = 0; line <= (numberOfLines ?? -1); line++) {
    starts.push(await resource.lineStart(line));
  }
  await handle.release();
  return { view, bytes, starts };
}

/** Fails unless a resource is FAILED, and everything said of it is true. */
function assertMarked({ view, bytes }: { view: ResourceView; bytes: Uint8Array }): void {
  const { status, digest, metadata } = view;
  assertEquals([status.transferStatus, digest], ["FAILED", null]);
  assertStringIncludes(status.failure!, "STORAGE_FAILED: stream check found that");
  assertEquals(status.currentSize, bytes.length);
  assertEquals(status.numberOfLines, metadata.supportsLineAccess ? linesOf(bytes) : null);
}

async function assertClean(directory: string): Promise<void> {
  assertEquals(await check(directory), {
    code: 0,
    lines: ["4 resources checked, 0 problems"],
    stderr: "",
  });
}

async function overwrite(path: string, byteOffset: number, byte: number): Promise<void> {
  const file = await open(path, "r+");
  await file.write(new Uint8Array([byte]), 0, 1, byteOffset);
  await file.close();
}

test("a directory without damage has no problems, and nothing in it changes", async () => {
  await using here = await data();
  const before = await served(here.directory, here.log);
  await assertClean(here.directory);
  const repaired = await check(here.directory, "--repair");
  assertEquals([repaired.code, repaired.lines], [0, ["4 resources checked, 0 problems"]]);
  assertEquals(await served(here.directory, here.log), before);
});

interface Damage {
  of: "log" | "binary" | "empty" | "failed";
  problem: RegExp;
  damage(path: string): Promise<unknown>;
}

/** Damage to the bytes, which is lost for good. */
const losses: Record<string, Damage> = {
  "data that is cut": {
    of: "log",
    problem: /it has 9 bytes and 2 lines, not 22 bytes and 4 lines/,
    damage: (path) => truncate(path, 9),
  },
  "data without lines that is cut": {
    of: "binary",
    problem: /it has 9 bytes and null lines, not 22 bytes and null lines/,
    damage: (path) => truncate(path, 9),
  },
  "data with more behind it": {
    of: "log",
    problem: /it has 27 bytes and 5 lines, not 22 bytes and 4 lines/,
    damage: (path) => appendFile(path, "\nmore"),
  },
  "an empty resource that is not empty": {
    of: "empty",
    problem: /it has 5 bytes and 1 lines, not 0 bytes and 0 lines/,
    damage: (path) => appendFile(path, "bytes"),
  },
  "a byte that changed": {
    of: "log",
    problem: /its bytes do not have the digest they had/,
    damage: (path) => overwrite(path, 1, 120),
  },
  "a byte that became a line break": {
    of: "log",
    problem: /it has 22 bytes and 5 lines, not 22 bytes and 4 lines/,
    damage: (path) => overwrite(path, 1, 10),
  },
  "data that is gone": {
    of: "log",
    problem: /its data is gone/,
    damage: (path) => rm(path),
  },
  "an empty resource whose file is gone": {
    of: "empty",
    problem: /its data is gone/,
    damage: (path) => rm(path),
  },
  "data of a FAILED resource that is cut": {
    of: "failed",
    problem: /it has 3 bytes and 1 lines, not 22 bytes and 4 lines/,
    damage: (path) => truncate(path, 3),
  },
};

for (const [name, { of, problem, damage }] of Object.entries(losses)) {
  test(`${name} is found, and after a repair the resource is FAILED and tells the truth`, async () => {
    await using here = await data();
    await damage(logPath(here.directory, here[of]));
    const found = await check(here.directory);
    assertEquals(found.code, 1);
    assertMatch(found.lines[0], problem);
    assertStringIncludes(found.lines[0], here[of]);
    const repaired = await check(here.directory, "--repair");
    assertMatch(repaired.lines[0], problem);
    assertStringIncludes(repaired.lines[0], "marked FAILED");
    await assertClean(here.directory);
    if (!name.endsWith("gone")) assertMarked(await served(here.directory, here[of]));
  });
}

/** Damage to the index, which follows from the data. */
const indexDamages: Record<string, (path: string) => Promise<unknown>> = {
  "an index that is cut": (path) => truncate(path, 7),
  "an index with an entry too many": (path) => appendFile(path, new Uint8Array(5)),
  "an index with a wrong entry": (path) => overwrite(path, 4, 3),
  "an index that is gone": (path) => rm(path),
};

for (const [name, damage] of Object.entries(indexDamages)) {
  test(`${name} is found and built anew, and the resource is what it was`, async () => {
    await using here = await data();
    const before = await served(here.directory, here.log);
    await damage(indexPath(logPath(here.directory, here.log)));
    const found = await check(here.directory);
    assertEquals(found, {
      code: 1,
      lines: [`${here.log}: its line break index is wrong`, "4 resources checked, 1 problem"],
      stderr: "",
    });
    const repaired = await check(here.directory, "--repair");
    assertEquals(repaired.lines[0], `${here.log}: its line break index is wrong; built anew`);
    await assertClean(here.directory);
    assertEquals(await served(here.directory, here.log), before);
  });
}

test("without --repair nothing is changed", async () => {
  await using here = await data();
  const path = logPath(here.directory, here.log);
  await truncate(path, 9);
  const first = await check(here.directory);
  assertEquals(await check(here.directory), first);
  assertEquals((await readFile(path)).length, 9);
});

/** A log that no record names, written so long ago. */
async function orphan(directory: string, ageMs: number): Promise<string> {
  const path = logPath(directory, crypto.randomUUID());
  await mkdir(dirname(path), { recursive: true });
  const time = new Date(Date.now() - ageMs);
  for (const file of [path, indexPath(path)]) {
    await writeFile(file, "one\n");
    await utimes(file, time, time);
  }
  return path;
}

test("a log that nobody knows is told, and moved to lost+found with its index unless it is young", async () => {
  await using here = await data();
  const old = await orphan(here.directory, 2 * MINUTE_MS);
  const young = await orphan(here.directory, 0);
  const found = await check(here.directory);
  assertEquals([found.code, found.lines.length], [1, 4]);
  assertStringIncludes(found.lines[0], `no record names ${old}`);
  assertStringIncludes(found.lines[1], `no record names ${young}`);
  assertStringIncludes(found.lines[2], "--rebuild");
  const repaired = await check(here.directory, "--repair");
  assertStringIncludes(repaired.lines[1], `${young}; left, as it is not a minute old`);
  const aside = await readdir(join(here.directory, "lost+found"));
  assertEquals(aside.sort(), [basename(old), basename(indexPath(old))]);
  assertEquals((await readFile(young)).length, 4);
  const time = new Date(Date.now() - 2 * MINUTE_MS);
  await utimes(young, time, time);
  await check(here.directory, "--repair");
  await assertClean(here.directory);
});

/** Removes the files of a catalog. */
async function loseCatalog(directory: string): Promise<void> {
  for (const end of ["", "-wal", "-shm"]) {
    await rm(join(directory, `catalog.sqlite${end}`), { force: true });
  }
}

test("a lost catalog is told at once, and --rebuild makes FAILED records of all data files", async () => {
  await using here = await data();
  const { directory } = here;
  const before = await served(directory, here.log);
  await loseCatalog(directory);
  const missing = await check(directory);
  assertEquals([missing.code === 0, missing.lines], [false, []]);
  assertStringIncludes(missing.stderr, "--rebuild");
  // A server that starts makes an empty one.
  await (await opened(directory)).close();
  const found = await check(directory, "--repair");
  assertEquals(found.lines.at(-1), "0 resources checked, 5 problems");
  for (const line of found.lines.slice(0, -1)) {
    assertMatch(line, /no record names .+; left, as the catalog is empty: was it lost\?/);
  }
  await rm(indexPath(logPath(directory, here.failed)));
  await overwrite(indexPath(logPath(directory, here.running)), 4, 3);
  const rebuilt = await check(directory, "--rebuild");
  assertEquals([rebuilt.code, rebuilt.lines.at(-1)], [1, "5 resources checked, 5 problems"]);
  for (const line of rebuilt.lines.slice(0, -1)) {
    assertMatch(line, /; made one: FAILED, (22|0) bytes$/);
  }
  assertEquals(await check(directory), {
    code: 0,
    lines: ["5 resources checked, 0 problems"],
    stderr: "",
  });
  const { view, bytes, starts } = await served(directory, here.log);
  assertEquals([bytes, starts], [before.bytes, before.starts]);
  const { metadata, status, digest } = view;
  assertEquals([status.transferStatus, status.durableSize, digest], ["FAILED", 22, null]);
  assertStringIncludes(status.failure!, "STORAGE_FAILED: the record was lost");
  assertEquals(metadata, {
    filename: `${here.log}.log`,
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const { view: binary } = await served(directory, here.failed);
  assertEquals([binary.metadata.filename, binary.status.numberOfLines], [
    `${here.failed}.bin`,
    null,
  ]);
  const { starts: mended } = await served(directory, here.running);
  assertEquals(mended, before.starts);
});

test("--rebuild is refused while a server runs, and leaves what it cannot take", async () => {
  await using here = await data();
  const wrong = join(here.directory, "ab", "cd", `${crypto.randomUUID()}.bin`);
  await mkdir(dirname(wrong), { recursive: true });
  await writeFile(wrong, "where am I?");
  const unlock = await lockDirectory(here.directory);
  const refused = await check(here.directory, "--rebuild");
  await unlock();
  assertEquals([refused.code === 0, refused.lines], [false, []]);
  assertStringIncludes(refused.stderr, "belongs to the running process");
  const { lines } = await check(here.directory, "--rebuild");
  assertMatch(lines[0], /; made none: it is not where its id belongs$/);
  assertEquals([lines.length, lines[1]], [2, "4 resources checked, 1 problem"]);
  assertEquals(String(await readFile(wrong)), "where am I?");
});

test("a catalog of an earlier version is not changed under the server that uses it", async () => {
  await using here = await temporaryDirectory();
  await unpack(olderData("2026-11-23"), here.path);
  const path = join(here.path, "catalog.sqlite");
  const unlock = await lockDirectory(here.path);
  const refused = await check(here.path);
  await unlock();
  assertEquals([refused.code === 0, refused.lines], [false, []]);
  assertStringIncludes(refused.stderr, "its catalog is of an earlier version");
  assertEquals(isOfEarlierVersion(path), true);
  assertEquals((await check(here.path)).lines, ["4 resources checked, 0 problems"]);
  assertEquals(isOfEarlierVersion(path), false);
});

test("a log in the wrong place is gone where it belongs, and nobody knows it where it is", async () => {
  await using here = await data();
  const wrong = join(here.directory, "ab", "cd", `${here.log}.bin`);
  await mkdir(dirname(wrong), { recursive: true });
  await rename(logPath(here.directory, here.log), wrong);
  const time = new Date(Date.now() - 2 * MINUTE_MS);
  await utimes(wrong, time, time);
  const { lines } = await check(here.directory, "--repair");
  assertEquals(lines.length, 3);
  assertStringIncludes(lines[0], "its data is gone");
  assertStringIncludes(lines[1], `no record names ${wrong}`);
  await assertClean(here.directory);
  assertBytes(await readFile(join(here.directory, "lost+found", basename(wrong))), BYTES);
});

test("several problems are all told, and all mended in one run", async () => {
  await using here = await data();
  await truncate(logPath(here.directory, here.log), 9);
  await overwrite(logPath(here.directory, here.binary), 0, 0);
  await rm(indexPath(logPath(here.directory, here.failed)));
  const { code, lines } = await check(here.directory, "--repair");
  // Shorter data has an index that is too long.
  assertEquals([code, lines.length, lines.at(-1)], [1, 5, "4 resources checked, 4 problems"]);
  await assertClean(here.directory);
});

test("an upload that is not finished is left alone, whatever its files look like", async () => {
  await using here = await data();
  const path = logPath(here.directory, here.running);
  await appendFile(indexPath(path), "garbage");
  const before = [await readFile(path), await readFile(indexPath(path))];
  await check(here.directory, "--repair");
  await assertClean(here.directory);
  assertEquals([await readFile(path), await readFile(indexPath(path))], before);
});

test("beside a running server finished resources are mended while uploads and followers go on", async () => {
  await using place = await Place.open("files");
  const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
  const finished = await push(place.url, metadata);
  await new Blob([BYTES as BlobPart]).stream().pipeTo(finished.writable);
  const [id] = finished.resumeToken.split(":");
  await rm(indexPath(logPath(place.directory, id)));
  const upload = await push(place.url, metadata);
  const following = new Response(follow(upload.reference)).bytes();
  const writer = upload.writable.getWriter();
  const part = utf8("one line of many\n");
  for (let parts = 0; parts < 20; parts++) {
    await writer.write(part.slice());
    const { lines } = await check(place.directory, "--repair");
    assertEquals(lines.at(-1), `1 resource checked, ${parts === 0 ? "1 problem" : "0 problems"}`);
  }
  await writer.close();
  const bytes = concat(Array(20).fill(part));
  assertBytes(await within("the follower", following), bytes);
  assertEquals((await upload.done).numberOfLines, 20);
  assertEquals((await check(place.directory)).lines, ["2 resources checked, 0 problems"]);
});

test("more resources than a page of the catalog are all checked", async () => {
  await using directory = await temporaryDirectory();
  {
    await using resources = await opened(directory.path);
    for (let count = 0; count < 130; count++) {
      const { appender } = await resources.server.register(registration());
      await appender.complete(await checksumOf(new Uint8Array(0)));
    }
  }
  assertEquals((await check(directory.path)).lines, ["130 resources checked, 0 problems"]);
});

test("a directory that holds no data of a server is named, and left as it is", async () => {
  await using directory = await temporaryDirectory();
  for (const path of [directory.path, join(directory.path, "nowhere")]) {
    const { code, lines, stderr } = await check(path, "--repair");
    assertEquals([code, lines], [1, []]);
    assertMatch(stderr, /^stream: .* is no data directory: there is no .*catalog\.sqlite/);
    assertStringIncludes(stderr, path);
  }
  assertEquals(await readdir(directory.path), []);
});

test("a catalog that is none is named", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(join(directory.path, "catalog.sqlite"), "this is no database, but long enough");
  const { code, stderr } = await check(directory.path);
  assertEquals(code, 1);
  assertMatch(
    stderr,
    /^stream: cannot open the catalog .*catalog\.sqlite: .* \(STORAGE_FAILED\)\n$/,
  );
});
