/**
 * Commands whose output is read: processes that write into real pipes, on either runtime.
 *
 * Bun connects what `node:child_process` calls a pipe by a socket, which no program can open again as /dev/stdout or
 * /dev/stderr; so the pipes are FIFOs, whose names are gone before anything is written.
 * @module
 */
import {
  type ChildProcess,
  spawn,
  type SpawnOptions,
  spawnSync,
  type StdioOptions,
} from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, read, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { giveBack } from "../byte_queue.ts";
import { StreamError } from "../protocol.ts";
import { ignoredSignals, openDescriptors } from "./inherited.ts";
import { environmentForOthers } from "./proxies.ts";

const CHUNK_BYTES = 64 * 1024;
/** A chunk that is filled less than this is copied, so that a line does not hold 64 KiB. */
const SMALL_BYTES = 16 * 1024;

/** The end of a process: either is null. */
export interface ChildExit {
  /** Exit code. */
  exitCode: number | null;
  /** The signal that ended it, such as `SIGKILL`. */
  signal: string | null;
}

/** A process whose output is read here. */
export interface Child {
  /** Its process id. */
  readonly pid: number;
  /**
   * What it writes, in chunks that are each valid until the next one is read: stdout and stderr, or both as one. Each
   * ends when nobody has its pipe open any more; cancelling one closes the pipe.
   */
  readonly outputs: readonly ReadableStream<Uint8Array>[];
  /** Its end. */
  readonly exit: Promise<ChildExit>;
  /** Sends it a signal, if it still runs. */
  kill(signal: NodeJS.Signals): void;
}

/** The command could not be started. */
export class StartError extends StreamError {
  /** @param message Why. */
  constructor(
    message: string,
    /** What shells exit with: 127 for no such command, 126 for one that cannot be run. */
    readonly exitCode: 126 | 127,
  ) {
    super("SOURCE_FAILED", message);
  }
}

/** How a command is started. */
export interface ChildOptions {
  /**
   * Whether its stdout and stderr share one pipe and so keep their order; where no FIFO can be made (no `mkfifo`, no
   * temporary directory) there are two all the same.
   */
  joined: boolean;
  /** Whether it gets a session of its own; else it shares our terminal and process group, and their signals. */
  detached?: boolean;
}

/**
 * Starts a command, with our stdin, with the further descriptors that we were started with, and with the signals ignored
 * that were ignored then.
 *
 * @param words The command and its arguments.
 * @param options Its pipes and session.
 * @returns The process.
 * @throws {StartError} When it cannot be started.
 */
export async function startChild(
  words: readonly string[],
  { joined, detached = false }: ChildOptions,
): Promise<Child> {
  const pipes = makePipes(joined ? 1 : 2);
  const writers = pipes.map(({ writer }) => writer);
  const [out = "pipe", err = out] = writers;
  try {
    const child = await spawned(words, { stdio: stdioOf(out, err), detached });
    const pid = child.pid!;
    let isRunning = true;
    const exit = exitOf(child).finally(() => isRunning = false);
    return {
      pid,
      outputs: pipes.length === 0
        ? [child.stdout, child.stderr].map(streamOf)
        : pipes.map(({ stream }) => stream()),
      exit,
      kill: (signal) => {
        // On Deno `kill` of the child itself makes this signal its end, whatever it does.
        if (isRunning) sendSignal(pid, signal);
      },
    };
  } catch (error) {
    for (const { reader } of pipes) closeSync(reader);
    throw error;
  } finally {
    for (const writer of writers) closeSync(writer);
  }
}

function stdioOf(out: number | "pipe", err: number | "pipe"): StdioOptions {
  const stdio: (number | "inherit" | "pipe" | "ignore")[] = ["inherit", out, err];
  for (const descriptor of openDescriptors) stdio[descriptor] = descriptor;
  return Array.from(stdio, (entry) => entry ?? "ignore");
}

