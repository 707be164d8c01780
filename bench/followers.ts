/**
 * What followers cost a server, and what those cost that hardly read:
 *
 *     deno task bench:followers [--runtime deno,bun,binary] [--idle 10000] [--active 500] [--seconds 30]
 *                               [--slow 100] [--slow-seconds 60] [--gib 4]
 *
 * Times on a shared machine say little by themselves; compare runs of one evening.
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "@std/cli/parse-args";
import { push, type PushedUpload } from "../src/client.ts";
import { LIMITS } from "../src/protocol.ts";
import { type Kind, Workspace } from "../tests/helpers/cli.ts";
import { Crowd } from "./helpers/crowd/crowd.ts";
import { allowOpenFiles, costDuring } from "./helpers/process.ts";
import { SlowReaders } from "./helpers/crowd/slow_readers.ts";
import { stampedLine } from "./helpers/stamp.ts";

const KINDS: readonly string[] = ["deno", "bun", "binary"];
/** The hard limit of the machines this runs on. */
const OPEN_FILES = 20_000;
const LINES_PER_SECOND = 20;
/** How long idle followers are looked at: each is pinged once, see `HEARTBEAT`. */
const IDLE_MS = 30_000;
/** How long a server is looked at while nothing happens at all. */
const QUIET_MS = 5000;
/** Each costs a server tens of megabytes. */
const ASKERS = 20;
const PIECE = new Uint8Array(LIMITS.dataMessageBytes).fill(7);

interface Settings {
  idle: number;
  active: number;
  seconds: number;
  slow: number;
  slowSeconds: number;
  gib: number;
}

/** Rows of the table. */
type Figures = Record<string, number>;

