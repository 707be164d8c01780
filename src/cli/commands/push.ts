/**
 * `stream push`.
 * @module
 */
import { CHARSETS } from "../../source/charsets/charsets.ts";
import {
  type Command,
  EXIT,
  type Options,
  QUIET_OPTION,
  SERVER_OPTION,
  UsageError,
} from "../command.ts";
import { described } from "../exit_codes.ts";
import { Announcer, visible } from "../output/output.ts";
import { Progress } from "../output/progress.ts";
import { complain, notice } from "../output/stderr.ts";
import { TRANSPORT_OPTION } from "../transport.ts";
import { formatBytes } from "../units.ts";
import { failureCode, untilInterrupted } from "../uploads/interrupts.ts";
import { showContext, showPage } from "../uploads/pages.ts";
import { inParallel } from "../uploads/parallel.ts";
import { filesOf, isDirectory } from "../uploads/push_files.ts";
import { checkOptions, isFollowing, isWatched } from "../uploads/push_options.ts";
import { pushPath } from "../uploads/push_paths.ts";
import { pushWatchedPipe } from "../uploads/push_pipe.ts";
import type { Told } from "../uploads/told.ts";

/** Files that are pushed at a time. */
const PARALLEL = 4;

/** Uploads a file, a pipe or a growing log. */
export const pushCommand: Command = {
  name: "push",
  summary: "upload files, directories, a pipe or a growing log; all can be followed at once",
  positionals: ["FILE|-", "[FILE|DIR…]"],
  options: {
    name: { kind: "text", value: "NAME", help: "name of the resource (default: that of the file)" },
    type: { kind: "text", value: "MIME", help: "MIME type (default: guessed from the name)" },
    text: { kind: "flag", help: "lines can be asked for (default: guessed from the type)" },
    binary: { kind: "flag", help: "lines cannot be asked for" },
    charset: {
      kind: "text",
      value: "CHARSET",
      help: "transcode from this charset, one below, to UTF-8 (default: bytes stay as they are)",
    },
    id: { kind: "text", value: "UUID", help: "id of the resource (default: the server's choice)" },
    context: { kind: "text", value: "ID", help: "upload context: a test run, a job" },
    follow: {
      kind: "flag",
      short: "f",
      help: "keep reading a growing file until Ctrl-C; a second one cancels",
    },
    "follow-name": {
      kind: "flag",
      short: "F",
      help:
        "as tail -F: follow what is at the path, also when logs are rotated; each file is a resource",
    },
    join: { kind: "flag", help: "with -F: all files go on in one resource" },
    wait: {
      kind: "duration",
      value: "TIME",
      help: "with -F: wait so long for a file that is not there (default: for ever)",
    },
    "until-idle": {
      kind: "duration",
      value: "TIME",
      help: "follow until nothing was added for so long",
    },
    "until-pid": { kind: "count", value: "PID", help: "follow until a process is gone" },
    "until-file": { kind: "text", value: "PATH", help: "follow until a file exists" },
    "retry-for": {
      kind: "duration",
      value: "TIME",
      help:
        "try a connection again for so long; 0s for never (default 10m; 5s for a first one unless told to wait)",
    },
    "spool-limit": {
      kind: "size",
      value: "SIZE",
      help: "keep so much of a pipe while it cannot be sent; then it has to wait (default 256MB)",
    },
    resume: {
      kind: "text",
      value: "REF",
      help: "go on with the upload of this file after its push was killed",
    },
    tee: { kind: "flag", help: "of -: print on stdout what is read, and the reference on stderr" },
    "best-effort": {
      kind: "flag",
      help: "of -: never hold up or fail what comes before the pipe; give the upload up instead",
    },
    include: {
      kind: "list",
      value: "GLOB",
      help: "take only such names from directories, as *.log; can be repeated (default: all files)",
    },
    parallel: {
      kind: "count",
      value: "N",
      help: "push so many files at a time (default 4; all that are followed)",
    },
    json: {
      kind: "flag",
      help: "print a JSON object a line when an upload begins, and at its end",
    },
    ...TRANSPORT_OPTION,
    ...QUIET_OPTION,
    ...SERVER_OPTION,
  },
  lists: { charsets: CHARSETS },
  examples: [
    "make 2>&1 | stream push - --name build.log --context run-17",
    "stream push test.log --follow --until-pid $!",
  ],
  run: async (paths, options) => {
    const isOne = paths.length === 1 && (paths[0] === "-" || !await isDirectory(paths[0]));
    return await (isOne ? pushOne(paths[0], options) : pushSeveral(paths, options));
  },
};

/** One file or pipe. */
async function pushOne(path: string, options: Options): Promise<number> {
  checkOptions(path, options);
  if (path === "-" && isWatched(options)) return await pushWatchedPipe(options);
  return await untilInterrupted(options, async (signals) => {
    const announcer = new Announcer(options.flag("json"));
    using progress = new Progress();
    await pushPath({ path, name: options.text("name") }, {
      options,
      signals,
      contextId: options.text("context"),
      progress,
      say: (told) => announcer.tell({ ...told }, told.failure ? undefined : told.reference!),
      show: (reference) => showPage(reference, options),
    });
    announcer.done();
  });
}

/** Several files and directories: each a resource of one context. */
async function pushSeveral(paths: string[], options: Options): Promise<number> {
  for (const name of ["name", "id", "resume"]) {
    if (options.text(name) === undefined) continue;
    throw new UsageError(`--${name} is for one file: give no other, and no directory`);
  }
  for (const path of paths) checkOptions(path, options);
  if (paths.includes("-")) throw new UsageError("- goes alone: it is one pipe");
  const files = await filesOf(
    paths,
    options.list("include"),
    (path, reason) => complain(`${visible(path)} is left out: ${reason}`),
  );
  const contextId = options.text("context") ?? `push-${crypto.randomUUID()}`;
  const parallel = options.number("parallel") ?? (isFollowing(options) ? files.length : PARALLEL);
  let code: number = EXIT.ok, pushed = 0, bytes = 0;
  let shown: Promise<void> | null = null;
  const show = (reference: string) => shown ??= showContext(reference, contextId, options);
  const interrupted = await untilInterrupted(options, async (signals) => {
    const announcer = new Announcer(options.flag("json"));
    using progress = new Progress(() => `${pushed} of ${files.length} files`);
    await inParallel(files, Math.max(1, parallel), async (file) => {
      if (signals.cancel.aborted) return;
      const say = (told: Told) =>
        announcer.tell(
          { ...told },
          told.failure ? undefined : `${told.reference}  ${told.filename}`,
        );
      try {
        const size = await pushPath(file, { options, signals, contextId, progress, say, show });
        bytes += size;
        pushed++;
      } catch (error) {
        if (signals.cancel.aborted) return;
        complain(`${visible(file.path)}: ${described(error)}`);
        code ||= failureCode(error, signals.stop);
      }
    });
    signals.cancel.throwIfAborted();
    announcer.done();
  });
  const what = `${pushed} of ${files.length} files pushed, ${formatBytes(bytes)}`;
  notice(`${what}, in the upload context ${visible(contextId)}`);
  return interrupted || code;
}
