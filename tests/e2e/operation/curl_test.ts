/** Content as curl gets it: exit codes are what people's scripts see. */
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { StreamError } from "../../../src/protocol.ts";
import { Program } from "../../helpers/cli.ts";
import { eventually } from "../../helpers/frames/connection.ts";
import { completed, listeners, Written } from "../../helpers/content.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

/** What curl says of a response that broke off: a partial file (18), or a failed receive (56). */
const BROKEN = [18, 56];
const CANNOT_RESUME = 33;
const LIVE = "1099511627775";

function curl(...args: string[]): Program {
  return new Program(spawn("curl", ["-sS", "-N", ...args]), `curl ${args.join(" ")}`, true);
}

/** Text of lines that all differ. */
function numbered(lines: number): string {
  return Array.from({ length: lines }, (_, index) => `line ${index}\n`).join("");
}

for (const { name, start } of listeners) {
  test(`${name}: curl follows an upload line by line, to its end`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("one\n");
    const following = curl(written.url);
    await following.stdout.until((text) => text === "one\n");
    await written.write("two\n");
    await following.stdout.until((text) => text === "one\ntwo\n");
    await written.complete();
    assertEquals(await following.exit(), { code: 0, stdout: "one\ntwo\n", stderr: "" });
  });

  test(`${name}: curl follows from the middle, and from what comes later`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("0123456789");
    const middle = curl("-r", `8-${LIVE}`, written.url);
    const later = curl("-r", `12-${LIVE}`, written.url);
    await middle.stdout.until((text) => text === "89");
    await written.write("abcd");
    await written.complete();
    assertEquals((await middle.exit()).stdout, "89abcd");
    const { code, stdout } = await later.exit();
    assertEquals([code, stdout], [0, "cd"]);
  });

  test(`${name}: curl fails with a transfer that fails, and has every byte`, async () => {
    await using server = await start();
    const written = await (await Written.begin(server)).write("one\n");
    const live = curl(written.url);
    await live.stdout.until((text) => text === "one\n");
    written.appender.append(new TextEncoder().encode("two\n"));
    await written.fail(new StreamError("ABORTED", "given up"));
    for (const curled of [live, curl(written.url), curl("-r", "0-", written.url)]) {
      const { code, stdout, stderr } = await curled.exit();
      assert(BROKEN.includes(code!), `${code}: ${stderr}`);
      assertEquals(stdout, "one\ntwo\n");
    }
    const bounded = await curl("-r", "4-6", written.url).exit();
    assertEquals([bounded.code, bounded.stdout], [0, "two"]);
  });

  test(`${name}: curl -C - goes on where it was interrupted`, async () => {
    await using server = await start();
    await using directory = await temporaryDirectory();
    const text = numbered(500_000);
    const { url } = await completed(server, text);
    const file = join(directory.path, "file");
    const first = curl("--limit-rate", "100K", "-o", file, url);
    await eventually("the first bytes", () => existsSync(file) && statSync(file).size > 0);
    await first.kill("SIGKILL");
    assertLess(statSync(file).size, text.length);
    assertEquals((await curl("-C", "-", "-o", file, url).exit()).code, 0);
    assert(await readFile(file, "utf8") === text);
    assertEquals((await curl("-C", "-", "-o", file, url).exit()).code, 0);
    assert(await readFile(file, "utf8") === text);
  });

  test(`${name}: curl -C - never takes a failed transfer for a whole one`, async () => {
    await using server = await start();
    await using directory = await temporaryDirectory();
    const written = await (await Written.begin(server)).write("0123456789");
    await written.fail(new StreamError("ABORTED", "given up"));
    const file = join(directory.path, "file");
    await writeFile(file, "01234");
    const { code } = await curl("-C", "-", "-o", file, written.url).exit();
    assert(BROKEN.includes(code!), `${code}`);
    assertEquals(await readFile(file, "utf8"), "0123456789");
    const again = await curl("-C", "-", "-o", file, written.url).exit();
    assertEquals(again.code, CANNOT_RESUME);
    assertEquals(await readFile(file, "utf8"), "0123456789");
  });

  test(`${name}: ranges by curl: the last bytes, and 416`, async () => {
    await using server = await start();
    const { url } = await completed(server, "0123456789");
    assertEquals((await curl("-f", "-r", "-3", url).exit()).stdout, "789");
    const beyond = await curl("-i", "-r", "10-", url).exit();
    assertStringIncludes(beyond.stdout, " 416 ");
    assertStringIncludes(beyond.stdout.toLowerCase(), "content-range: bytes */10");
    assertStringIncludes(beyond.stdout, '"code":"RANGE_NOT_AVAILABLE"');
  });

  test(`${name}: curl -I shows what a GET would have`, async () => {
    await using server = await start();
    const { url } = await completed(server, "0123456789");
    const { code, stdout } = await curl("-I", url).exit();
    assertEquals(code, 0);
    assertStringIncludes(stdout.toLowerCase(), "content-length: 10\r\n");
    assertStringIncludes(stdout.toLowerCase(), "accept-ranges: bytes\r\n");
  });

  test(`${name}: curl --compressed moves less and has the same`, async () => {
    await using server = await start();
    const text = numbered(100_000);
    const { url } = await completed(server, text);
    assert((await curl("--compressed", url).exit()).stdout === text);
    const moved = await curl("--compressed", "-o", "/dev/null", "-w", "%{size_download}", url)
      .exit();
    assertLess(Number(moved.stdout), text.length / 2);
  });

  test(`${name}: curl -J takes the name of the upload`, async () => {
    await using server = await start();
    await using directory = await temporaryDirectory();
    const { url } = await completed(server, "0123456789");
    await curl("-OJ", "--output-dir", directory.path, `${url}?download`).exit();
    assertEquals(await readFile(join(directory.path, "a.log"), "utf8"), "0123456789");
  });
}