function settingsOf(argv: string[]): { kinds: Kind[]; settings: Settings } {
  const names = ["idle", "active", "seconds", "slow", "slow-seconds", "gib"];
  const given = parseArgs(argv, {
    string: ["runtime", ...names],
    default: {
      runtime: KINDS.join(","),
      ...{ idle: "10000", active: "500", seconds: "30" },
      ...{ slow: "100", "slow-seconds": "60", gib: "4" },
    },
    unknown: (argument) => refuse(`there is no option ${argument}`),
  });
  const kinds = given.runtime.split(",");
  if (!kinds.every((kind) => KINDS.includes(kind))) refuse(`--runtime wants some of ${KINDS}`);
  const [idle, active, seconds, slow, slowSeconds, gib] = names.map((name) =>
    Number((given as Record<string, unknown>)[name])
  );
  const settings = { idle, active, seconds, slow, slowSeconds, gib };
  if (!Object.values(settings).every((value) => value > 0)) refuse("all others want numbers");
  return { kinds: kinds as Kind[], settings };
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

/** Begins a resource, and says its first line. */
async function begin(url: string, filename: string) {
  const metadata = { filename, mimeType: "text/plain", supportsLineAccess: true };
  const upload = await push(url, metadata);
  const writer = upload.writable.getWriter();
  let index = 0;
  const writeLine = () => writer.write(new TextEncoder().encode(stampedLine(index++)));
  await writeLine();
  return { reference: upload.reference, writer, writeLine };
}

/** Many who wait, and some who receive a log of short lines. */
async function crowds(url: string, pid: number, settings: Settings): Promise<Figures> {
  const { idle, active, seconds } = settings;
  const silent = await begin(url, "silent.log");
  const before = await costDuring(pid, sleep(QUIET_MS));
  using waiting = await Crowd.gather(silent.reference, idle);
  const quiet = await costDuring(pid, sleep(IDLE_MS));

  const log = await begin(url, "live.log");
  using receiving = await Crowd.gather(log.reference, active);
  const live = await costDuring(pid, writeLog(log.writeLine, seconds * LINES_PER_SECOND));
  await log.writer.close();
  const received = await receiving.seen();

  await silent.writeLine();
  const end = silent.writer.close().then(() => waiting.seen());
  const { peakBytes } = await costDuring(pid, end);
  const woken = await end;
  const lines = active * seconds * LINES_PER_SECOND;
  return {
    "memory without followers, MB": before.medianBytes / 1e6,
    "memory of an idle follower, kB": (quiet.medianBytes - before.medianBytes) / idle / 1e3,
    "processor for all idle followers, s/min": quiet.cpuSeconds / IDLE_MS * 60_000,
    "memory of an active follower, kB": (live.medianBytes - quiet.medianBytes) / active / 1e3,
    "write to receive, p50, ms": at(received.delaysMs, 0.5),
    "write to receive, p99, ms": at(received.delaysMs, 0.99),
    "write to receive, longest, ms": at(received.delaysMs, 1),
    "processor for all active followers, s/min": live.cpuSeconds / seconds * 60,
    "a line to all idle followers, last, ms": at(woken.delaysMs, 1),
    "while all idle followers leave, peak, MB": peakBytes / 1e6,
    "lines missing or wrong": received.wrong + woken.wrong +
      lines - received.delaysMs.length + idle - woken.delaysMs.length,
  };
}

async function writeLog(writeLine: () => Promise<void>, lines: number): Promise<void> {
  const startedAtMs = performance.now();
  for (let line = 1; line <= lines; line++) {
    await writeLine();
    const nextAtMs = startedAtMs + line / LINES_PER_SECOND * 1000;
    await sleep(Math.max(0, nextAtMs - performance.now()));
  }
}

/** Some who read a byte a second of what is written as fast as can be. */
async function slowFollowers(
  url: string,
  pid: number,
  { slow, slowSeconds, gib }: Settings,
): Promise<Figures> {
  const alone = await costDuring(pid, write(await binary(url), gib));
  const upload = await binary(url);
  const follow = { "@": "Follow", from: 0, window: LIMITS.downloadWindowBytes } as const;
  using followers = await SlowReaders.connect(upload.reference, slow, follow);
  const startedAtMs = performance.now();
  const writing = write(upload, gib);
  const work = Promise.all([writing, sleep(slowSeconds * 1000)]);
  const { peakBytes } = await costDuring(pid, work);
  return {
    "upload alone, peak, MB": alone.peakBytes / 1e6,
    "with slow followers, peak, MB": peakBytes / 1e6,
    "memory of a slow follower, kB": (peakBytes - alone.peakBytes) / slow / 1e3,
    "speed of the upload beside them, MB/s": gib * 2 ** 30 / 1e3 / (await writing - startedAtMs),
    "slow followers that were dropped": slow - followers.connected,
  };
}

/** Some who ask for the largest chunk there is, and hardly read it. */
async function slowAskers(url: string, pid: number): Promise<Figures> {
  const upload = await binary(url);
  await write(upload, LIMITS.wholeChunkBytes / 2 ** 30);
  const before = await costDuring(pid, sleep(QUIET_MS));
  const request = {
    "@": "RequestChunk",
    startOffset: 0,
    endOffset: LIMITS.wholeChunkBytes,
  } as const;
  using _askers = await SlowReaders.connect(upload.reference, ASKERS, request);
  const asked = await costDuring(pid, sleep(QUIET_MS));
  return {
    "memory of a 16 MiB chunk that is not read, MB": (asked.peakBytes - before.medianBytes) /
      ASKERS / 1e6,
  };
}

function binary(url: string): Promise<PushedUpload> {
  const mimeType = "application/octet-stream";
  return push(url, { filename: "fast.bin", mimeType, supportsLineAccess: false });
}

/** Writes so much as fast as it is taken; returns when that was done. */
async function write(upload: PushedUpload, gib: number): Promise<number> {
  const writer = upload.writable.getWriter();
  for (let left = gib * 2 ** 30; left > 0; left -= PIECE.length) await writer.write(PIECE);
  await writer.close();
  return performance.now();
}

/** Measures a server that has done nothing before. */
async function onServer(
  kind: Kind,
  measure: (url: string, pid: number) => Promise<Figures>,
): Promise<Figures> {
  await using workspace = await Workspace.open();
  const { pid } = await workspace.serve(kind);
  return await measure(workspace.server, pid);
}

function at(sorted: number[], part: number): number {
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}

function print(results: Record<string, Figures>): void {
  const kinds = Object.keys(results);
  console.log(`| | ${kinds.join(" | ")} |`);
  console.log(`| --- ${"| --: ".repeat(kinds.length)}|`);
  for (const name of Object.keys(results[kinds[0]])) {
    console.log(`| ${name} | ${kinds.map((kind) => round(results[kind][name])).join(" | ")} |`);
  }
}

const round = (value: number) => Number(value.toPrecision(3));

const { kinds, settings } = settingsOf(process.argv.slice(2));
allowOpenFiles(OPEN_FILES);
const results: Record<string, Figures> = {};
for (const kind of kinds) {
  const figures = {
    ...await onServer(kind, (url, pid) => crowds(url, pid, settings)),
    ...await onServer(kind, (url, pid) => slowFollowers(url, pid, settings)),
    ...await onServer(kind, slowAskers),
  };
  results[kind] = figures;
  console.log(JSON.stringify({ server: kind, ...settings, figures }));
}
print(results);
process.exit(Object.values(results).every((row) => row["lines missing or wrong"] === 0) ? 0 : 1);
