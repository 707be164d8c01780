/** A log as large as one likes, searched while somebody follows another one live. */
import { type FileHandle, open } from "node:fs/promises";
import { assert, assertEquals } from "@std/assert";
import { follow, push } from "../../mod.ts";
import { parseReference } from "../../src/protocol.ts";
import { type Kind, Workspace } from "./cli.ts";

const BLOCK_LINES = 10_000;
/** Lines with these words stand in every block, so that a search ends with a known number of matches. */
const RARE = "the needle in the haystack";
const RARE_EVERY_BLOCKS = 100;

const IDLE_MS = 2000;

/** What is searched for, and how many lines of a log have it. */
const SEARCHES = [
  { title: "nothing but the follower", query: "" },
  { title: "plain text", query: `q=${encodeURIComponent(RARE)}` },
  {
    title: "plain text, any case",
    query: `q=${encodeURIComponent(RARE.toUpperCase())}&ignoreCase=true`,
  },
  {
    title: "regex with a literal",
    query: `q=${encodeURIComponent("need[lx]e .* hay[a-z]+")}&regex=true`,
  },
  {
    title: "regex without a literal",
    query: `q=${encodeURIComponent("(?i)[m-o]eedle")}&regex=true`,
  },
];

/** What a search took. */
interface Figures {
  seconds: number;
  /** From writing a line to reading it, of a live log beside. */
  p50Ms: number;
  p99Ms: number;
}

/**
 * Uploads a log, searches it in every way, and prints how fast that was and what a live follower felt.
 *
 * @param kind Which program serves.
 * @param byteCount Least size of the log.
 */
export async function searchLog(kind: Kind, byteCount: number): Promise<void> {
  await using workspace = await Workspace.open();
  // Each line is checkpointed at once: what a follower feels then is the search.
  await workspace.serve(kind, ["--checkpoint-interval", "5ms"]);
  const path = workspace.path("large.log");
  const { size, rare } = await writeLog(path, byteCount);
  const { push: pushing, reference } = await workspace.push(kind, [path]);
  assertEquals((await pushing.exit(600_000)).code, 0);
  const { id } = parseReference(reference);
  for (const { title, query } of SEARCHES) {
    let at = 0, matches = 0, seconds = 0, worst = { p50Ms: 0, p99Ms: 0 };
    do {
      const url = `${workspace.server}/resources/${id}/search?${query}&from=${at}`;
      const { figures, found, nextLine, truncated } = await searchBesideFollower(workspace, url);
      matches += found;
      seconds += figures.seconds;
      if (figures.p99Ms > worst.p99Ms) worst = figures;
      at = truncated ? nextLine : 0;
    } while (at > 0);
    assertEquals(matches, query === "" ? 0 : rare, title);
    console.log(
      `${kind}: ${title}: ${Math.round(size / 1e6 / seconds)} MB/s; a live follower ` +
        `p50 ${worst.p50Ms.toFixed(1)} ms, p99 ${worst.p99Ms.toFixed(1)} ms`,
    );
  }
}

async function writeLog(path: string, byteCount: number): Promise<{ size: number; rare: number }> {
  await using file: FileHandle = await open(path, "w");
  let size = 0, rare = 0;
  for (let block = 0; size < byteCount; block++) {
    const lines = Array.from(
      { length: BLOCK_LINES },
      (_, index) =>
        `2026-01-01T00:00:00.${String(index % 1000).padStart(3, "0")}Z INFO worker-${index % 17} ` +
        `request ${block}-${index} took ${index % 977} ms for user alice-${index % 1013} of us\n`,
    );
    if (block % RARE_EVERY_BLOCKS === 0) {
      lines[block % BLOCK_LINES] = `${RARE}\n`;
      rare++;
    }
    const bytes = new TextEncoder().encode(lines.join(""));
    await file.writeFile(bytes);
    size += bytes.length;
  }
  return { size, rare };
}

async function searchBesideFollower(workspace: Workspace, url: string) {
  const upload = await push(workspace.server, {
    filename: "live.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const latencies = measure(upload.reference);
  const writer = upload.writable.getWriter();
  const encoder = new TextEncoder();
  let searching = true;
  const writing = (async () => {
    while (searching) {
      await writer.write(encoder.encode(`${performance.now()}\n`));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await writer.close();
  })();
  const startedAtMs = performance.now();
  const lines = url.includes("q=")
    ? (await (await fetch(url)).text()).trimEnd().split("\n")
    : await new Promise<string[]>((resolve) => setTimeout(resolve, IDLE_MS, ['{"nextLine":0}']));
  const seconds = (performance.now() - startedAtMs) / 1000;
  searching = false;
  await writing;
  await upload.done;
  const sorted = (await latencies).sort((one, other) => one - other);
  assert(sorted.length > 0);
  const quantile = (part: number) => sorted[Math.floor(part * (sorted.length - 1))];
  const { nextLine, truncated } = JSON.parse(lines.pop()!);
  const figures: Figures = { seconds, p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
  return {
    figures,
    found: lines.length,
    nextLine: Number(nextLine),
    truncated: Boolean(truncated),
  };
}

/** Times from writing to reading of lines that say when they were written. */
async function measure(reference: string): Promise<number[]> {
  const latencies: number[] = [];
  const decoder = new TextDecoder();
  for await (const bytes of follow(reference)) {
    const nowMs = performance.now();
    for (const line of decoder.decode(bytes).trimEnd().split("\n")) {
      latencies.push(nowMs - Number(line));
    }
  }
  return latencies;
}
