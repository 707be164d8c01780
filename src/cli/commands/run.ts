/**
 * `stream run`.
 * @module
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import { basename, extname } from "node:path";
import process from "node:process";
import { guessMimeType } from "../../mime.ts";
import { StreamError } from "../../protocol.ts";
import { type Child, type ChildExit, startChild, StartError } from "../../runtime/child.ts";
import { asGiven } from "../../runtime/raw_words.ts";
import { Tee } from "../../source/tee.ts";
import { endsWithin } from "../../timer.ts";
import type { BackgroundUpload } from "../uploads/background_upload.ts";
import { type Command, type Options, QUIET_OPTION, SERVER_OPTION, UsageError } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { idOf } from "../references.ts";
import { ReaderGone, visible, visibleJson, writer } from "../output/output.ts";
import { uploadOutput } from "../uploads/output_upload.ts";
import { pageOf } from "../uploads/pages.ts";
import { startAtTerminal } from "../script.ts";
import { passSignals } from "../signals.ts";
import { complain, notice, terminalIsRaw, writeLine } from "../output/stderr.ts";
import { TRANSPORT_OPTION, transportOf } from "../transport.ts";

/** Time for processes that a command leaves behind. */
const LINGER_MS = 5000;

/** Runs a command and uploads its output. */
export const run: Command = {
  name: "run",
  summary: "run a command and upload its output while it is printed",
  positionals: ["CMD", "[ARG…]"],
  runsCommand: true,
  options: {
    name: { kind: "text", value: "NAME", help: "name of the resource (default: CMD.log)" },
    id: { kind: "text", value: "UUID", help: "id of the resource (default: the server's choice)" },
    context: { kind: "text", value: "ID", help: "upload context: a test run, a job" },
    split: { kind: "flag", help: "stdout and stderr become two resources of one context" },
    tty: {
      kind: "flag",
      short: "t",
      help: "give the command a terminal, so that it prints colours, and lines at once",
    },
    linger: {
      kind: "duration",
      value: "TIME",
      help: "wait so long for processes that the command leaves behind (default 5s)",
    },
    "no-best-effort": {
      kind: "flag",
      help: "let the command wait for the server, and fail when the upload does",
    },
    json: {
      kind: "flag",
      help: "what is said on stderr is a JSON object a line; the last ones tell how it ended",
    },
    "retry-for": {
      kind: "duration",
      value: "TIME",
      help: "try a lost connection again for so long; 0s for never (default 10m)",
    },
    "spool-limit": {
      kind: "size",
      value: "SIZE",
      help: "keep so much of the output while it cannot be sent (default 256MB)",
    },
    ...TRANSPORT_OPTION,
    ...QUIET_OPTION,
    ...SERVER_OPTION,
  },
  examples: [
    "stream run --context run-17 -- make -j4",
    "stream run --tty --name tests.log -- npm test",
  ],
  run: (words, options) => runCommand(words, options),
};

async function runCommand(words: string[], options: Options): Promise<number> {
  const { tty, split } = { tty: options.flag("tty"), split: options.flag("split") };
  if (split && options.text("id") !== undefined) {
    throw new UsageError("--id and --split exclude each other: two resources have two ids");
  }
  idOf(options);
  if (options.flag("json") && options.flag("quiet")) {
    throw new UsageError("--json and --quiet exclude each other: one says what the other hides");
  }
  if (tty && split) throw new UsageError("--tty and --split exclude each other: a terminal is one");
  transportOf(options);
  const credentials = credentialsOf(options);
  credentials.catch(() => {});
  if (options.flag("no-best-effort")) await credentials;
  let child: Child;
  try {
    // `script` makes it so as long as the command runs.
    if (tty && process.stdin.isTTY) terminalIsRaw();
    child = tty
      ? await startAtTerminal(asGiven(words))
      : await startChild(asGiven(words), { joined: !split && outputsAreOne() });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    const message = visible(error.message);
    if (options.flag("json")) writeLine(visibleJson({ event: "notice", message }));
    else complain(message);
    return error.exitCode;
  }
  return await new Run(child, words, options, credentials).over();
}

/** Whether stdout and stderr of this process are the same file, pipe or terminal. */
function outputsAreOne(): boolean {
  try {
    const [out, err] = [fstatSync(1), fstatSync(2)];
    return out.ino === err.ino && out.dev === err.dev && out.rdev === err.rdev;
  } catch {
    return false;
  }
}

type Credentials = ReturnType<typeof credentialsOf>;

/** One command with its uploads. */
class Run {
  readonly #child: Child;
  readonly #options: Options;
  readonly #bestEffort: boolean;
  readonly #credentials: Credentials;
  readonly #tees: Tee[];
  readonly #uploads: BackgroundUpload[];
  /** Each tells where people watch an upload. */
  readonly #pages: Promise<void>[] = [];

