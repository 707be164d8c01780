/**
 * A push of what is at a path: a file, one that grows, or those that take turns there.
 * @module
 */
import { basename } from "node:path";
import type { StreamError } from "../../protocol.ts";
import { transcodeToUtf8 } from "../../source/charsets/text.ts";
import { type GrowingFileOptions, openFile, openGrowingFile } from "../../source/file.ts";
import { type NamedFilesOptions, openNamedFiles } from "../../source/named_files.ts";
import { openStdin } from "../../source/pipe.ts";
import type { Source } from "../../source/source.ts";
import { spool } from "../../source/spool.ts";
import type { Options } from "../command.ts";
import { described } from "../exit_codes.ts";
import { visible } from "../output/output.ts";
import { complain, notice } from "../output/stderr.ts";
import { reachable } from "../raw_names.ts";
import { SPOOL_BYTES } from "./output_upload.ts";
import { isFollowing } from "./push_options.ts";
import { PIPE_NAME, type Pushed, type Pushing, pushSource } from "./push_source.ts";
import { failureOf, type Told } from "./told.ts";

/** What is read of a file at once: each read is a thread's round trip. */
const FILE_BUFFER_BYTES = 1024 * 1024;

/**
 * Pushes what is at a path, and tells programs when that fails.
 *
 * @param file The path.
 * @param pushing How, and to whom it is told.
 * @returns Its size in bytes.
 * @throws {StreamError} What failed, after it was told.
 */
export async function pushPath(file: Pushed, pushing: Pushing): Promise<number> {
  const { contextId = null } = pushing;
  const filename = file.name ?? (file.path === "-" ? PIPE_NAME : basename(file.path));
  const none: Told = { reference: null, filename, contextId };
  let running = none;
  const say = (told: Told) => {
    running = told.size === undefined ? told : none;
    return pushing.say(told);
  };
  try {
    return await pushFiles(file, { ...pushing, say });
  } catch (error) {
    await pushing.say({ ...running, failure: failureOf(error) });
    throw error;
  }
}

async function pushFiles(file: Pushed, pushing: Pushing): Promise<number> {
  const { options, signals: { stop, cancel } } = pushing;
  if (options.flag("follow-name")) return await pushNamed(file, pushing);
  await using opened = await reachable(file.path);
  const source = await unlessAborted(
    cancel,
    openSource(opened.path, options, isFollowing(options) ? stop : null),
  );
  return await pushSource(file, decoded(source, options), pushing);
}

/**
 * Pushes what comes at a path, one file after the other; returns the size of all.
 * @throws {StreamError} SOURCE_FAILED also when all that could be read was pushed, but some files were missed.
 */
async function pushNamed(file: Pushed, pushing: Pushing): Promise<number> {
  const { options, signals: { stop } } = pushing;
  const isJoined = options.flag("join");
  let missed = null as StreamError | null;
  const tellMissed = (error: StreamError) => complain(described(missed = error));
  const files = decodedEach(file.path, options, {
    stop,
    waitMs: options.number("wait"),
    untilIdleMs: options.number("until-idle"),
    untilPid: options.number("until-pid"),
    untilFile: options.text("until-file"),
    onMissing: () => notice(`${visible(file.path)} is not there: waiting for it`),
    onUnreadable: ({ message }) => notice(`${message}: waiting until it can be read`),
    // What is one resource would have a gap: it fails.
    onMissed: isJoined ? undefined : tellMissed,
  });
  let bytes = 0;
  const context = { contextId: pushing.contextId ?? `push-${crypto.randomUUID()}` };
  const shown = isJoined ? pushing : { ...pushing, ...context };
  for await (const source of isJoined ? joined(files) : files) {
    bytes += await pushSource(file, source, shown);
  }
  if (missed !== null) throw missed;
  return bytes;
}

/** The files that come at a path; each is a text of its own, with its byte order mark, and may end within a character. */
async function* decodedEach(
  path: string,
  options: Options,
  following: NamedFilesOptions,
): AsyncGenerator<Source, void, void> {
  for await (const source of openNamedFiles(path, following)) yield decoded(source, options);
}

/** A source as UTF-8, if it is told what it is in. */
function decoded(source: Source, options: Options): Source {
  const charset = options.text("charset");
  if (charset === undefined) return source;
  return { ...source, stream: source.stream.pipeThrough(transcodeToUtf8(charset)), size: null };
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

/** Opening a named pipe waits for whoever writes to it. */
function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
  return Promise.race([promise, aborted]);
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
      stream: spool(source.stream, options.number("spool-limit") ?? SPOOL_BYTES, { warn: notice }),
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
