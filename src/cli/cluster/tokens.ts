/**
 * Tokens that all nodes of a cluster share: in the engine, and as a file where somebody works with them.
 * @module
 */
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine } from "../../cluster/engine.ts";
import { shardsOf } from "../../cluster/logs.ts";
import { readSharedTokens, writeSharedTokens } from "../../cluster/settings.ts";
import type { Options } from "../command.ts";
import { withEngine } from "./engine.ts";

/** How often a node looks for a change. */
const LOOK_AGAIN_MS = 1000;

/**
 * Works on the shared tokens as on a file.
 * @param options Options with `cluster`.
 * @param step Gets the path of the file, and may change it.
 * @throws {StreamError} CONFLICT when somebody else changed them meanwhile; what the step throws.
 */
export async function withSharedTokens<T>(
  options: Options,
  step: (path: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "stream-tokens-"));
  try {
    return await withEngine(options, async (engine) => {
      // Where there is no cluster yet, that is said at once.
      await shardsOf(engine);
      const path = join(directory, "the tokens of the cluster");
      const { text, sequence } = await readSharedTokens(engine);
      await writeFile(path, text, { mode: 0o600 });
      const result = await step(path);
      const changed = await readFile(path, "utf8");
      if (changed !== text) await writeSharedTokens(engine, { text: changed, sequence });
      return result;
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A file of the shared tokens, on a node. */
export class TokenCopy {
  readonly #engine: Engine;
  readonly #path: string;
  readonly #timer: ReturnType<typeof setInterval>;
  #sequence = -1;
  #looking: Promise<void> | null = null;

  private constructor(engine: Engine, path: string) {
    this.#engine = engine;
    this.#path = path;
    this.#timer = setInterval(() => this.#lookAgain(), LOOK_AGAIN_MS);
  }

  /**
   * Makes the file, and has it follow what others change.
   * @param engine Where the tokens are.
   * @param path Path of the file.
   * @throws {StreamError} NOT_READY.
   */
  static async open(engine: Engine, path: string): Promise<TokenCopy> {
    const copy = new TokenCopy(engine, path);
    try {
      await copy.#look();
    } catch (error) {
      clearInterval(copy.#timer);
      throw error;
    }
    return copy;
  }

  /** The file follows nothing any more. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** While the engine does not answer, the last tokens count. */
  #lookAgain(): void {
    this.#looking ??= this.#look().catch(() => {}).finally(() => this.#looking = null);
  }

  async #look(): Promise<void> {
    const { text, sequence } = await readSharedTokens(this.#engine);
    if (sequence === this.#sequence) return;
    const building = `${this.#path}.new`;
    await writeFile(building, text, { mode: 0o600 });
    await rename(building, this.#path);
    this.#sequence = sequence;
  }
}
