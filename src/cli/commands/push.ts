/**
 * `stream push`.
 * @module
 */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";
import {
  push,
  type PushedUpload,
  type PushOptions,
  resumePush,
  type UploadResult,
} from "../../client.ts";
import {
  type ErrorCode,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import { type GrowingFileOptions, openFile, openGrowingFile } from "../../source/file.ts";
import { openNamedFiles } from "../../source/named_files.ts";
import { guessMimeType, isText } from "../../mime.ts";
import { openStdin } from "../../source/pipe.ts";
import { isTransient, Service } from "../../client/connection/service.ts";
import { locate } from "../../client/target.ts";
import { MAX_PID, WatchedProcess } from "../../source/process.ts";
import type { Source } from "../../source/source.ts";
import { spool } from "../../source/spool.ts";
import { Tee } from "../../source/tee.ts";
import { CHARSETS } from "../../source/charsets/charsets.ts";
import { transcodeToUtf8 } from "../../source/charsets/text.ts";
import {
  type Command,
  EXIT,
  type Options,
  QUIET_OPTION,
  SERVER_OPTION,
  serverOf,
  UsageError,
} from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { Announcer, ReaderGone, visible, visibleJson, writer } from "../output/output.ts";
import { uploadOutput } from "../uploads/output_upload.ts";
import { contextPage, pageOf } from "../uploads/pages.ts";
import { inParallel } from "../uploads/parallel.ts";
import { Progress, type Transfer } from "../output/progress.ts";
import { filesOf, isDirectory } from "../uploads/push_files.ts";
import { reachable } from "../raw_names.ts";
import { idOf } from "../references.ts";
import { recallToken, rememberUpload } from "../uploads/resume_tokens.ts";
import { onEnd } from "../signals.ts";
import { complain, isTerminal, notice, writeLine } from "../output/stderr.ts";
import { connectStep, TRANSPORT_OPTION, transportOf } from "../transport.ts";
import { formatBytes } from "../units.ts";

/** What is read of a file at once: each read is a thread's round trip. */
const FILE_BUFFER_BYTES = 1024 * 1024;
/** Interval of looking whether the producer of a pipe is done. */
const LOOK_EVERY_MS = 100;
/** Files that are pushed at a time. */
const PARALLEL = 4;
/** Name of a pipe that is given none. */
const PIPE_NAME = "stdin.log";
const INTERRUPTED = "interrupted; a resource that was begun is FAILED and keeps what arrived";
/** Most bytes of a pipe that are kept while they cannot be sent. */
const SPOOL_BYTES = 256_000_000;

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
        "try a connection again for so long; 0s for never (default 10m, and 5s for the first one)",
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
    const isOne = paths.length === 1 && !await isDirectory(paths[0]);
    return await (isOne ? pushOne(paths[0], options) : pushSeveral(paths, options));
  },
};

/** One file or pipe. */
async function pushOne(path: string, options: Options): Promise<number> {
  checkOptions(path, options);
  if (path === "-" && isWatched(options)) return await pushWatched(options);
  return await untilInterrupted(options, async (signals) => {
    const announcer = new Announcer(options.flag("json"));
    using progress = new Progress();
    await pushPath({ path, name: options.text("name") }, options, signals, {
      contextId: options.text("context"),
      progress,
      say: (told) => announcer.tell({ ...told }, told.failure ? undefined : told.reference!),
      show: (reference) => showPage(reference, options),
    });
    announcer.done();
  });
}

/** Whether the pipe is more than read to its end. */
function isWatched(options: Options): boolean {
  return options.flag("tee") || options.flag("best-effort") ||
    options.text("until-pid") !== undefined || options.text("until-file") !== undefined;
}

