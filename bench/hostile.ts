/**
 * What a server is worth while strangers do everything to it at once, on loopback only:
 *
 *     deno task bench:hostile [--runtime deno,bun,binary] [--idle 10000] [--stalled 1000]
 *                             [--readers content,live,lines,matches,events,Follow,RequestChunk,RequestLines]
 *                             [--flood 16] [--floods pings,ranges,searches,lists] [--seconds 30]
 *                             [--recover-seconds 300]
 *
 * Times on a shared machine say little by themselves; compare with those of the same run without strangers.
 */
import { readdirSync } from "node:fs";
import { constants, setPriority } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "@std/cli/parse-args";
import { push } from "../src/client.ts";
import { parseReference } from "../src/protocol.ts";
import { temporaryPath } from "./helpers/bench.ts";
import type { Attacked, AttackJob, Flood, Reader } from "./helpers/hostile/attack.ts";
import { liveUploads } from "./helpers/hostile/live.ts";
import { allowOpenFiles, costDuring, residentBytes } from "./helpers/process.ts";
import { type Kind, Process, ROOT, scriptCommand, streamCommand } from "./helpers/processes.ts";
import { stampedLine } from "./helpers/stamp.ts";
import { percentile } from "./helpers/statistics.ts";
import { fillCatalog } from "./helpers/catalog.ts";

const KINDS: readonly string[] = ["deno", "bun", "binary"];
const READERS: readonly string[] = [
  ...["content", "live", "lines", "matches", "events"],
  ...["Follow", "RequestChunk", "RequestLines"],
];
const FLOODS: readonly string[] = ["pings", "ranges", "searches", "lists"];
/** The hard limit of the machines this runs on. */
const OPEN_FILES = 20_000;
const UPLOADS = 20;
const LINE_EVERY_MS = 50;
const TEXT_LINES = 2 ** 20;
const RESOURCES = 20_000;
/** Longer than it takes to open all connections. */
const ATTACK_TIMEOUT_MS = 180_000;

interface Settings {
  idle: number;
  stalled: number;
  readers: Reader[];
  flood: number;
  floods: Flood[];
  seconds: number;
  recoverSeconds: number;
}

/** Rows of the table. */
type Figures = Record<string, number>;

function settingsOf(argv: string[]): { kinds: Kind[]; settings: Settings } {
  const numbers = ["idle", "stalled", "flood", "seconds", "recover-seconds"];
  const given = parseArgs(argv, {
    string: ["runtime", "readers", "floods", ...numbers],
    default: {
      runtime: "deno,binary",
      readers: READERS.join(),
      floods: FLOODS.join(),
      ...{ idle: "10000", stalled: "1000", flood: "16", seconds: "30", "recover-seconds": "300" },
    },
    unknown: (argument) => refuse(`there is no option ${argument}`),
  });
  const kinds = given.runtime.split(",");
  if (!kinds.every((kind) => KINDS.includes(kind))) refuse(`--runtime wants some of ${KINDS}`);
  const floods = given.floods.split(",");
  if (!floods.every((kind) => FLOODS.includes(kind))) refuse(`--floods wants some of ${FLOODS}`);
  const readers = given.readers.split(",");
  if (!readers.every((kind) => READERS.includes(kind))) {
    refuse(`--readers wants some of ${READERS}`);
  }
  const values = numbers.map((name) => Number((given as Record<string, unknown>)[name]));
  if (!values.every((value) => value >= 0)) refuse("all others want numbers");
  const [idle, stalled, flood, seconds, recoverSeconds] = values;
  const which = { readers: readers as Reader[], floods: floods as Flood[] };
  const settings = { idle, stalled, flood, ...which, seconds, recoverSeconds };
  return { kinds: kinds as Kind[], settings };
}

function refuse(why: string): never {
  console.error(why);
  process.exit(2);
}

