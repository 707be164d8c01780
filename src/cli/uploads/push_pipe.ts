/**
 * A push of a pipe that others see, too, or that must not be held up, or that ends by something else than its end.
 * @module
 */
import { existsSync } from "node:fs";
import { openStdin } from "../../source/pipe.ts";
import { WatchedProcess } from "../../source/process.ts";
import { Tee } from "../../source/tee.ts";
import { EXIT, type Options } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { Announcer, ReaderGone, visible, visibleJson, writer } from "../output/output.ts";
import { complain, isTerminal, notice, writeLine } from "../output/stderr.ts";
import { idOf } from "../references.ts";
import { INTERRUPTED, Interrupts } from "./interrupts.ts";
import { uploadOutput } from "./output_upload.ts";
import { showPage } from "./pages.ts";
import { metadataOf } from "./push_source.ts";
import { failureOf, type Told } from "./told.ts";

/** Interval of looking whether the producer of a pipe is done. */
const LOOK_EVERY_MS = 100;

/**
 * Uploads stdin while it is passed on, or watched for its end.
 * @param options Options of the command.
 * @returns The exit code.
 * @throws {StreamError} What ended the upload, unless that is nobody's concern.
 */
export async function pushWatchedPipe(options: Options): Promise<number> {
  const bestEffort = options.flag("best-effort");
  const credentials = credentialsOf(options);
  if (!bestEffort) await credentials;
  const watcher = options.flag("tee") ? writer(1) : () => Promise.resolve();
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
    credentials,
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
