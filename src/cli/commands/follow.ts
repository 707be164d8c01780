/**
 * `stream follow`.
 * @module
 */
import { Buffer } from "node:buffer";
import { isatty } from "node:tty";
import { type Download, open } from "../../client.ts";
import type { Finder } from "../../resources.ts";
import { endedWell, StreamError } from "../../protocol.ts";
import { asked } from "../asked.ts";
import {
  type Command,
  EXIT,
  type Options,
  QUIET_OPTION,
  SERVER_OPTION,
  UsageError,
} from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import {
  fileOutput,
  lastBytesOf,
  type Output,
  sizeOf,
  standardOutput,
  visible,
} from "../output/output.ts";
import { plainOutput } from "../output/plain_output.ts";
import { Progress, RETRY_NOTICES } from "../output/progress.ts";
import { outcomeText } from "../uploads/outcome.ts";
import { Several } from "../follow_several.ts";
import { shownLines } from "../lines/shown_lines.ts";
import { LineTimes, TIME_FORMATS, type TimeFormat, timeFormatOf } from "../lines/times.ts";
import { isColoured } from "../output/terminal.ts";
import { type NamedResource, resourceOf } from "../references.ts";
import { copy, type Located, located, type Selection, selectionOf } from "../selection.ts";
import { complain, notice } from "../output/stderr.ts";
import { TRANSPORT_OPTION, transportOf } from "../transport.ts";
import { formatBytes } from "../units.ts";

/** Reads a resource, live until it ends. */
export const follow: Command = {
  name: "follow",
  summary: "read resources, live while they are being written",
  positionals: ["[REF…]"],
  options: {
    context: {
      kind: "text",
      value: "ID",
      help: "all resources of an upload context, and those that join it, until it is closed",
    },
    output: {
      kind: "text",
      short: "o",
      value: "FILE",
      help: "write to a file instead of stdout (-)",
    },
    continue: { kind: "flag", help: "with -o: go on where the file ends" },
    from: { kind: "size", value: "OFFSET", help: "first byte, from 0 (default 0)" },
    to: { kind: "size", value: "OFFSET", help: "byte after the last (default: the end)" },
    lines: {
      kind: "text",
      value: "START:COUNT",
      help: "only so many lines from an index, from 0",
    },
    tail: { kind: "count", short: "n", value: "N", help: "begin N lines before the end" },
    since: {
      kind: "time",
      value: "TIME",
      help: "begin with the first line that arrived since then: 30m, 7d, 2026-11-28T10:00Z",
    },
    grep: {
      kind: "text",
      value: "PATTERN",
      help: "only lines that match: a regular expression in the syntax of RE2, as search has it",
    },
    timestamps: { kind: "flag", help: "begin each line with the time when it could be read (UTC)" },
    "time-format": {
      kind: "text",
      value: TIME_FORMATS.join("|"),
      help: "timestamps of this kind; start: time since the upload began (default utc)",
    },
    json: {
      kind: "flag",
      help: "print a JSON object a line for each line: line (from 0), text, time, id, filename",
    },
    "no-color": {
      kind: "flag",
      help: "leave out escape sequences, which colour or move a terminal",
    },
    "no-follow": { kind: "flag", help: "read what is there now, and end" },
    "retry-for": {
      kind: "duration",
      value: "TIME",
      help:
        "try a connection again for so long; 0s for never (default 10m; 5s for a first one unless told to wait)",
    },
    ...TRANSPORT_OPTION,
    ...QUIET_OPTION,
    ...SERVER_OPTION,
  },
  examples: [
    "stream follow ws://127.0.0.1:8090/ws/streaming/download/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11",
    "stream follow 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 --tail 20 | grep ERROR",
  ],
  run: (references, options) => {
    if (references.length === 1 && options.text("context") === undefined) {
      return runFollow(references[0], options);
    }
    return runSeveral(references, options);
  },
};

/** Resources together, line by line. */
async function runSeveral(references: string[], options: Options): Promise<number> {
  const context = options.text("context");
  if ((references.length === 0) === (context === undefined)) {
    throw new UsageError("follow wants either REF or --context ID");
  }
  for (const name of ["output", "from", "to", "lines"]) {
    if (options.text(name) === undefined) continue;
    throw new UsageError(`--${name} is for one resource: stream get fetches several`);
  }
  if (options.text("since") !== undefined) throw new UsageError("--since is for one resource");
  const choice = await choiceOf(options);
  const output = options.flag("no-color") ? plainOutput(standardOutput()) : standardOutput();
  const several = new Several(output, {
    tail: options.number("tail"),
    live: !options.flag("no-follow"),
    ...choice,
    isColoured: mayColour(options),
    open: {
      retryForMs: options.number("retry-for"),
      ...RETRY_NOTICES,
      ...transportOf(options),
    },
  });
  if (context === undefined) {
    const resources = [];
    for (const text of references) {
      resources.push(await asked(options, () => resourceOf(options, text)));
    }
    await several.all(resources);
  } else await several.context(context, await credentialsOf(options));
  return several.failed === 0 ? EXIT.ok : EXIT.resourceFailed;
}

/** Bytes at the end of a continued file that are held against the resource. */
const COMPARED_BYTES = 64 * 1024;

/** Which lines are shown, and whether with their times. */
interface Choice {
  finder: Finder | null;
  times: TimeFormat | null;
  json: boolean;
}