/** Measures a server of its own: alone, under attack, and some time after that. */
async function measure(kind: Kind, settings: Settings): Promise<Figures> {
  const directory = temporaryPath();
  await fillCatalog(ROOT, directory, RESOURCES);
  const server = new Process([...streamCommand(kind), "serve", "--port", "0", "--data", directory]);
  const url = (await server.line()).replace("listening on ", "");
  const lines = settings.seconds * 1000 / LINE_EVERY_MS;
  try {
    const job = await prepare(url, settings);
    const alone = await liveUploads(url, UPLOADS, lines, LINE_EVERY_MS);
    const before = { bytes: residentBytes(server.pid), descriptors: descriptorsOf(server.pid) };
    const attack = await begin(job);
    const held = descriptorsOf(server.pid);
    const attacked = liveUploads(url, UPLOADS, lines, LINE_EVERY_MS);
    const { peakBytes } = await costDuring(server.pid, attacked);
    const { delaysMs, lost, byHttp } = await attacked;
    const told = await attack.end();
    await sleep(settings.recoverSeconds * 1000);
    const [p99Alone, p99] = [alone.delaysMs, delaysMs].map((delays) => percentile(delays, 0.99));
    return {
      "write to receive, alone, p50, ms": percentile(alone.delaysMs, 0.5),
      "alone, p99, ms": p99Alone,
      "under attack, p50, ms": percentile(delaysMs, 0.5),
      "under attack, p99, ms": p99,
      "under attack, longest, ms": percentile(delaysMs, 1),
      "p99, ratio": p99 / p99Alone,
      "lines lost": alone.lost + lost,
      "uploads and followers that went over to HTTP": byHttp,
      "memory before, MB": before.bytes / 1e6,
      "memory under attack, peak, MB": peakBytes / 1e6,
      "memory after, MB": residentBytes(server.pid) / 1e6,
      "descriptors before": before.descriptors,
      "descriptors under attack": held,
      "descriptors after": descriptorsOf(server.pid),
      ...toldOf(told),
    };
  } finally {
    await server.stop();
  }
}

/** A text to read, and a resource that goes on. */
async function prepare(
  url: string,
  { idle, stalled, readers, flood, floods }: Settings,
): Promise<AttackJob> {
  const metadata = { filename: "text.log", mimeType: "text/plain", supportsLineAccess: true };
  const text = await push(url, metadata);
  const writer = text.writable.getWriter();
  const block = Array.from(
    { length: 1024 },
    (_, index) => `${"lorem ipsum ".repeat(4)}${stampedLine(index)}`,
  );
  const bytes = new TextEncoder().encode(block.join(""));
  for (let lines = 0; lines < TEXT_LINES; lines += block.length) await writer.write(bytes);
  await writer.close();
  const live = await push(url, metadata);
  await live.writable.getWriter().write(bytes);
  return {
    port: Number(new URL(url).port),
    text: parseReference(text.reference).id,
    live: parseReference(live.reference).id,
    textBytes: TEXT_LINES / block.length * bytes.length,
    ...{ idle, stalled, readers, flood, floods },
  };
}

/** Starts an attack; the uploads beside it come first. */
async function begin(job: AttackJob) {
  const path = "bench/helpers/hostile/attack.ts";
  const attack = new Process([...scriptCommand("bun", path), JSON.stringify(job)]);
  setPriority(attack.pid, constants.priority.PRIORITY_LOW);
  await attack.line(ATTACK_TIMEOUT_MS);
  return {
    async end(): Promise<Attacked> {
      attack.say("");
      const told: Attacked = JSON.parse(await attack.line());
      await attack.stop();
      return told;
    },
  };
}

function toldOf({ opened, ended, answers }: Attacked): Figures {
  const rows = Object.entries(answers).map(([name, count]) => [`answers: ${name}`, count]);
  return { "connections tried": opened, "connections ended": ended, ...Object.fromEntries(rows) };
}

function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function print(results: Record<string, Figures>): void {
  const kinds = Object.keys(results);
  console.log(`| | ${kinds.join(" | ")} |`);
  console.log(`| --- ${"| --: ".repeat(kinds.length)}|`);
  const names = new Set(kinds.flatMap((kind) => Object.keys(results[kind])));
  for (const name of names) {
    console.log(
      `| ${name} | ${kinds.map((kind) => round(results[kind][name] ?? 0)).join(" | ")} |`,
    );
  }
}

const round = (value: number) => Number(value.toPrecision(3));

const { kinds, settings } = settingsOf(process.argv.slice(2));
allowOpenFiles(OPEN_FILES);
const results: Record<string, Figures> = {};
for (const kind of kinds) {
  results[kind] = await measure(kind, settings);
  console.log(JSON.stringify({ server: kind, ...settings, figures: results[kind] }));
}
print(results);
process.exit(Object.values(results).every((row) => row["lines lost"] === 0) ? 0 : 1);
