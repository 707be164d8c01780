/**
 * The certificate of a server, which can be renewed while it runs.
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { toStreamError } from "../protocol.ts";
import type { Certificate, FramesRuntime } from "../runtime/frames.ts";
import type { ServerLog } from "../server.ts";
import { type Options, UsageError } from "./command.ts";

/** What `--tls-cert` and `--tls-key` name. */
export class Tls {
  readonly #certPath: string;
  readonly #keyPath: string;

  private constructor(
    certPath: string,
    keyPath: string,
    /** Listens with the certificate. */
    readonly runtime: FramesRuntime,
  ) {
    this.#certPath = certPath;
    this.#keyPath = keyPath;
  }

  /**
   * Reads the certificate; null when the options name none.
   * @throws {UsageError} For one that cannot be used.
   */
  static async of(options: Options): Promise<Tls | null> {
    const certPath = options.text("tls-cert");
    const keyPath = options.text("tls-key");
    if (certPath === undefined && keyPath === undefined) return null;
    if (certPath === undefined || keyPath === undefined) {
      throw new UsageError("--tls-cert and --tls-key go together");
    }
    const { framesRuntime } = await import("../runtime/frames.ts");
    try {
      const runtime = framesRuntime({ tls: await read(certPath, keyPath) });
      return new Tls(certPath, keyPath, runtime);
    } catch (error) {
      const { message } = error as Error;
      throw new UsageError(`--tls-cert ${certPath} --tls-key ${keyPath}: ${message}`);
    }
  }

  /** Reads the files again at every SIGHUP; a certificate that cannot be used leaves the old one. */
  reloadOnSignal(log: ServerLog): void {
    process.on("SIGHUP", async () => {
      const paths = { cert: this.#certPath, key: this.#keyPath };
      try {
        await this.runtime.reload(await read(this.#certPath, this.#keyPath));
        log.info("certificate renewed", paths);
      } catch (error) {
        const { message } = toStreamError(error);
        log.error("certificate refused, the old one stays", { ...paths, message });
      }
    });
  }
}

async function read(certPath: string, keyPath: string): Promise<Certificate> {
  const [cert, key] = await Promise.all([readFile(certPath, "utf8"), readFile(keyPath, "utf8")]);
  return { cert, key };
}
