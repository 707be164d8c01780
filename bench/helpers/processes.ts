/** The processes of a run: started with what they need, gone when the run is over. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The program under test. */
export type Kind = "deno" | "bun" | "binary";
/** What runs a script of ours. */
export type ScriptRuntime = "deno" | "bun";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Longer than any program takes to say its first word, installing nothing. */
const FIRST_LINE_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
/** The last words of a program, kept for when it fails. */
const MAX_STDERR_CHARACTERS = 4000;

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

let bun: string | undefined;

/** Bun itself: npx would stay between us and what is measured. */
function bunExecutable(): string {
  const script = ["-y", "bun@1", "-p", "process.execPath"];
  bun ??= process.env.STREAM_BUN ?? execFileSync("npx", script, { encoding: "utf8" }).trim();
  return bun;
}

/** The words that run a script of a checkout. */
export function scriptCommand(runtime: ScriptRuntime, path: string, root = ROOT): string[] {
  const deno = process.env.STREAM_DENO ?? process.execPath;
  // Types are checked elsewhere, and would be part of every start.
  if (runtime === "deno") return [deno, "run", "-A", "--no-check", join(root, path)];
  return [bunExecutable(), join(root, path)];
}

/** The words that run the `stream` of a checkout. */
export function streamCommand(kind: Kind, root = ROOT): string[] {
  if (kind !== "binary") return scriptCommand(kind, "cli.ts", root);
  const ours = root === ROOT ? process.env.STREAM_BIN : undefined;
  const path = ours ?? join(root, "dist/stream-bun");
  if (existsSync(path)) return [path];
  throw new Error(`there is no binary at ${path}: run \`deno task compile:bun\` first`);
}

/** A process that is asked and answers line by line. */
export class Process {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<number | null>;
  readonly #name: string;
  #stderr = "";

  constructor([command, ...args]: string[], env: Record<string, string> = {}) {
    this.#name = [command, ...args].join(" ");
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    running.add(child);
    this.#child = child;
    child.stdin!.on("error", () => {});
    child.stderr!.on("data", (text) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR_CHARACTERS);
    });
    this.#lines = createInterface(child.stdout!)[Symbol.asyncIterator]();
    this.#ended = new Promise((resolve) => {
      child.once("error", (error) => {
        this.#stderr += error.message;
        running.delete(child);
        resolve(-1);
      });
      child.once("close", (code) => {
        running.delete(child);
        resolve(code);
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The next line it says. */
  async line(timeoutMs: number = FIRST_LINE_TIMEOUT_MS): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const why = () => reject(this.#error(`said nothing for ${timeoutMs / 1000} s`));
      timer = setTimeout(why, timeoutMs);
    });
    const { value, done } = await Promise.race([this.#lines.next(), late]);
    clearTimeout(timer);
    if (!done) return value;
    throw this.#error(`ended with ${await this.#ended}`);
  }

  /** Says a line to it. */
  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** Waits until it ends by itself. */
  async end(timeoutMs: number): Promise<void> {
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), timeoutMs);
    const code = await this.#ended;
    clearTimeout(timer);
    if (code !== 0) throw this.#error(`ended with ${code}`);
  }

  /** Ends it. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #error(what: string): Error {
    return new Error(`${this.#name} ${what}: ${this.#stderr}`);
  }
}
