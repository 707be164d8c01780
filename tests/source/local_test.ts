import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import fc from "fast-check";
import { createDigest } from "../../src/digest.ts";
import type { Upload } from "../../src/client.ts";
import { DIGESTS, type ResourceStatus, StreamError } from "../../src/protocol.ts";
import { discardUpload, uploadToDirectory } from "../../src/source/local.ts";
import { lend } from "../helpers/lent.ts";

const root = mkdtempSync(join(tmpdir(), "stream-local-"));
after(() => rmSync(root, { recursive: true }));

let directories = 0;
const newDirectory = () => join(root, `${++directories}`, "not", "there", "yet");
const log = { filename: "build.log", mimeType: "text/plain", supportsLineAccess: true };
const binary = {
  filename: "a.bin",
  mimeType: "application/octet-stream",
  supportsLineAccess: false,
};

const pathOf = (upload: Upload) => fileURLToPath(upload.reference);
const contentOf = (upload: Upload) => readFileSync(pathOf(upload)).toString();
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

/** Writes these pieces and completes the upload. */
async function send(upload: Upload, pieces: (string | Uint8Array)[]) {
  const writer = upload.writable.getWriter();
  for (const piece of pieces) {
    await lend(typeof piece === "string" ? bytes(piece) : piece, (chunk) => writer.write(chunk));
  }
  await writer.close();
  return await upload.done;
}

test("a local upload is a file with date, time, number and name", async () => {
  const directory = newDirectory();
  const upload = await uploadToDirectory(directory, log);
  const startedAt = Date.now();
  await send(upload, ["first\n", "second\n"]);
  assertEquals(contentOf(upload), "first\nsecond\n");
  const [name] = readdirSync(directory);
  assertEquals(pathOf(upload), join(directory, name));
  const parts = /^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_001_build\.log$/.exec(name)!;
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number);
  const named = new Date(year, month - 1, day, hour, minute, second).getTime();
  assert(Math.abs(startedAt - named) < 5000, name);
});

test("uploads of the same name at the same time get files of their own", async () => {
  const directory = newDirectory();
  const uploads = await Promise.all(
    Array.from({ length: 12 }, () => uploadToDirectory(directory, log)),
  );
  await Promise.all(uploads.map((upload, index) => send(upload, [`content ${index}`])));
  assertEquals(new Set(uploads.map(({ reference }) => reference)).size, 12);
  uploads.forEach((upload, index) => assertEquals(contentOf(upload), `content ${index}`));
  assert(readdirSync(directory).some((name) => name.includes("_002_")));
});

test("a name never leads out of the directory, and is one that any file system takes", async () => {
  const directory = newDirectory();
  const names: Record<string, string> = {
    "../../etc/passwd": ".._.._etc_passwd",
    "C:\\logs\\a.log": "C__logs_a.log",
    'a<b>c:d"e|f?g*h': "a_b_c_d_e_f_g_h",
    "tab\tand\x7f": "tab_and_",
    "dots...": "dots",
    "..": "",
    "größe 日本.log": "größe 日本.log",
  };
  for (const [filename, safe] of Object.entries(names)) {
    const upload = await uploadToDirectory(directory, { ...log, filename });
    await send(upload, []);
    assertMatch(pathOf(upload).slice(directory.length + 1), /^\d{8}_\d{6}_\d{3}_/);
    assertEquals(pathOf(upload).slice(directory.length + 1 + 20), safe);
  }
});

test("a long name keeps its end and stays within 255 bytes", async () => {
  for (const filename of ["a".repeat(1000) + ".log", "日".repeat(300) + ".log"]) {
    const directory = newDirectory();
    await send(await uploadToDirectory(directory, { ...log, filename }), []);
    const [name] = readdirSync(directory);
    assert(name.endsWith(".log") && Buffer.byteLength(name) <= 255, name);
  }
});

