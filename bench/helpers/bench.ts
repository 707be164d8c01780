/** What a part of the bench works with: servers, clients, and a place for figures. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Client } from "../clients/connections.ts";
import type { Job } from "../clients/jobs.ts";
import { ClientProcess } from "./client.ts";
import {
  type Kind,
  Process,
  scriptCommand,
  type ScriptRuntime,
  streamCommand,
} from "./processes.ts";

/** How much is done: all of it, five minutes' worth, or just enough to see that it works. */
export type Extent = "full" | "quick" | "smoke";

/** Where Linux keeps files in memory. */
const MEMORY = "/dev/shm";

/** The column of what runs on no server of ours. */
export const OTHERS = "others";

/** A build of `stream` under test, and the column of its figures. */
export interface Program {
  column: string;
  kind: Kind;
  /** The checkout it is run from. */
  root: string;
  /** Whether yardsticks are measured beside it. */
  yardsticks: boolean;
}

/** A server that listens. */
export interface Server {
  url: string;
  pid: number;
  /** Where its data is. */
  directory: string;
  /** From the start of the process to its first word. */
  startMs: number;
  /** Ends it. */
  stop(): Promise<void>;
}

/** Measured values of one kind. */
export interface Series {
  part: string;
  /** The program that was measured, or OTHERS. */
  column: string;
  name: string;
  unit: string;
  values: number[];
}

/** Something that did not work, and what it said. */
export interface Failure {
  part: string;
  column: string;
  what: string;
  message: string;
}

/** What a run has found out so far. */
export interface Findings {
  series: Series[];
  failures: Failure[];
}

/** A part of the bench. */
export interface Part {
  name: string;
  title: string;
  /** Measures one of our servers, and its yardsticks. */
  run(bench: Bench): Promise<void>;
  /** Measures yardsticks that have nothing to do with our servers. */
  others?(bench: Bench): Promise<void>;
}

const root = mkdtempSync(join(process.env.STREAM_BENCH_DIR ?? tmpdir(), "stream-bench-"));
/** A file system in memory, where there is one: no disk is measured there. */
const memoryRoot = existsSync(MEMORY) ? mkdtempSync(join(MEMORY, "stream-bench-")) : root;
process.once("exit", () => {
  for (const path of [root, memoryRoot]) rmSync(path, { recursive: true, force: true });
});
// Without a listener a signal ends a process that has not left.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
let directories = 0;

/** A name for a directory that is gone after the run. */
export function temporaryPath(): string {
  return join(root, String(directories++));
}

/** The same in memory. */
export function memoryPath(): string {
  return join(memoryRoot, String(directories++));
}

/** One part on one program. */
export class Bench {
  constructor(
    readonly part: string,
    /** Null where only yardsticks are measured. */
    readonly program: Program | null,
    readonly extent: Extent,
    readonly clients: ScriptRuntime,
    readonly findings: Findings,
  ) {}

  get column(): string {
    return this.program?.column ?? OTHERS;
  }

  /** The words that run the program under test. */
  get command(): string[] {
    return streamCommand(this.program!.kind, this.program!.root);
  }

  /** A number for each extent. */
  size<T>(full: T, quick: T, smoke: T): T {
    return { full, quick, smoke }[this.extent];
  }

  /** The server under test, on a free port, with default settings but for some options; a directory that is given is kept. */
  async startServer(given?: string, options: readonly string[] = []): Promise<Server> {
    const directory = given ?? temporaryPath();
    const words = ["serve", "--port", "0", "--data", directory, ...options];
    const server = await startServer([...this.command, ...words]);
    const stop = async () => {
      await server.stop();
      if (given === undefined) await rm(directory, { recursive: true, force: true });
    };
    return { ...server, directory, stop };
  }

  /** The bare relay on the runtime of the server under test; the binary is Bun. */
  async startRelay(): Promise<Server> {
    const runtime = this.program!.kind === "deno" ? "deno" : "bun";
    return {
      directory: "",
      ...await startServer(scriptCommand(runtime, "bench/yardsticks/relay.ts")),
    };
  }

  /** A client process that is ready, by the library of the program under test. */
  async startClient<Name extends Job["do"]>(
    job: Extract<Job, { do: Name }>,
  ): Promise<ClientProcess<Name>> {
    return await ClientProcess.start(this.clients, job, this.program?.root);
  }

  /** Notes one measured value. */
  add(name: string, unit: string, value: number): void {
    const { part, column, findings: { series } } = this;
    const known = series.find((one) =>
      one.part === part && one.column === column && one.name === name
    );
    if (known !== undefined) known.values.push(value);
    else series.push({ part, column, name, unit, values: [value] });
  }

  /** Does one thing of several; when it fails that is told at the end, and the others go on. */
  async attempt(what: string, action: () => Promise<void>): Promise<void> {
    const second = Math.round(performance.now() / 1000);
    console.error(`${second} s: ${this.part}, ${this.column}: ${what}`);
    try {
      await action();
    } catch (error) {
      const { message } = error as Error;
      this.findings.failures.push({ part: this.part, column: this.column, what, message });
      console.error(`  failed: ${message}`);
    }
  }

  /** Attempts the same several times. */
  async repeat(repeats: number, what: string, action: () => Promise<void>): Promise<void> {
    for (let count = 1; count <= repeats; count++) {
      await this.attempt(`${what}, ${count} of ${repeats}`, action);
    }
  }
}

/** How the figures of a client are named. */
export function clientName(client: Client): string {
  return client === "thin" ? "" : "library: ";
}

async function startServer(words: string[]): Promise<Omit<Server, "directory">> {
  const startedAtMs = performance.now();
  const server = new Process(words);
  const line = await server.line();
  const startMs = performance.now() - startedAtMs;
  const url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
  if (url === undefined) throw new Error(`${words.join(" ")} said ${JSON.stringify(line)}`);
  return { url, pid: server.pid, startMs, stop: () => server.stop() };
}
