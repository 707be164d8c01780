/**
 * Makes a data directory with the program of a release, as `kill -9` leaves it, for tests/faults/older_data_test.ts:
 * `STREAM_BIN=dist/stream-bun deno run -A tests/helpers/older/make.ts NAME` in the tree of that release.
 */
import { Buffer } from "node:buffer";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { brotliCompressSync } from "node:zlib";
import type { OlderData } from "./data.ts";

const [name] = process.argv.slice(2);
const program = process.env.STREAM_BIN!;
const directory = mkdtempSync(join(tmpdir(), "stream-older-"));
const WRONG_DIGEST = `sha-256=:${Buffer.alloc(32).toString("base64")}:`;
/** What every start makes anew. */
const LEFT_OUT = /^(lock\.sqlite|server\.pid)|-(shm|reserve)$/;

async function start(): Promise<{ server: ChildProcess; url: string }> {
  const options = ["--port", "0", "--min-free", "0", "--data", directory];
  const tokens = join(directory, "tokens");
  const server = spawn(program, ["serve", ...options, "--auth", tokens]);
  const [line] = await once(server.stdout, "data");
  return { server, url: /http:\S+/.exec(String(line))![0] };
}

const create = ["token", "create", "--auth", join(directory, "tokens"), "--name", "a"];
const token = String(execFileSync(program, [...create, "--scope", "upload,read,admin"])).trim();
const { server, url } = await start();

async function ask(path: string, init: RequestInit & { headers?: Record<string, string> } = {}) {
  const headers = { authorization: `Bearer ${token}`, ...init.headers };
  const answer = await fetch(new URL(path, url), { ...init, headers });
  return { status: answer.status, headers: answer.headers, text: await answer.text() };
}

/** Begins an upload in parts, and sends the first. */
async function begin(filename: string, part: string): Promise<string> {
  const init = { method: "POST", headers: { "Upload-Complete": "?0" } };
  const { headers } = await ask(`/resources?name=${filename}&context=run`, init);
  const path = new URL(headers.get("location")!, url).pathname;
  const fields = { "Upload-Offset": "0", "Upload-Complete": "?0" };
  const type = { "Content-Type": "application/partial-upload" };
  await ask(path, { method: "PATCH", headers: { ...type, ...fields }, body: part });
  return path;
}

await ask("/resources/a.log?context=run", { method: "PUT", body: "one\ntwo\r\n\nlast" });
await ask("/resources/a.bin", { method: "PUT", body: new Uint8Array([0, 10, 255, 10]) });
await ask("/resources/empty.txt", { method: "PUT", body: "" });
const lie = { "Repr-Digest": WRONG_DIGEST };
await ask("/resources/failed.log", { method: "PUT", body: "one\ntwo", headers: lie });
const { text } = await ask("/resources/deleted.log", { method: "PUT", body: "gone" });
const deleted: string = JSON.parse(text).id;
await ask(`/resources/${deleted}`, { method: "DELETE" });
await ask("/contexts/closed", { method: "PUT" });
await ask("/contexts/closed", { method: "DELETE" });
const uploads = [await begin("first.log", "one\nt"), await begin("second.log", "one\nt")];
const producer = { "Producer-Id": "p", "Producer-Epoch": "1", "Producer-Seq": "0" };
const stream = { "Content-Type": "text/plain" };
const made = await ask("/streams/a/b", { method: "PUT", headers: stream });
if (made.status === 201) {
  await ask("/streams/a/b", { method: "POST", headers: { ...stream, ...producer }, body: "one\n" });
}
const resources = JSON.parse((await ask("/resources")).text);
const contexts = JSON.parse((await ask("/contexts")).text);
const whole = resources.find(({ filename }: { filename: string }) => filename === "a.log").id;
const shared = await ask(`/resources/${whole}/share?expires=604800`, { method: "POST" });
const link = new URL(JSON.parse(shared.text).url).searchParams.get("access")!;
const contents: OlderData["contents"] = {};
for (const { id, transferStatus } of resources) {
  if (transferStatus === "INITIATED") continue;
  const range = { Range: "bytes=0-99" };
  const got = await fetch(new URL(`/resources/${id}/content`, url), {
    headers: { authorization: `Bearer ${token}`, ...range },
  });
  contents[id] = got.status === 416 ? "" : Buffer.from(await got.arrayBuffer()).toString("base64");
}

server.kill("SIGKILL");
await once(server, "exit");
const files: OlderData["files"] = {};
for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || LEFT_OUT.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  files[path.slice(directory.length + 1)] = readFileSync(path).toString("hex");
}
rmSync(directory, { recursive: true });
const data: OlderData = {
  ...{ files, token, link, deleted, uploads, resources, contexts, contents },
  stream: made.status === 201 ? "/streams/a/b" : null,
};
const path = new URL(`${name}.json.br`, import.meta.url);
writeFileSync(path, brotliCompressSync(JSON.stringify(data)));
