/** The real program as processes: by Deno, by Bun and as the binary. */
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  createServer,
  FileStorage,
  loadRuntime,
  type ServerOptions,
  SqliteCatalog,
} from "../../mod.ts";

/** What `stream` stands for. */
export type Kind = "deno" | "bun" | "binary";

const root = fileURLToPath(new URL("../../", import.meta.url));
const PROGRAMS: Record<Kind, string[]> = {
  deno: [
    process.env.STREAM_DENO ?? "deno",
    // Else each takes a lock on node_modules, and says so on stderr when it has to wait for it.
    ...["run", "-A", "--node-modules-dir=manual", join(root, "cli.ts")],
  ],
  bun: [process.env.STREAM_BUN ?? "bun", join(root, "cli.ts")],
  binary: [process.env.STREAM_BIN ?? join(root, "dist/stream-bun")],
};
const DEADLINE_MS = 30_000;

/** The kind that the runtime of these tests runs. */
export const own: Kind = "Deno" in globalThis ? "deno" : "bun";

/** What starts the quickest; it does what a test needs beside what it tests, and what one table decides on every runtime. */
export const quickest: Kind = "binary";

/** The programs that this run of the tests tries. */
export const kinds: Kind[] = own === "deno" ? ["deno"] : ["bun", "binary"];

const ALL_KINDS: readonly Kind[] = ["binary", "deno", "bun"];

/** Whether every kind runs every test, instead of its turns. */
const all = process.env.STREAM_KINDS === "all";

/**
 * Declares tests of one kind of program. Starting programs is what the suite takes its time for, so that the three
 * take turns: of the tests of a file each runs every third. With `STREAM_KINDS=all` each runs all.
 */
export function inTurn(kind: Kind): (name: string, body: () => Promise<void>) => void {
  let count = 0;
  return (name, body) => {
    const turn = ALL_KINDS[count++ % ALL_KINDS.length];
    if (turn === kind || all) test(name, body);
  };
}

/**
 * Declares tests of what real programs do whatever runtime they are on: of the tests of a file Deno and Bun run every
 * other one. With `STREAM_KINDS=all` both run all.
 */
export function eitherRuntime(): (name: string, body: () => void | Promise<void>) => void {
  let count = 0;
  return (name, body) => {
    const turn: Kind = count++ % 2 === 0 ? "deno" : "bun";
    if (turn === own || all) test(name, body);
  };
}

const PAIRS: { server: Kind; client: Kind; always: boolean }[] = [
  { server: "deno", client: "bun", always: true },
  { server: "bun", client: "deno", always: true },
  { server: "binary", client: "binary", always: true },
  { server: "deno", client: "deno", always: false },
];

/**
 * Which program talks to which: each kind is the server once and the client once, in the run on its server's runtime.
 * With `STREAM_KINDS=all` Deno talks to itself, too; the binary is Bun with Bun.
 */
export const pairs = PAIRS.filter(({ server, always }) =>
  kinds.includes(server) && (always || all)
);

/** How a program is started, without its arguments. */
export function wordsOf(kind: Kind): [string, ...string[]] {
  const [command, ...words] = PROGRAMS[kind];
  return [command, ...words];
}

/** Processes that run; a runner that is stopped in the middle of a test must not leave them behind. */
const running = new Set<number>();

function killAll(): void {
  for (const pid of running) process.kill(pid, "SIGKILL");
}

process.once("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    killAll();
    process.kill(process.pid, signal);
  });
}

/** Words of a shell that wait for a file, and no longer than its directory is there: a test that fails leaves nothing that runs. */
export function untilFile(name: string): string {
  return `while test -d "$PWD" && ! test -e ${name}; do sleep 0.05; done`;
}

/** Words of a shell that wait for nothing but a signal. */
export const UNTIL_SIGNAL = 'while test -d "$PWD"; do sleep 0.05; done';

/** How a process ended. */
export interface Exit {
  /** Exit code; null when a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** How a process is started. */
export interface StartOptions {
  env?: Record<string, string>;
  /** Whether its stdout is collected, true by default; if not, it is there to be read from `output`. */
  collect?: boolean;
  /** Columns of a terminal; what tells of none has any. */
  columns?: number;
  /** A command of a shell in which `"$@"` is the program: `exec "$@" 2>/dev/full`. */
  shell?: string;
}

/** A directory with the processes that work in it; all of them are gone after it was disposed of. */
export class Workspace implements AsyncDisposable {
  readonly #programs: Program[] = [];
  readonly #closing: (() => Promise<void>)[] = [];
  readonly #directory: string;
  #server = "http://127.0.0.1:9";

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(): Promise<Workspace> {
    return new Workspace(await mkdtemp(join(tmpdir(), "stream-e2e-")));
  }