/** A pipe that others see, too, or that must not be held up, or that ends by something else than its end. */
async function pushWatched(options: Options): Promise<number> {
  const bestEffort = options.flag("best-effort");
  const watcher = options.flag("tee") ? writer(process.stdout) : () => Promise.resolve();
  const source = openStdin();
  const tee = new Tee(source.stream, watcher, (failure) => failure instanceof ReaderGone);
  const announcer = new Announcer();
  const metadata = metadataOf("-", options.text("name"), source, options);
  const contextId = options.text("context");
  const told = (reference: string | null): Told => {
    return { reference, filename: metadata.filename, contextId: contextId ?? null };
  };
  const upload = uploadOutput(options, {
    tees: [tee],
    metadata,
    push: { id: idOf(options), contextId },
    credentials: await credentialsOf(options),
    bestEffort,
    begun: (reference) => {
      void tellWatched(told(reference), options, announcer);
      if (isTerminal) void showPage(reference, options);
    },
    say: (text) => notice(visible(text)),
    complain: (text) => complain(visible(text)),
  });
  const interrupts = new Interrupts();
  interrupts.first.addEventListener("abort", () => {
    complain(`${INTERRUPTED}; the pipe is read to its end, or to a second interrupt`);
    upload.giveUp(interrupts.first.reason);
  });
  interrupts.second.addEventListener("abort", () => void tee.stop());
  const stopLooking = whenDone(options, () => void tee.stop());
  await tee.done;
  stopLooking();
  upload.ends();
  const failure = await upload.over;
  if (options.flag("json")) {
    const ended = failure === null ? upload.result : { failure: failureOf(failure) };
    await tellWatched({ ...told(upload.reference), ...ended }, options, announcer);
  }
  announcer.done();
  if (interrupts.first.aborted) return EXIT.interrupted;
  if (failure !== null && !bestEffort) throw failure;
  if (tee.failure !== null && !(tee.failure instanceof ReaderGone)) throw tee.failure;
  return EXIT.ok;
}

/** With `--tee` stdout has the bytes themselves. */
async function tellWatched(told: Told, options: Options, announcer: Announcer): Promise<void> {
  const text = options.flag("json") ? visibleJson(told) : visible(told.reference!);
  if (!options.flag("tee")) await announcer.say(text);
  else if (options.flag("json")) writeLine(text);
  else notice(`${visible(told.filename)}: ${text}`);
}

