/**
 * `stream ls`.
 * @module
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { listContexts, listResources, type ResourceInfo } from "../../client.ts";
import { endedWell, TRANSFER_STATUSES, type TransferStatus } from "../../protocol.ts";
import { type Command, EXIT, type Options, SERVER_OPTION, UsageError } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { outcomeText } from "../uploads/outcome.ts";
import { resourcesIn } from "../references.ts";
import { printLine, standardOutput, visible, visibleJson } from "../output/output.ts";
import { isColoured, styled, type STYLES } from "../output/terminal.ts";
import { formatAge, formatBytes } from "../units.ts";

/** Resources that are kept to be sorted. */
const MAX_SORTED = 100_000;
/** Interval of looking again. */
const WATCH_EVERY_MS = 2000;
/** Rows that are watched where no terminal says how many it has. */
const WATCHED_ROWS = 1000;
/** To the upper left corner of an empty screen. */
const CLEAR = "\x1b[H\x1b[2J";

/** Orders of the list; ties are as the server has them. */
const ORDERS: Record<string, (a: ResourceInfo, b: ResourceInfo) => number> = {
  created: (a, b) => b.createdAt.localeCompare(a.createdAt),
  updated: (a, b) => b.updatedAt.localeCompare(a.updatedAt),
  size: (a, b) => b.currentSize - a.currentSize,
  name: (a, b) => a.filename.localeCompare(b.filename),
};

/** Lists resources. */
export const ls: Command = {
  name: "ls",
  summary: "list resources, newest first",
  positionals: [],
  options: {
    context: { kind: "text", value: "ID", help: "only those of one upload context" },
    status: {
      kind: "list",
      value: TRANSFER_STATUSES.join("|"),
      help: "only those in this state; can be repeated",
    },
    since: {
      kind: "time",
      value: "TIME",
      help: "only those that began since then: 30m, 7d, 2026-11-28, 2026-11-28T10:00Z",
    },
    name: { kind: "text", value: "TEXT", help: "only those with this in their name" },
    sort: {
      kind: "text",
      value: Object.keys(ORDERS).join("|"),
      help: "order: created, updated and size the greatest first (default created)",
    },
    limit: { kind: "count", value: "N", help: "at most so many (default: all)" },
    contexts: {
      kind: "flag",
      help: "list upload contexts instead; of the options only --limit, -q, --json",
    },
    quiet: { kind: "flag", short: "q", help: "print ids only" },
    json: { kind: "flag", help: "print one JSON array; with --watch an object a line" },
    watch: { kind: "flag", short: "w", help: "look again every 2 s; print what changed" },
    ...SERVER_OPTION,
  },
  examples: [
    "stream ls --context run-17 --status FAILED",
    "stream rm $(stream ls -q --since 1h --name core.)",
  ],
  async run(_args, options) {
    if (options.flag("contexts")) await printContexts(options);
    else if (options.flag("watch")) await watch(options);
    else await list(options);
    return EXIT.ok;
  },
};

async function list(options: Options): Promise<void> {
  const show = rowOf(options);
  const resources = await selected(options, options.number("limit") ?? Infinity);
  if (!options.flag("json")) {
    let isFirst = true;
    for await (const info of resources) {
      if (isFirst && isTable(options)) await printLine(HEADER);
      isFirst = false;
      await printLine(show(info));
    }
    return;
  }
  let separator = "[";
  for await (const info of resources) {
    await printLine(separator + visibleJson(info));
    separator = ",";
  }
  await printLine(separator === "[" ? "[]" : "]");
}

/** At a terminal the newest that fit, again and again; elsewhere a line for each that changed. */
async function watch(options: Options): Promise<void> {
  const isScreen = isTable(options);
  const rows = isScreen ? Math.max(1, process.stdout.rows - 2) : WATCHED_ROWS;
  const limit = Math.min(options.number("limit") ?? Infinity, rows);
  const show = options.flag("json") ? visibleJson : rowOf(options);
  for (let seen = new Map<string, string>();;) {
    const shown = new Map<string, string>();
    for await (const info of await selected(options, limit)) shown.set(info.id, show(info));
    if (isScreen) {
      const screen = [CLEAR + HEADER, ...shown.values(), ""].join("\n");
      await standardOutput().write(new TextEncoder().encode(screen));
    } else {
      for (const [id, row] of shown) if (seen.get(id) !== row) await printLine(row);
    }
    seen = shown;
    await sleep(WATCH_EVERY_MS);
  }
}