async function choiceOf(options: Options): Promise<Choice> {
  const pattern = options.text("grep");
  const format = options.text("time-format");
  const json = options.flag("json");
  if (json && options.flag("no-color")) {
    throw new UsageError("--json and --no-color exclude each other: JSON has texts as they are");
  }
  const isDated = options.flag("timestamps") || format !== undefined;
  return {
    finder: pattern === undefined
      ? null
      : (await import("../lines/grep_finder.ts")).grepFinder(pattern),
    times: isDated ? timeFormatOf(format ?? "utc") : null,
    json,
  };
}

/** Numbers and times are those of whole lines. */
function checkWholeLines(selection: Selection, { times, json }: Choice): void {
  if (selection.by !== "bytes" || selection.from === 0 || times === null && !json) return;
  const name = json ? "--json tells" : "--timestamps are those of";
  throw new UsageError(`${name} whole lines: give --lines, --tail or --since`);
}

function mayColour(options: Options): boolean {
  return !options.flag("no-color") && pathOf(options) === undefined && isColoured();
}

async function runFollow(text: string, options: Options): Promise<number> {
  const choice = await choiceOf(options);
  const wanted = selectionOf(options);
  checkWholeLines(wanted, choice);
  const live = !options.flag("no-follow");
  const resource = await asked(options, () => resourceOf(options, text));
  const { reference, ...credentials } = resource;
  // Where the bytes themselves are to be seen they are the progress.
  using progress = pathOf(options) === undefined ? null : new Progress(() => stateOf(opened));
  using transfer = progress?.transfer();
  let opened: Download | null = null;
  const download = opened = await open(reference, {
    ...credentials,
    retryForMs: options.number("retry-for"),
    ...(transfer?.retries ?? RETRY_NOTICES),
    ...transportOf(options),
  });
  try {
    const { selection, firstLine } = choice.times !== null || choice.json || wanted.by === "since"
      ? await located(download, resource, wanted)
      : { selection: wanted, firstLine: 0 };
    const file = await openOutput(options, selection, download);
    const output = options.flag("no-color") ? plainOutput(file) : file;
    const lines = linesOf(output, resource, { firstLine, ...choice }, options);
    const target = lines ?? output;
    // Where lines begin is asked for later.
    const from = selection.by === "bytes" ? selection.from : Infinity;
    const counted = transfer?.written(target, download, from) ?? target;
    await copy(download, selection, live, counted);
    await lines?.close();
    await output.close();
    const { transferStatus, failure, outcome } = download.status;
    if (transferStatus !== "FAILED") {
      if (!endedWell(outcome)) notice(`the command ended ${outcomeText(outcome!)}`);
      return EXIT.ok;
    }
    complain(`the resource is FAILED: ${visible(failure ?? "the server does not say why")}`);
    return EXIT.resourceFailed;
  } finally {
    download.close();
  }
}

/** What is known of a resource, for its progress. */
function stateOf(download: Download | null): string {
  if (download === null) return "";
  return `${download.status.transferStatus} ${formatBytes(download.status.currentSize)}`;
}

/** Prints lines as they were chosen; null where the bytes are printed as they are. */
function linesOf(
  output: Output,
  resource: NamedResource,
  { firstLine, finder, times, json }: Choice & { firstLine: number },
  options: Options,
): Output | null {
  if (finder === null && times === null && !json) return null;
  const retryForMs = options.number("retry-for");
  return shownLines(output, {
    firstLine,
    finder,
    times: times === null ? null : new LineTimes(resource, times, retryForMs),
    label: null,
    json: json ? {} : null,
    isColoured: mayColour(options),
    isTerminal: pathOf(options) === undefined && isatty(1),
  });
}

/** The file to write to; undefined for stdout. */
function pathOf(options: Options): string | undefined {
  const path = options.text("output");
  return path === "-" ? undefined : path;
}

/** Where the bytes go; a file that is continued moves the selection to its end. */
async function openOutput(
  options: Options,
  selection: Located,
  download: Download,
): Promise<Output> {
  const path = pathOf(options);
  for (const name of ["no-color", "grep", "timestamps", "time-format", "json"]) {
    if (!options.flag("continue") || !options.flag(name) && options.text(name) === undefined) {
      continue;
    }
    throw new UsageError(
      `--continue and --${name} exclude each other: the file has other offsets`,
    );
  }
  if (!options.flag("continue")) {
    return path === undefined ? standardOutput() : await fileOutput(path, "w");
  }
  if (path === undefined || selection.by !== "bytes") {
    throw new UsageError("--continue goes with -o FILE, and neither with --lines nor with --tail");
  }
  const size = await sizeOf(path);
  const { currentSize } = download.status;
  selection.from += size;
  // What the file has was there: it is not to be waited for a second time.
  if (size > 0 && selection.from > currentSize) {
    throw new StreamError(
      "OFFSET_LOST",
      `${path} ends at byte ${selection.from}; the resource now has ${currentSize} bytes`,
    );
  }
  await checkContinued(path, size, download, selection.from);
  return await fileOutput(path, "a");
}

/** Holds the end of a file that is continued against what the resource has there. */
async function checkContinued(
  path: string,
  size: number,
  download: Download,
  end: number,
): Promise<void> {
  const kept = await lastBytesOf(path, Math.min(size, COMPARED_BYTES));
  const there = download.read({ from: end - kept.length, to: end });
  if (Buffer.from(kept).equals(await new Response(there).bytes())) return;
  throw new StreamError(
    "OFFSET_LOST",
    `${path} ends with other bytes than the resource has before byte ${end}: ` +
      "it is of another resource, or of a former one with the same id",
  );
}
