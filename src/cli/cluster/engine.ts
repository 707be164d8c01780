/**
 * The engine that a command names.
 * @module
 */
import { readFile } from "node:fs/promises";
import { connectEngine, type Engine, enginesIn } from "../../cluster/engine.ts";
import { StreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";
import type { Options } from "../command.ts";

/** How the engine of a command is reached. */
export interface EngineOptions {
  /** Addresses of its members. */
  servers: string[];
  /** Content of the file of credentials; undefined for none. */
  credentials: Uint8Array | undefined;
}

/**
 * Reads how the engine of a command is reached.
 * @param options Options with `cluster`.
 * @throws {StreamError} BAD_REQUEST for no address; SOURCE_FAILED when the credentials cannot be read.
 */
export async function engineOptionsOf(options: Options): Promise<EngineOptions> {
  const servers = enginesIn(options.text("cluster")!);
  const path = options.text("cluster-creds");
  if (path === undefined) return { servers, credentials: undefined };
  const credentials = await readFile(path).catch((error) => {
    const message = `cannot read the credentials in ${path}: ${reasonOf(error)}`;
    throw new StreamError("SOURCE_FAILED", message);
  });
  return { servers, credentials: new Uint8Array(credentials) };
}

/**
 * Does something with the engine that a command names.
 * @param options Options with `cluster`.
 * @param step What is done.
 * @throws {StreamError} UNREACHABLE; what the step throws.
 */
export async function withEngine<T>(
  options: Options,
  step: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await connectEngine(await engineOptionsOf(options));
  try {
    return await step(engine);
  } finally {
    await engine.close();
  }
}
