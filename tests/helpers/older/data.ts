/** Data directories that older releases left behind (README.md). */
import { Buffer } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import type { ContextInfo, ResourceInfo } from "../../../mod.ts";

/** What a release left, and what it told of that before it was killed. */
export interface OlderData {
  /** Its files, in hexadecimal, as what recurs in them then recurs in the text. */
  files: Record<string, string>;
  /** A token with every scope. */
  token: string;
  /** Credential of a signed link to `a.log`. */
  link: string;
  /** Id of a resource that was deleted. */
  deleted: string;
  /** Paths of uploads that go on: `/uploads/ID/SECRET`. */
  uploads: string[];
  /** All resources, as they were listed. */
  resources: ResourceInfo[];
  /** All upload contexts, as they were listed. */
  contexts: ContextInfo[];
  /** Their bytes, in base64. */
  contents: Record<string, string>;
  /** Path of a stream with one append of the producer `p`, epoch 1, number 0; null where it spoke no such protocol. */
  stream: string | null;
}

const place = fileURLToPath(new URL(".", import.meta.url));

/** Names of the releases, oldest first. */
export const releases: readonly string[] = readdirSync(place)
  .filter((name) => name.endsWith(".json.br")).map((name) => name.slice(0, -8)).sort();

/** What a release left. */
export function olderData(release: string): OlderData {
  return JSON.parse(String(brotliDecompressSync(readFileSync(join(place, `${release}.json.br`)))));
}

/** Puts the files where a server shall find them. */
export async function unpack(
  { files }: Pick<OlderData, "files">,
  directory: string,
): Promise<void> {
  for (const [name, bytes] of Object.entries(files)) {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, Buffer.from(bytes, "hex"), { mode: 0o600 });
  }
}