test("the result tells size, lines and digest, the status follows", async () => {
  for (const open of [() => uploadToDirectory(newDirectory(), log), () => discardUpload(log)]) {
    const upload = await open();
    assertEquals(upload.status.transferStatus, "INITIATED");
    const writer = upload.writable.getWriter();
    await writer.write(bytes("first\nsec"));
    const { transferStatus, currentSize, numberOfLines } = upload.status;
    assertEquals([transferStatus, currentSize, numberOfLines], ["IN_PROGRESS", 9, 1]);
    await writer.write(bytes("ond\r\nlast"));
    await writer.close();
    const digest = await createDigest(DIGESTS[0]);
    digest.update(bytes("first\nsecond\r\nlast"));
    assertEquals(await upload.done, {
      size: 18,
      numberOfLines: 3,
      digest: { algorithm: DIGESTS[0], value: digest.value() },
    });
    assertEquals(upload.status.transferStatus, "COMPLETED");
    assertEquals([upload.status.currentSize, upload.status.numberOfLines], [18, 3]);
    assertEquals(upload.status.failure, null);
  }
});

test("the digest is of the algorithm that was asked for", async () => {
  const upload = await discardUpload(binary, { digest: "md5" });
  const { digest } = await send(upload, ["abc"]);
  assertEquals(digest, { algorithm: "md5", value: createHash("md5").update("abc").digest("hex") });
});

test("without line access lines are not counted", async () => {
  const upload = await discardUpload(binary);
  assertEquals(upload.status.numberOfLines, null);
  assertEquals((await send(upload, ["a\nb\n"])).numberOfLines, null);
  assertEquals(upload.status.numberOfLines, null);
});

test("an empty upload completes with no bytes and no lines", async () => {
  const upload = await uploadToDirectory(newDirectory(), log);
  const { size, numberOfLines } = await send(upload, []);
  assertEquals([size, numberOfLines], [0, 0]);
  assertEquals(contentOf(upload), "");
});

test("a completed file is durable, a discarded one is not", async () => {
  const kept = await uploadToDirectory(newDirectory(), log), gone = await discardUpload(log);
  for (const upload of [kept, gone]) await send(upload, ["some"]);
  assertEquals([kept.status.durableSize, gone.status.durableSize], [4, 0]);
  assertEquals(gone.reference, "discard:");
});

test("statuses come in order, the newest at once, and end with the last", async () => {
  const upload = await discardUpload(log);
  const writer = upload.writable.getWriter();
  await writer.write(bytes("a\n"));
  const seen: ResourceStatus[] = [];
  const watching = (async () => {
    for await (const status of upload.statuses()) seen.push(status);
  })();
  await writer.write(bytes("b\n"));
  await writer.close();
  await watching;
  assertEquals(seen[0].currentSize, 2);
  assertEquals(seen.at(-1)!.transferStatus, "COMPLETED");
  seen.slice(1).forEach(({ sequence }, index) => assert(sequence > seen[index].sequence));
  const late = await Array.fromAsync(upload.statuses());
  assertEquals(late.map(({ transferStatus }) => transferStatus), ["COMPLETED"]);
});

test("an aborted upload is FAILED and keeps what arrived", async () => {
  const upload = await uploadToDirectory(newDirectory(), log);
  const writer = upload.writable.getWriter();
  await writer.write(bytes("first\nsec"));
  const cause = new Error("the test run was cancelled");
  await upload.abort(cause);
  const error = await assertRejects(() => upload.done, StreamError, cause.message);
  assertEquals([error.code, error.cause], ["ABORTED", cause]);
  await assertRejects(() => writer.write(bytes("ond")), StreamError, cause.message);
  assertEquals(contentOf(upload), "first\nsec");
  const { transferStatus, currentSize, numberOfLines, failure } = upload.status;
  assertEquals([transferStatus, currentSize, numberOfLines], ["FAILED", 9, 2]);
  assertEquals(failure, `ABORTED: ${cause.message}`);
});

test("an abort waits for the write that is under way", async () => {
  const upload = await uploadToDirectory(newDirectory(), log);
  const writer = upload.writable.getWriter();
  const written = writer.write(new Uint8Array(5_000_000)).catch(() => {});
  const queued = writer.write(bytes("never")).catch((error) => error);
  await upload.abort();
  await written;
  assertEquals((await queued).code, "ABORTED");
  assertEquals(upload.status.currentSize, readFileSync(pathOf(upload)).length);
  await assertRejects(() => upload.done, StreamError, "cancelled");
});