/** Looks whether the producer is done, until told otherwise. */
function whenDone(options: Options, done: () => void): () => void {
  const [pid, file] = [options.number("until-pid"), options.text("until-file")];
  const producer = pid === undefined ? null : new WatchedProcess(pid);
  if (producer === null && file === undefined) return () => {};
  const timer = setInterval(() => {
    if (!producer?.isGone() && !(file !== undefined && existsSync(file))) return;
    clearInterval(timer);
    done();
  }, LOOK_EVERY_MS);
  return () => clearInterval(timer);
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
        const size = await pushPath(file, options, signals, { contextId, progress, say, show });
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

/** Signals of one run of the program. */
interface PushSignals {
  /** Ends following, and completes. */
  stop: AbortSignal;
  /** Gives up. */
  cancel: AbortSignal;
}

/** Does something that Ctrl-C may end; returns the exit code. */
async function untilInterrupted(
  options: Options,
  step: (signals: PushSignals) => Promise<void>,
): Promise<number> {
  const { first, second } = new Interrupts();
  const cancel = isFollowing(options) ? second : first;
  try {
    await step({ stop: first, cancel });
    return EXIT.ok;
  } catch (error) {
    if (cancel.aborted) complain(INTERRUPTED);
    else if (failureCode(error, first) !== EXIT.interrupted) throw error;
    else complain(described(error));
    return EXIT.interrupted;
  }
}

/** The exit code of a failure; what was to end before there was a file was interrupted. */
function failureCode(error: unknown, stop: AbortSignal): number {
  const isStopped = stop.aborted && toStreamError(error).code === "ABORTED";
  return isStopped ? EXIT.interrupted : exitCodeOf(error);
}

/** What is told of an upload, when it begins and at its end. */
interface Told extends Partial<UploadResult> {
  /** Null when it failed before it stood. */
  reference: string | null;
  stepReference?: string;
  filename: string;
  contextId: string | null;
  /** Told to programs only. */
  failure?: { code: ErrorCode; message: string };
}

/** How one of perhaps several uploads is shown. */
interface Showing {
  contextId: string | undefined;
  progress: Progress;
  say(told: Told): Promise<void>;
  /** Tells a person where it can be watched. */
  show(reference: string): Promise<void>;
}

/** A path, and the name that its resource is given. */
interface Pushed {
  path: string;
  name: string | undefined;
}

/** Pushes what is at a path, and tells programs when that fails; returns its size. */
async function pushPath(
  file: Pushed,
  options: Options,
  signals: PushSignals,
  showing: Showing,
): Promise<number> {
  const { contextId = null } = showing;
  const filename = file.name ?? (file.path === "-" ? PIPE_NAME : basename(file.path));
  const none: Told = { reference: null, filename, contextId };
  let running = none;
  const say = (told: Told) => {
    running = told.size === undefined ? told : none;
    return showing.say(told);
  };
  try {
    return await pushFiles(file, options, signals, { ...showing, say });
  } catch (error) {
    await showing.say({ ...running, failure: failureOf(error) });
    throw error;
  }
}

function failureOf(error: unknown): Told["failure"] {
  const { code, message } = toStreamError(error);
  return { code, message };
}

async function pushFiles(
  { path, name }: Pushed,
  options: Options,
  { stop, cancel }: PushSignals,
  showing: Showing,
): Promise<number> {
  if (options.flag("follow-name")) {
    return await pushNamed(path, name, options, { stop, cancel }, showing);
  }
  await using file = await reachable(path);
  const source = await unlessAborted(
    cancel,
    openSource(file.path, options, isFollowing(options) ? stop : null),
  );
  return await pushSource(path, name, source, options, cancel, showing);
}

/** Pushes what comes at a path, one file after the other; returns the size of all. */
async function pushNamed(
  path: string,
  name: string | undefined,
  options: Options,
  { stop, cancel }: PushSignals,
  showing: Showing,
): Promise<number> {
  const files = openNamedFiles(path, {
    stop,
    waitMs: options.number("wait"),
    untilIdleMs: options.number("until-idle"),
    untilPid: options.number("until-pid"),
    untilFile: options.text("until-file"),
    onMissing: () => notice(`${visible(path)} is not there: waiting for it`),
  });
  let bytes = 0;
  const context = { contextId: showing.contextId ?? `push-${crypto.randomUUID()}` };
  const shown = options.flag("join") ? showing : { ...showing, ...context };
  for await (const source of options.flag("join") ? joined(files) : files) {
    bytes += await pushSource(path, name, source, options, cancel, shown);
  }
  return bytes;
}

/** All files as one. */
async function* joined(files: AsyncGenerator<Source, void, void>): AsyncGenerator<Source> {
  const { value: first } = await files.next();
  if (first === undefined) return;
  const rest = async function* () {
    yield* first.stream;
    for await (const { stream } of files) yield* stream;
  };
  yield { ...first, stream: ReadableStream.from(rest()) };
}

async function pushSource(
  path: string,
  name: string | undefined,
  source: Source,
  options: Options,
  cancel: AbortSignal,
  { contextId, progress, say, show }: Showing,
): Promise<number> {
  const charset = options.text("charset");
  const bytes = charset === undefined
    ? source.stream
    : source.stream.pipeThrough(transcodeToUtf8(charset));
  const metadata = metadataOf(path, name, source, options);
  using transfer = progress.transfer();
  const upload = await openUpload(metadata, contextId, options, transfer, cancel);
  // Only a file can be read again by another process; whoever has seen the reference can go on with it.
  const canGoOn = path !== "-" && upload.resumeToken !== "";
  const forget = canGoOn
    ? await rememberUpload(upload, targetOf(options))
    : () => Promise.resolve();
  const { reference } = upload;
  const told = {
    reference,
    stepReference: upload.stepReference ?? undefined,
    filename: metadata.filename,
    contextId: contextId ?? null,
  };
  try {
    await say(told);
    if (isTerminal) void show(reference);
    progress.expect(charset === undefined ? source.size : null);
    await transfer.pushed(bytes, upload).pipeTo(upload.writable, { signal: cancel });
    const result = await upload.done;
    await forget();
    if (options.flag("json")) await say({ ...told, ...result });
    return result.size;
  } catch (error) {
    await upload.abort(error);
    const reason = toStreamError(error);
    // With another token this upload can go on.
    if (!isTransient(reason) && reason.code !== "UNAUTHORIZED") await forget();
    throw error;
  }
}

/** Tells a person where the upload can be watched. */
async function showPage(reference: string, options: Options): Promise<void> {
  const page = await pageOf(options, reference, options.text("resume"));
  if (page !== null) notice(`watch it at ${visible(page)}`);
}

/** Tells a person where all uploads of a context can be watched. */
async function showContext(reference: string, contextId: string, options: Options): Promise<void> {
  const page = await pageOf(options, reference);
  if (page !== null) notice(`watch them at ${visible(contextPage(page, contextId))}`);
}

/** What contradicts itself is told before anything is opened. */
function checkOptions(path: string, options: Options): void {
  idOf(options);
  transportOf(options);
  if (options.flag("text") && options.flag("binary")) {
    throw new UsageError("--text and --binary exclude each other");
  }
  for (const name of ["follow", "follow-name", "until-idle"]) {
    if (path !== "-" || options.text(name) === undefined) continue;
    throw new UsageError(`--${name} is for files: - is read until it ends anyway`);
  }
  for (const name of ["tee", "best-effort"]) {
    if (path === "-" || !options.flag(name)) continue;
    throw new UsageError(`--${name} is for -: a file is there anyway`);
  }
  if (isWatched(options) && path === "-" && options.text("charset") !== undefined) {
    throw new UsageError("--charset does not go with --tee, --best-effort and --until of a pipe");
  }
  if (
    !options.flag("follow-name") && (options.flag("join") || options.text("wait") !== undefined)
  ) {
    throw new UsageError("--join and --wait go with -F");
  }
  if (options.flag("follow-name") && options.text("resume") !== undefined) {
    throw new UsageError("--resume goes on with one file: -F begins with each");
  }
  if (path === "-" && options.text("resume") !== undefined) {
    throw new UsageError("--resume is for files: a pipe cannot be read again");
  }
  const pid = options.number("until-pid");
  if (pid === 0 || pid !== undefined && pid > MAX_PID) {
    throw new UsageError(`--until-pid ${pid}: there is no such process`);
  }
}

/** Opening a named pipe waits for whoever writes to it. */
function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
  return Promise.race([promise, aborted]);
}

