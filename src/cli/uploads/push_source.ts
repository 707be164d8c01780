/**
 * The upload of what is read from a file or a pipe.
 * @module
 */
import { push, type PushedUpload, type PushOptions, resumePush } from "../../client.ts";
import { Service } from "../../client/connection/service.ts";
import { locate } from "../../client/target.ts";
import { guessMimeType, isText } from "../../mime.ts";
import {
  type ErrorCode,
  isTransient,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import type { Source } from "../../source/source.ts";
import { type Options, serverOf } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import type { Progress, Transfer } from "../output/progress.ts";
import { isTerminal } from "../output/stderr.ts";
import { idOf } from "../references.ts";
import { connectStep, transportOf } from "../transport.ts";
import type { PushSignals } from "./interrupts.ts";
import { isRemembered, recallToken, rememberUpload } from "./resume_tokens.ts";
import type { Told } from "./told.ts";

/** Name of a pipe that is given none. */
export const PIPE_NAME = "stdin.log";

/** Failures after which an upload can go on: with another token or the right file, or elsewhere, as it does already. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set(["UNAUTHORIZED", "CONFLICT", "FENCED"]);

/** A path, and the name that its resource is given. */
export interface Pushed {
  /** Where it is; `-` is stdin. */
  path: string;
  /** The name, if it is not that of the file. */
  name: string | undefined;
}

/** How one of perhaps several uploads is made, and to whom it is told. */
export interface Pushing {
  /** Options of the command. */
  options: Options;
  /** What ends it. */
  signals: PushSignals;
  /** Its upload context, if it has one. */
  contextId: string | undefined;
  /** Counts it. */
  progress: Progress;
  /** Tells programs and people that it begins, and how it ended. */
  say(told: Told): Promise<void>;
  /** Tells a person where it can be watched. */
  show(reference: string): Promise<void>;
}

/**
 * Uploads a source.
 *
 * @param file What was asked to be pushed.
 * @param source What is read there.
 * @param pushing How, and to whom it is told.
 * @returns Its size in bytes.
 * @throws {StreamError} What ended the upload, whose resource is FAILED then unless it can be resumed.
 */
export async function pushSource(
  { path, name }: Pushed,
  source: Source,
  pushing: Pushing,
): Promise<number> {
  const { options, signals: { cancel }, contextId, progress, say, show } = pushing;
  const metadata = metadataOf(path, name, source, options);
  using transfer = progress.transfer();
  const upload = await openUpload(metadata, pushing, transfer);
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
    progress.expect(source.size);
    await transfer.pushed(source.stream, upload).pipeTo(upload.writable, { signal: cancel });
    const result = await upload.done;
    await forget();
    if (options.flag("json")) await say({ ...told, ...result });
    return result.size;
  } catch (error) {
    await upload.abort(error);
    const reason = toStreamError(error);
    if (!isTransient(reason) && !RESUMABLE.has(reason.code)) await forget();
    throw error;
  }
}

async function openUpload(
  metadata: ResourceMetadata,
  { options, signals: { cancel: signal }, contextId }: Pushing,
  { retries }: Transfer,
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
    return await push(server, metadata, settings).catch((error) => {
      throw tellHowToGoOn(toStreamError(error), settings.id);
    });
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

/** Who pushes again under an id, after this machine was restarted, may mean to go on. */
function tellHowToGoOn(error: StreamError, id: string | undefined): StreamError {
  if (error.code !== "CONFLICT" || id === undefined || !isRemembered(id)) return error;
  const message = `${error.message}; its upload, if it is not over, goes on with --resume ${id}`;
  return new StreamError(error.code, message, { cause: error });
}

/** HTTP base URL of the server that the bytes go to. */
function targetOf(options: Options): string {
  const server = serverOf(options);
  const resumed = options.text("resume");
  return (resumed === undefined ? Service.at(server) : locate(resumed, { server }).service).server;
}

/**
 * What an upload announces.
 *
 * @param path What is pushed: a path, or `-`.
 * @param name The name that it is given.
 * @param source What is read there.
 * @param options Options of the command: its type, and whether it is text.
 */
export function metadataOf(
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