  /** Address of the newest server; clients find it in STREAM_SERVER. */
  get server(): string {
    return this.#server;
  }

  /** Path of a file in this workspace. */
  path(name: string): string {
    return join(this.#directory, name);
  }

  /** Makes a directory in this workspace; returns its path. */
  async directory(name: string): Promise<string> {
    await mkdir(this.path(name), { recursive: true });
    return this.path(name);
  }

  /** Starts the program with its stdin open. */
  start(kind: Kind, args: string[], options: StartOptions = {}): Program {
    const { shell } = options;
    const words = shell === undefined
      ? [...PROGRAMS[kind], ...args]
      : ["sh", "-c", shell, "sh", ...PROGRAMS[kind], ...args];
    return this.#start(words, `${kind}: stream ${args.join(" ")}`, options);
  }

  /** Starts the program at a terminal of its own: what is written is typed there, stdout is what it shows. */
  terminal(kind: Kind, args: string[], options: StartOptions = {}): Program {
    const line = [...PROGRAMS[kind], ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const size = options.columns === undefined ? "" : `stty cols ${options.columns} && `;
    const words = ["script", "-qefc", `${size}exec ${line.join(" ")}`, "/dev/null"];
    return this.#start(words, `${kind}: stream ${args.join(" ")} at a terminal`, options);
  }

  #start(
    [command, ...words]: string[],
    title: string,
    { env, collect = true }: StartOptions,
  ): Program {
    const child = spawn(command, words, {
      cwd: this.#directory,
      // Tokens of uploads that can be resumed are state, and stay here, too.
      env: {
        ...process.env,
        STREAM_SERVER: this.#server,
        XDG_STATE_HOME: this.#directory,
        XDG_CONFIG_HOME: this.#directory,
        // Once a day Deno asks for a newer one of itself, by a proxy that a test counts requests of.
        DENO_NO_UPDATE_CHECK: "1",
        ...env,
      },
    });
    const program = new Program(child, title, collect);
    this.#programs.push(program);
    return program;
  }

  /** Puts the program as `stream` into a directory for PATH, and returns that. */
  async install(kind: Kind): Promise<string> {
    const directory = this.path("bin");
    const words = PROGRAMS[kind].map((word) => `'${word}'`).join(" ");
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "stream"), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
    return directory;
  }

  /** Runs the program without input until it ends. */
  async run(kind: Kind, args: string[], options?: StartOptions): Promise<Exit> {
    const program = this.start(kind, args, options);
    program.end();
    return await program.exit();
  }

  /** Starts a server on a free port, with its data in `data`; it accepts connections on return. */
  async serve(kind: Kind, args: string[] = []): Promise<Program> {
    const program = this.start(kind, ["serve", "--port", "0", "--data", "data", ...args]);
    const line = await program.stdout.until((text) => text.includes("\n"));
    const match =
      /^(?:listening on |\{.*"event":"listening","address":")(https?:\/\/[^\s"]+)("\})?\n$/
        .exec(line);
    if (match === null) throw new Error(`a server said ${JSON.stringify(line)}`);
    this.#server = match[1];
    return program;
  }

  /** Serves from this process, with its data in `data`: a server beside what a test is about, which never waits for a child. */
  async serveBeside(options: Partial<ServerOptions> = {}): Promise<void> {
    const directory = await this.directory("data");
    const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
    const storage = new FileStorage(directory);
    const server = createServer({ runtime: await loadRuntime(), storage, catalog, ...options });
    const { port } = await server.listen({ port: 0 });
    this.#server = `http://127.0.0.1:${port}`;
    this.#closing.push(async () => {
      await server.close();
      await storage.close();
      await catalog.close();
    });
  }

  /** Starts a push and waits until it has printed its reference. */
  async push(kind: Kind, args: string[]): Promise<{ push: Program; reference: string }> {
    const push = this.start(kind, ["push", ...args]);
    const line = await push.stdout.until((text) => text.includes("\n"));
    return { push, reference: line.split("\n")[0] };
  }