test("a source that fails fails the upload it is piped into", async () => {
  const upload = await discardUpload(log);
  const source = new ReadableStream<Uint8Array>({
    start: (controller) => controller.error(new StreamError("SOURCE_FAILED", "the file shrank")),
  });
  await assertRejects(() => source.pipeTo(upload.writable), StreamError, "the file shrank");
  await assertRejects(() => upload.done, StreamError, "the file shrank");
  assertEquals(upload.status.transferStatus, "FAILED");
});

test("an abort after the end changes nothing", async () => {
  const upload = await discardUpload(log);
  await send(upload, ["all"]);
  await upload.abort(new Error("too late"));
  assertEquals(upload.status.transferStatus, "COMPLETED");
  assertEquals((await upload.done).size, 3);
});

test("a directory that cannot be made is an error that names it", async () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  const error = await assertRejects(() => uploadToDirectory(file, log), StreamError, file);
  assertEquals(error.code, "STORAGE_FAILED");
});

test("a directory without a name is refused, and none is chosen instead", async () => {
  const error = await assertRejects(() => uploadToDirectory("", log), StreamError);
  assertEquals(error.code, "BAD_REQUEST");
});

test("a write that fails, fails the upload, whose file holds what its status says", () => {
  const program = `
    import { statSync } from "node:fs";
    import { fileURLToPath } from "node:url";
    import { uploadToDirectory } from ${
    JSON.stringify(import.meta.resolve("../../src/source/local.ts"))
  };
    const upload = await uploadToDirectory(${JSON.stringify(newDirectory())}, ${
    JSON.stringify(log)
  });
    const writer = upload.writable.getWriter();
    const write = async () => {
      while (upload.status.currentSize < 2 ** 28) await writer.write(new Uint8Array(100_000));
    };
    const errors = await Promise.all([write(), upload.done].map((ending) => ending.catch(String)));
    const { transferStatus, currentSize } = upload.status;
    const { size } = statSync(fileURLToPath(upload.reference));
    console.log(JSON.stringify({ errors, transferStatus, kept: size === currentSize && size > 0 }));`;
  const runtime = [process.execPath, process.versions.bun === undefined ? "eval" : "-e"];
  // No file may grow beyond 32 or 64 MiB, as the shell counts: the nearest thing to a full disk.
  const command = "trap '' XFSZ; ulimit -f 65536; exec \"$@\"";
  const output = execFileSync("sh", ["-c", command, "sh", ...runtime, program]);
  const { errors, transferStatus, kept } = JSON.parse(output.toString());
  for (const error of errors) assertMatch(error, /cannot write file:/);
  assertEquals([transferStatus, kept], ["FAILED", true]);
});

test("metadata is checked before anything is made", async () => {
  const directory = newDirectory();
  for (const bad of [{ ...log, filename: "" }, { ...log, mimeType: "text" }]) {
    for (const open of [() => uploadToDirectory(directory, bad), () => discardUpload(bad)]) {
      assertEquals((await assertRejects(open, StreamError)).code, "BAD_METADATA");
    }
  }
  assertEquals(readdirSync(root).includes(`${directories}`), false);
});

test("any chunking of any text gives the same file, lines and digest", async () => {
  const directory = newDirectory();
  const text = fc.string({ unit: fc.constantFrom("a", "\n", "\r\n", "ü"), maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 8 }), async (pieces) => {
      const whole = pieces.join("");
      const upload = await uploadToDirectory(directory, log, { digest: "sha256" });
      const result = await send(upload, pieces);
      assertEquals(contentOf(upload), whole);
      const lines = whole.split("\n");
      assertEquals(result.numberOfLines, lines.length - (lines.at(-1) === "" ? 1 : 0));
      assertEquals(result.digest.value, createHash("sha256").update(whole).digest("hex"));
      assertEquals(upload.status.numberOfLines, result.numberOfLines);
    }),
    { numRuns: 100 },
  );
});
