/**
 * `stream push`.
 * @module
 */
import {
  getResource,
  push,
  type PushedUpload,
  type PushOptions,
  resumePush,
  type Upload,
} from "../../client.ts";
import {
  httpBase,
  parseReference,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import { connectFrames } from "../../runtime/frames/client.ts";
import { type GrowingFileOptions, openFile, openGrowingFile } from "../../source/file.ts";
import { guessMimeType, isText } from "../../mime.ts";
import { openStdin } from "../../source/pipe.ts";
import { isTransient } from "../../client/connection/retry.ts";
import { MAX_PID } from "../../source/process.ts";
import type { Source } from "../../source/source.ts";
import { spool } from "../../source/spool.ts";
import { CHARSETS } from "../../source/charsets.ts";
import { transcodeToUtf8 } from "../../source/text.ts";
import {
  type Command,
  EXIT,
  type Options,
  SERVER_OPTION,
  serverOf,
  UsageError,
} from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { idOf } from "../references.ts";
import { Announcer, visible } from "../output.ts";
import { Progress, RETRY_NOTICES } from "../progress.ts";
import { reachable } from "../raw_names.ts";
import { recallToken, rememberUpload } from "../resume_tokens.ts";
import { onEnd } from "../signals.ts";
import { isTerminal, notice } from "../stderr.ts";
import { TRANSPORT_OPTION, transportOf } from "../transport.ts";
import { formatBytes } from "../units.ts";

/** Most bytes of a pipe that are kept while they cannot be sent. */
const SPOOL_BYTES = 256_000_000;

/** Uploads a file, a pipe or a growing log. */
export const pushCommand: Command = {
  name: "push",
  summary: "upload a file, a pipe or a growing log; it can be followed at once",
  positionals: ["FILE|-"],
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
    ...TRANSPORT_OPTION,
    ...SERVER_OPTION,
  },
  lists: { charsets: CHARSETS },
  examples: [
    "make 2>&1 | stream push - --name build.log --context run-17",
    "stream push test.log --follow --until-pid $!",
  ],
  run: ([path], options) => runPush(path, options),
};

async function runPush(path: string, options: Options): Promise<number> {
  checkOptions(path, options);
  const interrupts = new Interrupts();
  const following = isFollowing(options);
  const cancel = following ? interrupts.second : interrupts.first;
  await using file = await reachable(path);
  try {
    const source = await unlessAborted(
      cancel,
      openSource(file.path, options, following ? interrupts.first : null),
    );
    await pushSource(path, source, options, cancel);
    return EXIT.ok;
  } catch (error) {
    if (!cancel.aborted) throw error;
    notice("interrupted; a resource that was begun is FAILED and keeps what arrived");
    return EXIT.interrupted;
  }
}

async function pushSource(
  path: string,
  source: Source,
  options: Options,
  cancel: AbortSignal,
): Promise<void> {
  const charset = options.text("charset");
  const bytes = charset === undefined
    ? source.stream
    : source.stream.pipeThrough(transcodeToUtf8(charset));
  const upload = await openUpload(path, source, options, cancel);
  // Only a file can be read again by another process; whoever has seen the reference can go on with it.
  const canGoOn = path !== "-" && upload.resumeToken !== "";
  const forget = canGoOn
    ? await rememberUpload(upload, targetOf(options))
    : () => Promise.resolve();
  const announcer = new Announcer();
  try {
    await announcer.say(visible(upload.reference));
    if (isTerminal) void showPage(upload.reference, options);
    await transfer(upload, bytes, charset === undefined ? source.size : null, cancel);
    await forget();
  } catch (error) {
    await upload.abort(error);
    const reason = toStreamError(error);
    // With another token this upload can go on.
    if (!isTransient(reason) && reason.code !== "UNAUTHORIZED") await forget();
    throw error;
  }
  announcer.done();
}

/** Tells a person where the upload can be watched; a server that does not say is no reason to wait or to fail. */
async function showPage(reference: string, options: Options): Promise<void> {
  try {
    const { view } = await getResource(reference, await credentialsOf(options, reference));
    if (view !== null && view !== undefined) notice(`watch it at ${visible(view)}`);
  } catch { /* A token that may upload need not be allowed to read. */ }
}

/** What contradicts itself is told before anything is opened. */
function checkOptions(path: string, options: Options): void {
  idOf(options);
  transportOf(options);
  if (options.flag("text") && options.flag("binary")) {
    throw new UsageError("--text and --binary exclude each other");
  }
  if (path === "-" && isFollowing(options)) {
    throw new UsageError("--follow is for files: - is read until it ends anyway");
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
  path: string,
  source: Source,
  options: Options,
  signal: AbortSignal,
): Promise<PushedUpload> {
  const resumed = options.text("resume");
  const { server, token } = await credentialsOf(options, resumed);
  const settings: PushOptions = {
    id: idOf(options),
    contextId: options.text("context"),
    token,
    signal,
    retryForMs: options.number("retry-for"),
    ...RETRY_NOTICES,
    stepTransport: connectFrames,
    ...transportOf(options),
  };
  if (resumed === undefined) {
    return await push(server, metadataOf(path, source, options), settings);
  }
  const location = parseReference(resumed, server);
  const saved = await recallToken(location.id);
  try {
    return await resumePush(location.server, saved.token, settings);
  } catch (error) {
    await saved.answered(toStreamError(error), location.server);
    throw error;
  }
}

/** HTTP base URL of the server that the bytes go to. */
function targetOf(options: Options): string {
  const server = serverOf(options);
  const resumed = options.text("resume");
  return resumed === undefined ? httpBase(server) : parseReference(resumed, server).server;
}

async function transfer(
  upload: Upload,
  bytes: ReadableStream<Uint8Array>,
  size: number | null,
  cancel: AbortSignal,
): Promise<void> {
  using progress = new Progress(
    size,
    () => `acknowledged ${formatBytes(upload.status.currentSize)}`,
  );
  await progress.count(bytes).pipeTo(upload.writable, { signal: cancel });
  await upload.done;
}

function isFollowing(options: Options): boolean {
  return options.flag("follow") ||
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
  if (stop === null) return await openFile(path);
  const following: GrowingFileOptions = {
    stop,
    untilIdleMs: options.number("until-idle"),
    untilPid: options.number("until-pid"),
    untilFile: options.text("until-file"),
  };
  return await openGrowingFile(path, following);
}

function metadataOf(path: string, source: Source, options: Options): ResourceMetadata {
  // What comes through a pipe is a log more often than not, and counting its lines changes no byte.
  const filename = options.text("name") ?? (path === "-" ? "stdin.log" : source.name);
  const mimeType = options.text("type") ?? guessMimeType(filename);
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
