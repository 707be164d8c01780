import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { assert, assertEquals } from "@std/assert";

const directory = mkdtempSync(join(tmpdir(), "stream-stdin-"));
after(() => rmSync(directory, { recursive: true }));

const pipeModule = new URL("../../src/source/pipe.ts", import.meta.url).href;
/** Starts of programs that this runtime runs with `source` as the source of their standard input. */
const prelude = `
  import process from "node:process";
  import { openStdin } from ${JSON.stringify(pipeModule)};
  const source = openStdin();
`;
const copy = `${prelude}
  for await (const chunk of source.stream) {
    if (chunk.length > 65536) process.exit(9);
    process.stdout.write(chunk);
  }`;

/** The words of a command that runs such a program. */
function words(program: string): string[] {
  return [process.execPath, process.versions.bun === undefined ? "eval" : "-e", program];
}

/** Runs a shell command in which `"$@"` is the program. */
function shell(command: string, program: string): ChildProcess {
  return spawn("sh", ["-c", command, "sh", ...words(program)]);
}

/** What a process prints, and its exit code. */
async function resultOf(
  child: ChildProcess,
): Promise<{ output: Buffer; errors: string; code: number }> {
  const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
  const [output, errors, [code]] = await Promise.all([
    Array.fromAsync(child.stdout!),
    Array.fromAsync(child.stderr!),
    once(child, "close"),
  ]);
  clearTimeout(limit);
  return { output: Buffer.concat(output), errors: Buffer.concat(errors).toString(), code };
}

test("every burst of a pipe is passed on before the next one comes", async () => {
  const child = shell('exec "$@"', copy);
  const output = child.stdout![Symbol.asyncIterator]();
  for (const burst of ["first\n", "second\n", "no line break", "\n"]) {
    child.stdin!.write(burst);
    assertEquals(Buffer.from((await output.next()).value).toString(), burst);
  }
  child.stdin!.end();
  assertEquals((await output.next()).done, true);
});

test("a pipe is read exactly, in chunks of at most 64 KiB", async () => {
  const content = randomBytes(3_000_001);
  const child = shell('exec "$@"', copy);
  child.stdin!.end(content);
  const { output, code } = await resultOf(child);
  assertEquals(code, 0);
  assert(output.equals(content));
});

test("a file is read exactly as standard input", async () => {
  const content = randomBytes(3_000_001), path = join(directory, "content");
  writeFileSync(path, content);
  const { output, code } = await resultOf(shell(`exec "$@" < ${path}`, copy));
  assertEquals(code, 0);
  assert(output.equals(content));
});

test("an empty standard input ends at once", async () => {
  const { output, code } = await resultOf(shell('exec "$@" < /dev/null', copy));
  assertEquals([output.length, code], [0, 0]);
});

test("a standard input that is closed or a directory is an error, and not an empty one", async () => {
  const failure = `
    import process from "node:process";
    import { openStdin } from ${JSON.stringify(pipeModule)};
    try {
      openStdin();
    } catch (error) {
      process.stdout.write(error.code + " " + error.message);
    }`;
  for (const [input, reason] of [["<&-", "it is closed"], ["< /", "it is a directory"]]) {
    const { output } = await resultOf(shell(`exec "$@" ${input}`, failure));
    assertEquals(`${output}`, `SOURCE_FAILED standard input cannot be read: ${reason}`);
  }
});

test("a file as standard input is read from where the shell left it", async () => {
  const path = join(directory, "lines");
  writeFileSync(path, "first\nsecond\nthird\n");
  const { output, code } = await resultOf(shell(`(read -r line; exec "$@") < ${path}`, copy));
  assertEquals([`${output}`, code], ["second\nthird\n", 0]);
});

test("a file as standard input that is rewritten while it is read is an error", async () => {
  const path = join(directory, "rewritten");
  writeFileSync(path, "a".repeat(100_000));
  const failure = `${prelude}
    import { writeFileSync } from "node:fs";
    const reader = source.stream.getReader();
    await reader.read();
    writeFileSync(${JSON.stringify(path)}, "b".repeat(100_000));
    try {
      while (!(await reader.read()).done);
    } catch (error) {
      process.stdout.write(error.code + " " + error.message);
    }`;
  const { output } = await resultOf(shell(`exec "$@" < ${path}`, failure));
  assert(`${output}`.startsWith("SOURCE_FAILED standard input was rewritten"), `${output}`);
});

test("a producer that is killed ends the stream after what it wrote", async () => {
  const producer = "sh -c 'printf partial; kill -9 $$'";
  const { output, code } = await resultOf(shell(`(${producer}) 2>/dev/null | "$@"`, copy));
  assertEquals([output.toString(), code], ["partial", 0]);
});

test("a producer that nobody reads is held up", async () => {
  // Nothing tells a reader that nobody takes more for it: it gives that half a second.
  const readOnce = `${prelude}
    const reader = source.stream.getReader();
    await reader.read();
    setTimeout(() => process.exit(0), 500);`;
  const producer =
    "for i in $(seq 1000); do head -c 65536 /dev/zero || exit; echo written >&2; done";
  const { errors } = await resultOf(shell(`(${producer}) | "$@"`, readOnce));
  const chunks = errors.split("\n").filter((line) => line === "written").length;
  assert(chunks > 0 && chunks < 10, `${chunks} × 64 KiB were taken from the producer`);
});

test("a program can end while standard input is silent", async () => {
  const cancel = `${prelude}
    const reader = source.stream.getReader();
    await reader.read();
    const pending = reader.read();
    await reader.cancel();
    process.stdout.write(String((await pending).done));
    process.exit(7);`;
  const child = shell('exec "$@"', cancel);
  child.stdin!.write("one");
  const { output, code } = await resultOf(child);
  assertEquals([output.toString(), code], ["true", 7]);
});

test("a standard input that cannot be read is an error", async () => {
  const failure = `${prelude}
    try {
      for await (const _ of source.stream);
    } catch (error) {
      process.stdout.write(error.code + " " + error.message);
    }`;
  const { output } = await resultOf(shell(`exec "$@" 0> ${join(directory, "output")}`, failure));
  assert(
    output.toString().startsWith("SOURCE_FAILED standard input cannot be read: "),
    `${output}`,
  );
});