async function openUpload(
  metadata: ResourceMetadata,
  contextId: string | undefined,
  options: Options,
  { retries }: Transfer,
  signal: AbortSignal,
): Promise<PushedUpload> {
  const resumed = options.text("resume");
  const { server, token } = await credentialsOf(options, resumed);
  const settings: PushOptions = {
    id: idOf(options),
    contextId,
    token,
    signal,
    retryForMs: options.number("retry-for"),
    ...retries,
    stepTransport: connectStep,
    ...transportOf(options),
  };
  if (resumed === undefined) {
    return await push(server, metadata, settings);
  }
  const { location, service } = locate(resumed, { server });
  const saved = await recallToken(location.id);
  try {
    return await resumePush(service.all, saved.token, settings);
  } catch (error) {
    await saved.answered(toStreamError(error), service.server);
    throw error;
  }
}

/** HTTP base URL of the server that the bytes go to. */
function targetOf(options: Options): string {
  const server = serverOf(options);
  const resumed = options.text("resume");
  return (resumed === undefined ? Service.at(server) : locate(resumed, { server }).service).server;
}

function isFollowing(options: Options): boolean {
  return options.flag("follow") || options.flag("follow-name") ||
    ["until-idle", "until-pid", "until-file"].some((name) => options.text(name) !== undefined);
}

/** @param stop Ends following; null for a file that is read once. */
async function openSource(
  path: string,
  options: Options,
  stop: AbortSignal | null,
): Promise<Source> {
  if (path === "-") {
    const source = openStdin();
    return {
      ...source,
      stream: spool(source.stream, options.number("spool-limit") ?? SPOOL_BYTES, notice),
    };
  }
  if (stop === null) {
    return await openFile(path, { bufferBytes: FILE_BUFFER_BYTES, reuseBuffer: true });
  }
  const following: GrowingFileOptions = {
    stop,
    untilIdleMs: options.number("until-idle"),
    untilPid: options.number("until-pid"),
    untilFile: options.text("until-file"),
  };
  return await openGrowingFile(path, following);
}

function metadataOf(
  path: string,
  name: string | undefined,
  source: Source,
  options: Options,
): ResourceMetadata {
  const filename = name ?? (path === "-" ? PIPE_NAME : source.name);
  // What comes through a pipe is a log more often than not, and counting its lines changes no byte.
  const isNamelessPipe = path === "-" && !filename.includes(".");
  const mimeType = options.text("type") ??
    (isNamelessPipe ? "text/plain" : guessMimeType(filename));
  const isDeclaredText = options.flag("text") || options.text("charset") !== undefined;
  const supportsLineAccess = !options.flag("binary") && (isDeclaredText || isText(mimeType));
  return { filename, mimeType, supportsLineAccess };
}

/** Signals to end, counted. */
class Interrupts {
  readonly #first = new AbortController();
  readonly #second = new AbortController();

  constructor() {
    onEnd(() => {
      const which = this.#first.signal.aborted ? this.#second : this.#first;
      which.abort(new StreamError("ABORTED", "the uploader was interrupted"));
    });
  }

  get first(): AbortSignal {
    return this.#first.signal;
  }

  get second(): AbortSignal {
    return this.#second.signal;
  }
}