  constructor(
    child: Child,
    words: string[],
    options: Options,
    credentials: Credentials,
  ) {
    this.#child = child;
    this.#options = options;
    this.#bestEffort = !options.flag("no-best-effort");
    this.#credentials = credentials;
    const watchers = [writer(1), writer(2)];
    this.#tees = child.outputs.map((output, index) =>
      new Tee(output, watchers[index], (failure) => failure instanceof ReaderGone)
    );
    const name = options.text("name") ?? `${basename(words[0])}.log`;
    const split = options.flag("split");
    const context = options.text("context") ?? (split ? `run-${crypto.randomUUID()}` : undefined);
    this.#uploads = split
      ? this.#tees.map((tee, index) => this.#upload([tee], splitName(name, index), context))
      : [this.#upload(this.#tees, name, context)];
  }

  /** Waits for the end of everything; returns the exit code. */
  async over(): Promise<number> {
    const signals = passSignals(this.#child);
    const exit = await this.#child.exit;
    await this.#outputsEnd();
    for (const upload of this.#uploads) upload.ends();
    signals.interrupted.then(() => {
      const reason = new StreamError("ABORTED", "interrupted after the end of the command");
      for (const upload of this.#uploads) upload.giveUp(reason);
    });
    const failures = await Promise.all(this.#uploads.map(({ over }) => over));
    await Promise.all(this.#pages);
    if (this.#options.flag("json")) this.#tellEnds(exit, failures);
    return this.#exitCode(exit, failures.find((failure) => failure !== null));
  }

  /** Waits for all output, but not for ever for that of processes which the command left behind. */
  async #outputsEnd(): Promise<void> {
    const all = Promise.all(this.#tees.map(({ done }) => done));
    const lingerMs = this.#options.number("linger") ?? LINGER_MS;
    if (!await endsWithin(lingerMs, all)) {
      const message =
        `processes that the command left behind were waited for ${lingerMs / 1000} s ` +
        "(--linger); what they print is lost";
      this.#say(message, { event: "notice", message });
    }
    await Promise.all(this.#tees.map((tee) => tee.stop()));
  }

  #exitCode({ exitCode, signal }: ChildExit, failure: StreamError | undefined): number {
    const code = exitCode ?? 128 + constants.signals[signal as NodeJS.Signals];
    const isLost = failure !== undefined && !this.#bestEffort;
    if (isLost && !this.#options.flag("json")) complain(described(failure));
    if (code !== 0) return code;
    if (isLost) return exitCodeOf(failure);
    const unwritten = this.#tees.map(({ failure }) => failure)
      .find((failure) => failure !== null && !(failure instanceof ReaderGone));
    if (unwritten !== undefined) throw unwritten;
    return code;
  }

  #upload(tees: Tee[], filename: string, contextId: string | undefined): BackgroundUpload {
    const mimeType = guessMimeType(filename);
    return uploadOutput(this.#options, {
      tees,
      metadata: { filename, mimeType, supportsLineAccess: true },
      push: { id: idOf(this.#options), contextId, outcome: () => this.#child.exit },
      credentials: this.#credentials,
      bestEffort: this.#bestEffort,
      begun: (reference) => {
        const told = { event: "begun", filename, reference, contextId: contextId ?? null };
        this.#say(`${filename}: ${reference}`, told);
        this.#pages.push(this.#showPage(filename, reference));
      },
      say: (text) => this.#say(text, { event: "notice", filename, message: text }),
      complain: (text) => this.#say(text, { event: "notice", filename, message: text }, complain),
    });
  }

  async #showPage(filename: string, reference: string): Promise<void> {
    if (this.#options.flag("quiet")) return;
    const view = await pageOf(this.#options, reference);
    if (view === null) return;
    this.#say(`${filename}: watch it at ${view}`, { event: "viewable", filename, reference, view });
  }

  #say(text: string, told: Record<string, unknown>, say = notice): void {
    if (this.#options.flag("json")) writeLine(visibleJson(told));
    else say(visible(text));
  }

  /** Tells programs how the command ended, and what became of each upload. */
  #tellEnds({ exitCode, signal }: ChildExit, failures: (StreamError | null)[]): void {
    for (const [index, { filename, reference, result }] of this.#uploads.entries()) {
      const failure = failures[index];
      const reason = failure && { code: failure.code, message: failure.message };
      const told = { event: "ended", filename, reference, exitCode, signal, ...result };
      writeLine(visibleJson({ ...told, failure: reason }));
    }
  }
}

/** `build.log` as `build.stdout.log` and `build.stderr.log`. */
function splitName(name: string, index: number): string {
  const extension = extname(name);
  return `${name.slice(0, name.length - extension.length)}.${
    ["stdout", "stderr"][index]
  }${extension}`;
}