  /** What `status --json` shows. */
  async status(kind: Kind, reference: string): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.run(kind, ["status", reference, "--json"]);
    if (code !== 0) throw new Error(`status ended with ${code}: ${stderr}`);
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill("SIGKILL")));
    for (const close of this.#closing) await close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** One process. */
export class Program {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly #child: ChildProcess;
  readonly #title: string;
  readonly #ended: Promise<number | null>;

  constructor(child: ChildProcess, title: string, collect: boolean) {
    this.#child = child;
    this.#title = title;
    const fails = (why: string) => new Error(`${title}: ${why}\n${this.stderr.text}`);
    this.stdout = new Output(collect ? child.stdout : null, fails);
    this.stderr = new Output(child.stderr, fails);
    this.#ended = new Promise((resolve, reject) => {
      child.on("error", (error) => reject(fails(`does not start: ${error.message}`)));
      child.on("spawn", () => running.add(this.pid));
      child.on("exit", () => running.delete(this.pid));
      child.on(collect ? "close" : "exit", resolve);
    });
    this.#ended.catch(() => {});
    // Who ended before it read everything is found out by its exit code.
    child.stdin!.on("error", () => {});
  }

  /** Id of the process. */
  get pid(): number {
    return this.#child.pid!;
  }

  /** Its stdout, when that is not collected. */
  get output(): Readable {
    return this.#child.stdout!;
  }

  /** Writes to its stdin; resolves when that has room for more, or nobody reads it any more. */
  async write(data: string | Uint8Array): Promise<void> {
    const stdin = this.#child.stdin!;
    if (stdin.write(data)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        stdin.off("drain", done).off("close", done);
        resolve();
      };
      stdin.on("drain", done).on("close", done);
    });
  }

  /** Ends its stdin. */
  end(): void {
    this.#child.stdin!.end();
  }

  /** Closes its stdout at our side, as `head` does. */
  leave(): void {
    this.#child.stdout!.destroy();
  }

  /** Closes its stderr at our side. */
  leaveStderr(): void {
    this.#child.stderr!.destroy();
  }

  /** Sends a signal, if it still runs. */
  signal(name: NodeJS.Signals): void {
    // On Deno, `kill` of the child itself would report this signal instead of the exit code.
    if (running.has(this.pid)) process.kill(this.pid, name);
  }

  /** Sends a signal that ends it, and waits for that. */
  async kill(name: NodeJS.Signals): Promise<void> {
    this.signal(name);
    await this.#ended.catch(() => {});
  }

  /** Waits until it ends by itself. */
  async exit(deadlineMs: number = DEADLINE_MS): Promise<Exit> {
    const code = await within(deadlineMs, this.#ended, () =>
      new Error(
        `${this.#title}: still runs after ${deadlineMs} ms\n${excerpt(this.stdout.text)}\n` +
          excerpt(this.stderr.text),
      ));
    return { code, stdout: this.stdout.text, stderr: this.stderr.text };
  }

  /** The most memory it ever had, in MB. */
  peakMegabytes(): number {
    const [, kibibytes] = /VmHWM:\s+(\d+) kB/.exec(
      readFileSync(`/proc/${this.pid}/status`, "utf8"),
    )!;
    return Math.round(Number(kibibytes) * 1024 / 1e6);
  }
}

/** What a process wrote until now. */
export class Output {
  readonly #chunks: Uint8Array[] = [];
  readonly #fails: (why: string) => Error;
  #changed = Promise.withResolvers<void>();
  #ended = false;

  constructor(stream: Readable | null, fails: (why: string) => Error) {
    this.#fails = fails;
    stream?.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#signal();
    });
    stream?.on("close", () => {
      this.#ended = true;
      this.#signal();
    });
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  /** Waits until the text is what it should be. */
  async until(isRight: (text: string) => boolean): Promise<string> {
    const deadlineAtMs = performance.now() + DEADLINE_MS;
    for (;;) {
      const { text } = this;
      if (isRight(text)) return text;
      if (this.#ended) throw this.#fails(`ended after ${excerpt(text)}`);
      await within(
        deadlineAtMs - performance.now(),
        this.#changed.promise,
        () => this.#fails(`said no more than ${excerpt(text)}`),
      );
    }
  }

  #signal(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

function excerpt(text: string): string {
  return JSON.stringify(text.slice(-500));
}

/** Waits for a promise, but not for ever. */
export async function within<T>(
  deadlineMs: number,
  promise: Promise<T>,
  late: () => Error,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), deadlineMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