async function spawned(
  words: readonly string[],
  options: SpawnOptions,
): Promise<ChildProcess> {
  const [command, ...args] = ignoring(words);
  const env = environmentForOthers(process.env);
  const child = spawn(command, args, { ...options, env });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error: NodeJS.ErrnoException) => reject(cannotStart(command, error)));
  });
  return child;
}

/** Bun and Node let every signal end what they start, `nohup` or not. */
function ignoring(words: readonly string[]): readonly string[] {
  if (ignoredSignals.length === 0) return words;
  const names = ignoredSignals.map((signal) => signal.slice("SIG".length)).join(" ");
  return ["sh", "-c", `trap "" ${names}; exec "$@"`, "sh", ...words];
}

function cannotStart(command: string, { code, message }: NodeJS.ErrnoException): StartError {
  if (code === "ENOENT") return new StartError(`there is no command ${command}`, 127);
  const reason = code === "EACCES" ? "it is not executable" : message;
  return new StartError(`${command} cannot be run: ${reason}`, 126);
}

function exitOf(child: ChildProcess): Promise<ChildExit> {
  return new Promise((resolve) =>
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }))
  );
}

/**
 * Sends a signal, unless the process is gone.
 * @param pid Its id.
 * @param signal The signal.
 */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function streamOf(readable: Readable | null): ReadableStream<Uint8Array> {
  return Readable.toWeb(readable!) as ReadableStream<Uint8Array>;
}

/** A pipe; the descriptor of its writing end is for the process. */
interface Pipe {
  reader: number;
  writer: number;
  stream(): ReadableStream<Uint8Array>;
}

/** Pipes with names that are gone again; none where they cannot be made. */
function makePipes(count: number): Pipe[] {
  let directory: string | undefined;
  try {
    directory = mkdtempSync(join(tmpdir(), "stream-run-"));
    const paths = Array.from({ length: count }, (_, index) => join(directory!, String(index)));
    if (spawnSync("mkfifo", ["-m", "600", ...paths], { stdio: "ignore" }).status !== 0) return [];
    return paths.map(openPipe);
  } catch {
    return [];
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}

function openPipe(path: string): Pipe {
  // A reader that waits for no writer has to be there before one can open it.
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  if ("Bun" in globalThis) return { reader, writer, stream: () => bunStream(reader) };
  const waiting = openSync(path, constants.O_RDONLY);
  closeSync(reader);
  return { reader: waiting, writer, stream: () => threadStream(waiting) };
}

/** Bun reads a pipe when there is something; with threads, of which it has as many as processors, two pipes could block all. */
function bunStream(descriptor: number): ReadableStream<Uint8Array> {
  const { Bun } = globalThis as unknown as {
    Bun: { file(descriptor: number): { stream(): ReadableStream<Uint8Array> } };
  };
  const chunks = Bun.file(descriptor).stream().getReader();
  const close = closeOnce(descriptor);
  let last: Uint8Array | undefined;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (last !== undefined) giveBack(last);
      const { done, value } = await chunks.read();
      last = value;
      if (!done) return controller.enqueue(value);
      close();
      controller.close();
    },
    async cancel() {
      await chunks.cancel();
      close();
    },
  }, { highWaterMark: 0 });
}

/** Each read waits in a thread of its own. */
function threadStream(descriptor: number): ReadableStream<Uint8Array> {
  const close = closeOnce(descriptor);
  let buffer = new Uint8Array(CHUNK_BYTES);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const length = await new Promise<number>((resolve, reject) =>
        read(
          descriptor,
          buffer,
          0,
          CHUNK_BYTES,
          null,
          (error, bytesRead) => error === null ? resolve(bytesRead) : reject(error),
        )
      );
      if (length === 0) {
        close();
        return controller.close();
      }
      if (length <= SMALL_BYTES) return controller.enqueue(buffer.slice(0, length));
      controller.enqueue(buffer.subarray(0, length));
      buffer = new Uint8Array(CHUNK_BYTES);
    },
    cancel: close,
  }, { highWaterMark: 0 });
}

function closeOnce(descriptor: number): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) closeSync(descriptor);
    isOpen = false;
  };
}
