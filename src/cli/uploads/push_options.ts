/**
 * What the options of a push mean together.
 * @module
 */
import { MAX_PID } from "../../source/process.ts";
import { type Options, UsageError } from "../command.ts";
import { idOf } from "../references.ts";
import { transportOf } from "../transport.ts";

/** Tells whether a file is read on while it grows. */
export function isFollowing(options: Options): boolean {
  return options.flag("follow") || options.flag("follow-name") ||
    ["until-idle", "until-pid", "until-file"].some((name) => options.text(name) !== undefined);
}

/** Tells whether a pipe is more than read to its end. */
export function isWatched(options: Options): boolean {
  return options.flag("tee") || options.flag("best-effort") ||
    options.text("until-pid") !== undefined || options.text("until-file") !== undefined;
}

/**
 * Refuses what contradicts itself, before anything is opened.
 *
 * @param path What is pushed: a path, or `-`.
 * @param options The options.
 * @throws {UsageError} For what does not go together.
 */
export function checkOptions(path: string, options: Options): void {
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
    throw options.wrong("until-pid", "there is no such process");
  }
}
