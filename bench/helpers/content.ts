/** What is uploaded: one block again and again, so that making it costs nothing. */
import { open } from "node:fs/promises";
import { createXXHash128 } from "hash-wasm";

/** Bytes without any order, or lines of 100 bytes with line access. */
export type Form = "binary" | "lines";

export const LINE_BYTES = 100;
const MESSAGE_BYTES = 64 * 1024;
/** As many whole lines as one message holds. */
const LINES_PER_BLOCK = Math.floor(MESSAGE_BYTES / LINE_BYTES);

/** The block a form is made of; it fills one message. */
export function blockOf(form: Form): Uint8Array<ArrayBuffer> {
  return form === "lines" ? linesOf(LINES_PER_BLOCK * LINE_BYTES) : noise(MESSAGE_BYTES);
}

/** Whole lines that fill so many bytes; the last is shorter or longer than the others. */
export function linesOf(byteCount: number): Uint8Array<ArrayBuffer> {
  const line = `${
    "2026-11-23T04:19:01.123Z INFO  worker-7 request took 12 ms, status 200 ".padEnd(
      LINE_BYTES - 1,
      "x",
    )
  }\n`;
  const text = line.repeat(Math.ceil(byteCount / LINE_BYTES)).slice(0, byteCount - 1);
  return new TextEncoder().encode(`${text}\n`);
}

/** So many whole blocks that they have at least so many bytes. */
export function blocksFor(form: Form, byteCount: number): number {
  return Math.ceil(byteCount / blockOf(form).length);
}

/** The digest of so many blocks, for a client that does not want to compute it while it is measured. */
export async function digestOf(
  block: Uint8Array,
  blocks: number,
  last: Uint8Array = new Uint8Array(),
): Promise<string> {
  const digest = await createXXHash128();
  digest.init();
  for (let count = 0; count < blocks; count++) digest.update(block);
  return digest.update(last).digest("hex");
}

/** What an upload of this form announces. */
export function metadataOf(form: Form, name = `bench-${form}`) {
  return form === "lines"
    ? { filename: `${name}.log`, mimeType: "text/plain", supportsLineAccess: true }
    : { filename: `${name}.bin`, mimeType: "application/octet-stream", supportsLineAccess: false };
}

function noise(byteCount: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(byteCount));
}

/** Makes a file of noise. */
export async function makeFile(
  path: string,
  byteCount: number,
): Promise<{ path: string; bytes: number }> {
  const block = blockOf("binary");
  const blocks = blocksFor("binary", byteCount);
  const file = await open(path, "a");
  for (let count = 0; count < blocks; count++) await file.write(block);
  await file.close();
  return { path, bytes: blocks * block.length };
}
