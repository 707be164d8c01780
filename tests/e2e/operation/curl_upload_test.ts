/** The real curl uploads to the real server. */
import { after, test } from "node:test";
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { xxhash128 } from "hash-wasm";
import { assertEquals, assertMatch } from "@std/assert";
import type { ResourceInfo } from "../../../src/protocol.ts";
import { type Kind, kinds, quickest, within, Workspace } from "../../helpers/cli.ts";
import { listed } from "../../helpers/seen.ts";

const DEADLINE_MS = 30_000;

/** One run of curl; it is killed when its `using` ends. */
class Curl implements Disposable {
  readonly #child: ChildProcess;
  readonly #chunks: Uint8Array[] = [];
  readonly #complaints: Uint8Array[] = [];
  readonly #ended: Promise<number | null>;
  #over = false;

  constructor(args: string[]) {
    const child = this.#child = spawn("curl", ["--silent", "--show-error", ...args]);
    child.stdout.on("data", (chunk) => this.#chunks.push(chunk));
    child.stderr.on("data", (chunk) => this.#complaints.push(chunk));
    child.stdin.on("error", () => {});
    this.#ended = new Promise((resolve, reject) => {
      child.on("error", (error) => reject(new Error(`curl does not start: ${error.message}`)));
      child.on("exit", () => this.#over = true);
      child.on("close", resolve);
    });
    this.#ended.catch(() => {});
  }

  /** Writes to its stdin. */
  write(text: string): void {
    this.#child.stdin!.write(text);
  }

  /** Ends its stdin. */
  end(): void {
    this.#child.stdin!.end();
  }

  /** What it printed, after it ended well. */
  async text(): Promise<string> {
    const late = () => new Error(`curl ${this.#child.spawnargs.join(" ")} still runs`);
    const code = await within(DEADLINE_MS, this.#ended, late);
    const text = Buffer.concat(this.#chunks).toString();
    if (code === 0) return text;
    throw new Error(`curl ended with ${code}: ${text}${Buffer.concat(this.#complaints)}`);
  }

  [Symbol.dispose](): void {
    // Deno's own way closes stdin first, and curl may find the end there before it is killed.
    if (!this.#over) process.kill(this.#child.pid!, "SIGKILL");
    this.#over = true;
  }
}

function curl(...args: string[]): Promise<string> {
  const run = new Curl(args);
  run.end();
  return run.text();
}

/** A server, and what it holds. */
class Site {
  constructor(readonly place: Workspace, readonly kind: Kind) {}

  get url(): string {
    return this.place.server;
  }

  /** Waits until a resource is as it should be. */
  async until(id: string, isRight: (info: ResourceInfo) => boolean): Promise<ResourceInfo> {
    for (const startedAtMs = performance.now();;) {
      const info = await (await fetch(`${this.url}/resources/${id}`)).json();
      if (isRight(info)) return info;
      if (performance.now() - startedAtMs > DEADLINE_MS) throw new Error(JSON.stringify(info));
      await sleep(20);
    }
  }
}

const sites = new Map<Kind, Promise<Site>>();

/** One server of a kind for all tests, each with resources of its own. */
function siteOf(kind: Kind): Promise<Site> {
  const start = async () => {
    const place = await Workspace.open();
    await place.serve(kind, ["--resume-window", "1h"]);
    return new Site(place, kind);
  };
  if (!sites.has(kind)) sites.set(kind, start());
  return sites.get(kind)!;
}

after(async () => {
  for (const site of sites.values()) await (await site).place[Symbol.asyncDispose]();
});

function onEach(behaviour: string, check: (site: Site) => Promise<void>) {
  for (const kind of kinds) {
    test(`curl to ${kind}: ${behaviour}`, async () => await check(await siteOf(kind)));
  }
}

onEach("a file is uploaded with -T and comes back by follow", async ({ place, url }) => {
  const bytes = randomBytes(65_536 * 3 + 1);
  await writeFile(place.path("a.bin"), bytes);
  const info: ResourceInfo = JSON.parse(await curl("-T", place.path("a.bin"), `${url}/resources/`));
  assertEquals([info.filename, info.currentSize], ["a.bin", bytes.length]);
  assertEquals(info.digest!.value, await xxhash128(bytes));
  const { code } = await place.run(quickest, ["follow", info.reference, "-o", place.path("b.bin")]);
  assertEquals(code, 0);
  assertEquals(Buffer.compare(await readFile(place.path("b.bin")), bytes), 0);
});

onEach("a pipe is followed while curl still sends it", async ({ place, url, kind }) => {
  const id = crypto.randomUUID();
  using upload = new Curl(["-T", ".", `${url}/resources/${id}?name=run.log`]);
  upload.write("one\n");
  await new Site(place, kind).until(id, ({ currentSize }) => currentSize === 4);
  const follow = place.start(quickest, ["follow", `${url}/resources/${id}`]);
  await follow.stdout.until((text) => text === "one\n");
  upload.write("two\n");
  await follow.stdout.until((text) => text === "one\ntwo\n");
  upload.end();
  const info: ResourceInfo = JSON.parse(await upload.text());
  assertEquals([info.transferStatus, info.numberOfLines], ["COMPLETED", 2]);
  assertEquals((await follow.exit()).code, 0);
});

onEach("a killed curl leaves what it sent, as FAILED", async (site) => {
  const id = crypto.randomUUID();
  using upload = new Curl(["-T", ".", `${site.url}/resources/${id}?name=run.log`]);
  upload.write("one\ntwo");
  await site.until(id, ({ currentSize }) => currentSize === 7);
  upload[Symbol.dispose]();
  const info = await site.until(id, ({ transferStatus }) => transferStatus === "FAILED");
  assertEquals([info.currentSize, info.numberOfLines], [7, 2]);
  assertMatch(info.failure!, /^INTERRUPTED: /);
});

onEach("a wrong digest is told with 422", async ({ place, url }) => {
  await writeFile(place.path("a"), "hello");
  const digest = (text: string) => createHash("sha256").update(text).digest("base64");
  const put = (text: string) =>
    curl(
      "-w",
      "%{http_code}",
      "-H",
      `Repr-Digest: sha-256=:${digest(text)}:`,
      "-T",
      place.path("a"),
      `${url}/resources/a`,
    );
  assertMatch(await put("hello"), /"algorithm":"sha256".*\n201$/);
  assertMatch(await put("hullo"), /"code":"CHECKSUM_MISMATCH".*\n422$/);
});

onEach("--data-binary uploads, by its name in the query", async ({ place, url }) => {
  await writeFile(place.path("a"), "one\ntwo\n");
  const info: ResourceInfo = JSON.parse(
    await curl("--data-binary", `@${place.path("a")}`, `${url}/resources?name=run.csv`),
  );
  assertEquals([info.mimeType, info.numberOfLines], ["text/csv", 2]);
});

onEach("an upload is continued by PATCH after curl was killed", async (site) => {
  const headers = await curl(
    "-D",
    "-",
    "-o",
    "/dev/null",
    "-X",
    "POST",
    "-H",
    "Upload-Complete: ?0",
    "--data-binary",
    "one\n",
    `${site.url}/resources?name=run.log`,
  );
  const at = /^location: (\S+)/im.exec(headers)![1];
  const id = at.split("/").at(-2)!;
  const patch = (offset: number, last: boolean) => [
    ...["-X", "PATCH", "-H", "Content-Type: application/partial-upload"],
    ...["-H", `Upload-Offset: ${offset}`, "-H", `Upload-Complete: ?${last ? 1 : 0}`, at],
  ];
  using broken = new Curl(["-T", ".", ...patch(4, true)]);
  broken.write("two\n");
  await site.until(id, ({ currentSize }) => currentSize === 8);
  broken[Symbol.dispose]();
  const state = await curl("--head", at);
  assertMatch(state, /^HTTP\/1.1 204/);
  assertMatch(state, /^upload-offset: 8\r$/im);
  assertMatch(state, /^upload-complete: \?0\r$/im);
  const info: ResourceInfo = JSON.parse(await curl("--data-binary", "three", ...patch(8, true)));
  assertEquals([info.transferStatus, info.currentSize, info.numberOfLines], ["COMPLETED", 13, 3]);
  assertMatch(await curl("--head", at), /^upload-complete: \?1\r$/im);
});

for (const kind of kinds) {
  test(`curl to ${kind}: a shutdown is answered with 503`, async () => {
    await using place = await Workspace.open();
    const server = await place.serve(kind);
    using upload = new Curl(["-w", "%{http_code}", "-T", ".", `${place.server}/resources/a.log`]);
    upload.write("one\n");
    while ((await listed(place)).length === 0) await sleep(20);
    server.signal("SIGTERM");
    assertMatch(await upload.text(), /"code":"SHUTDOWN".*\n503$/);
    assertEquals((await server.exit()).code, 0);
  });
}
