/**
 * Uploads without a server: into a directory, or nowhere.
 * @module
 */
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createDigest, type RunningDigest } from "../digest.ts";
import {
  checkMetadata,
  type DigestAlgorithm,
  DIGESTS,
  failureOf,
  type ResourceMetadata,
  type ResourceStatus,
  StreamError,
  toStreamError,
} from "../protocol.ts";
import { INITIAL_STATUS, type Upload, UploadShell } from "../upload.ts";

/** Longest name taken over from the metadata; date, time and number come before it, 255 is the limit. */
const NAME_BYTES = 200;
const LINE_BREAK = 10;

/** How a local upload is made. */
export interface LocalUploadOptions {
  /** Algorithm of the digest; the native default when not given. */
  digest?: DigestAlgorithm | undefined;
}

/** Where the bytes go. */
interface Target {
  readonly reference: string;
  write(chunk: Uint8Array): Promise<void>;
  /** Ends it well; returns how many of its bytes are on disk whatever happens to the machine. */
  complete(size: number): Promise<number>;
  /** Ends it with nothing but the chunks that were written as a whole. */
  fail(size: number): Promise<void>;
}

/**
 * Uploads into a local directory, for programs that run without a server.
 *
 * The file is named `<date>_<time>_<NNN>_<filename>`, as in `20261123_014455_001_build.log`, in local time; what
 * file systems do not take in a name becomes `_`. It never replaces another file.
 *
 * @param directory Path of the directory; made when missing.
 * @param metadata What the upload announces.
 * @param options Algorithm of the digest.
 * @returns The upload; its reference is the `file:` URL of the file, where a partial file stays when it fails.
 * @throws {StreamError} BAD_METADATA; BAD_REQUEST without a directory; STORAGE_FAILED when the file cannot be made.
 *
 * @example
 * ```ts
 * import { uploadToDirectory } from "@stream/live";
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 *
 * const directory = await mkdtemp(`${tmpdir()}/stream-`);
 * const metadata = { filename: "build.log", mimeType: "text/plain", supportsLineAccess: true };
 * const upload = await uploadToDirectory(directory, metadata);
 * await new Blob(["first\nsecond\n"]).stream().pipeTo(upload.writable);
 * const { size, numberOfLines } = await upload.done;
 * console.log(upload.reference, size, numberOfLines); // file:///…_001_build.log 13 2
 * ```
 */
export async function uploadToDirectory(
  directory: string,
  metadata: ResourceMetadata,
  options: LocalUploadOptions = {},
): Promise<Upload> {
  const { filename, supportsLineAccess } = checkMetadata(metadata);
  // A variable that was not set: to one runtime it is the present directory.
  if (directory === "") {
    throw new StreamError("BAD_REQUEST", "the directory has no name; the present one is .");
  }
  const digest = await createDigest(options.digest ?? DIGESTS[0]);
  try {
    await mkdir(directory, { recursive: true });
    const target = await createFile(directory, filename);
    return new LocalUpload(target, supportsLineAccess, digest);
  } catch (error) {
    throw storageFailed(`no file can be made in ${directory}`, error);
  }
}

/**
 * Counts and hashes an upload and keeps nothing of it: for programs that may run without any target.
 *
 * @param metadata What the upload announces.
 * @param options Algorithm of the digest.
 * @returns The upload; its reference is `discard:`.
 * @throws {StreamError} BAD_METADATA.
 *
 * @example
 * ```ts
 * import { discardUpload } from "@stream/live";
 *
 * const metadata = { filename: "a.bin", mimeType: "application/octet-stream", supportsLineAccess: false };
 * const upload = await discardUpload(metadata);
 * await new Blob(["some bytes"]).stream().pipeTo(upload.writable);
 * console.log((await upload.done).size); // 10
 * ```
 */
export async function discardUpload(
  metadata: ResourceMetadata,
  options: LocalUploadOptions = {},
): Promise<Upload> {
  const { supportsLineAccess } = checkMetadata(metadata);
  const digest = await createDigest(options.digest ?? DIGESTS[0]);
  return new LocalUpload(NOWHERE, supportsLineAccess, digest);
}

const NOWHERE: Target = {
  reference: "discard:",
  write: () => Promise.resolve(),
  complete: () => Promise.resolve(0),
  fail: () => Promise.resolve(),
};