async function printContexts(options: Options): Promise<void> {
  for (const name of ["context", "status", "since", "name", "watch"]) {
    if (options.list(name).length === 0) continue;
    throw new UsageError(`--${name} chooses resources: it does not go with --contexts`);
  }
  const { server, token } = await credentialsOf(options);
  const limit = options.number("limit") ?? Infinity;
  const [quiet, json] = [options.flag("quiet"), options.flag("json")];
  const found = [];
  for await (const context of listContexts(server, { token })) {
    if (found.length >= limit) break;
    found.push(context);
    if (json) continue;
    const state = context.closedAt === null ? "open" : `closed ${context.closedAt}`;
    await printLine(visible(quiet ? context.id : `${context.createdAt}  ${context.id}  ${state}`));
  }
  if (json) await printLine(visibleJson(found));
}

/** The resources that the options choose, in their order. */
async function selected(
  options: Options,
  limit: number,
): Promise<Iterable<ResourceInfo> | AsyncIterable<ResourceInfo>> {
  const order = orderOf(options);
  const chosen = chosenBy(options);
  if (order === undefined) return firstOf(chosen, limit);
  const all: ResourceInfo[] = [];
  for await (const info of chosen) {
    if (all.push(info) > MAX_SORTED) {
      throw new UsageError(
        `--sort: there are more than ${MAX_SORTED} resources; say which by --since or --context`,
      );
    }
  }
  return all.sort(order).slice(0, limit);
}

async function* chosenBy(options: Options): AsyncGenerator<ResourceInfo, void, void> {
  const { server, token } = await credentialsOf(options);
  const contextId = options.text("context");
  const filenamePart = options.text("name");
  const sinceMs = options.number("since") ?? -Infinity;
  const transferStatuses = statusesOf(options);
  const query = { transferStatuses, filenamePart, token };
  // Who watches may wait for a context that nobody has made yet.
  const isAwaited = contextId === undefined || options.flag("watch");
  const found = isAwaited
    ? listResources(server, { contextId, ...query })
    : resourcesIn(contextId, { server, token }, query);
  for await (const info of found) {
    if (Date.parse(info.createdAt) < sinceMs) return;
    yield info;
  }
}

async function* firstOf<T>(items: AsyncIterable<T>, limit: number): AsyncGenerator<T, void, void> {
  let count = 0;
  if (limit === 0) return;
  for await (const item of items) {
    yield item;
    if (++count >= limit) return;
  }
}

function orderOf(options: Options) {
  const name = options.text("sort");
  if (name === undefined || name === "created") return undefined;
  if (Object.hasOwn(ORDERS, name)) return ORDERS[name];
  throw options.wrong("sort", `that is none of ${Object.keys(ORDERS).join(", ")}`);
}

function statusesOf(options: Options): TransferStatus[] {
  return options.list("status").flatMap((text) => text.split(",")).map((text) => {
    const wanted = text.toUpperCase().replaceAll("-", "_");
    const status = TRANSFER_STATUSES.find((name) => name === wanted);
    if (status !== undefined) return status;
    throw options.wrong("status", `${text} is none of ${TRANSFER_STATUSES.join(", ")}`);
  });
}

/** People read at terminals; programs get columns that stay as they are. */
function isTable(options: Options): boolean {
  return isatty(1) && !options.flag("quiet") && !options.flag("json");
}

function rowOf(options: Options): (info: ResourceInfo) => string {
  if (options.flag("quiet")) return ({ id }) => id;
  return isTable(options) ? tableRow : plainRow;
}

const HEADER = [
  "ID".padEnd(36),
  "STATUS".padEnd(11),
  "SIZE".padStart(8),
  "LINES".padStart(9),
  "AGE".padStart(4),
  "NAME",
].join("  ");

const STATUS_STYLES: Record<TransferStatus, keyof typeof STYLES> = {
  INITIATED: "cyan",
  IN_PROGRESS: "cyan",
  COMPLETED: "green",
  FAILED: "red",
};

function tableRow(info: ResourceInfo): string {
  const { id, transferStatus, currentSize, numberOfLines, createdAt, filename, outcome } = info;
  const status = transferStatus.padEnd(11);
  const failed = endedWell(outcome) ? "" : `(ended ${outcomeText(outcome!)})`;
  const ended = failed === "" ? "" : `  ${isColoured() ? styled("red", failed) : failed}`;
  return [
    id.padEnd(36),
    isColoured() ? styled(STATUS_STYLES[transferStatus], status) : status,
    formatBytes(currentSize).padStart(8),
    (numberOfLines === null ? "-" : String(numberOfLines)).padStart(9),
    formatAge(Date.now() - Date.parse(createdAt)).padStart(4),
    visible(filename) + ended,
  ].join("  ");
}

function plainRow(info: ResourceInfo): string {
  const { id, transferStatus, currentSize, numberOfLines, createdAt, filename } = info;
  const lines = numberOfLines === null ? "-" : String(numberOfLines);
  const columns = [
    id,
    transferStatus.padEnd(11),
    String(currentSize).padStart(14),
    lines.padStart(10),
    createdAt,
    filename,
  ];
  return visible(columns.join("  "));
}