/** An upload whose bytes, statuses and end are all made here. */
class LocalUpload extends UploadShell {
  readonly reference: string;
  readonly #target: Target;
  readonly #digest: RunningDigest;
  readonly #lines: LineCounter | null;
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(target: Target, supportsLineAccess: boolean, digest: RunningDigest) {
    super({ ...INITIAL_STATUS, numberOfLines: supportsLineAccess ? 0 : null });
    this.reference = target.reference;
    this.#target = target;
    this.#digest = digest;
    this.#lines = supportsLineAccess ? new LineCounter() : null;
  }

  protected write(chunk: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      await this.#attempt(() => this.#target.write(chunk));
      this.#digest.update(chunk);
      this.#lines?.add(chunk);
      this.#publish({
        transferStatus: "IN_PROGRESS",
        currentSize: this.status.currentSize + chunk.length,
        numberOfLines: this.#lines?.complete ?? null,
      });
    });
  }

  protected finish(): Promise<void> {
    return this.#inTurn(async () => {
      const size = this.status.currentSize;
      const durableSize = await this.#attempt(() => this.#target.complete(size));
      const numberOfLines = this.#lines?.total ?? null;
      this.#publish({ transferStatus: "COMPLETED", durableSize, numberOfLines });
      const digest = { algorithm: this.#digest.algorithm, value: this.#digest.value() };
      this.succeed({ size, numberOfLines, digest });
    });
  }

  protected giveUp(error: StreamError): Promise<void> {
    return this.#inTurn(() => this.#failWith(error));
  }

  /** One step after the other: an abort must not close the file under a write. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const turn = this.#lastStep.then(step);
    this.#lastStep = turn.catch(() => {});
    return turn;
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (thrown) {
      const error = storageFailed(`cannot write ${this.reference}`, thrown);
      await this.#failWith(error);
      throw error;
    }
  }

  async #failWith(error: StreamError): Promise<void> {
    if (this.isOver) return;
    await this.#target.fail(this.status.currentSize).catch(() => {});
    this.#publish({
      transferStatus: "FAILED",
      numberOfLines: this.#lines?.total ?? null,
      failure: failureOf(error),
    });
    this.fail(error);
  }

  #publish(change: Partial<ResourceStatus>): void {
    this.tell({ ...change, sequence: this.status.sequence + 1 });
  }
}

/** Counts lines as bytes pass. */
class LineCounter {
  /** Lines that have their line break. */
  complete = 0;
  #endsWithBreak = true;

  add(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    for (let at = chunk.indexOf(LINE_BREAK); at >= 0; at = chunk.indexOf(LINE_BREAK, at + 1)) {
      this.complete++;
    }
    this.#endsWithBreak = chunk[chunk.length - 1] === LINE_BREAK;
  }

  /** All lines, a last one without a break included. */
  get total(): number {
    return this.complete + (this.#endsWithBreak ? 0 : 1);
  }
}

async function createFile(directory: string, filename: string): Promise<Target> {
  const time = timestamp(new Date());
  for (let number = 1;; number++) {
    const name = `${time}_${String(number).padStart(3, "0")}_${safeName(filename)}`;
    const path = resolve(join(directory, name));
    try {
      return fileTarget(path, await open(path, "wx"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

function fileTarget(path: string, handle: FileHandle): Target {
  return {
    reference: pathToFileURL(path).href,
    async write(chunk) {
      for (let at = 0; at < chunk.length;) {
        at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
      }
    },
    async complete(size) {
      await handle.sync();
      await handle.close();
      return size;
    },
    fail: (size) => handle.truncate(size).finally(() => handle.close()),
  };
}

/** Local time as `20261123_014455`. */
function timestamp(time: Date): string {
  const digits = (value: number) => String(value).padStart(2, "0");
  const date = [time.getFullYear(), time.getMonth() + 1, time.getDate()].map(digits).join("");
  return `${date}_${[time.getHours(), time.getMinutes(), time.getSeconds()].map(digits).join("")}`;
}

/** The end of the name, where the extension is, without what any file system refuses. */
function safeName(filename: string): string {
  // deno-lint-ignore no-control-regex
  const name = filename.replace(/[\x00-\x1f\x7f<>:"/\\|?*]/g, "_").replace(/[. ]+$/, "");
  const characters = [...name];
  while (new TextEncoder().encode(characters.join("")).length > NAME_BYTES) characters.shift();
  return characters.join("");
}

function storageFailed(what: string, error: unknown): StreamError {
  const { message } = toStreamError(error);
  return new StreamError("STORAGE_FAILED", `${what}: ${message}`, { cause: error });
}
