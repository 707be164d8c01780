/**
 * `stream get`.
 * @module
 */
import { createReadStream, type Stats } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getResource, open, type ResourceInfo } from "../../client.ts";
import { createDigest, type RunningDigest } from "../../digest.ts";
import {
  checkLife,
  type DigestAlgorithm,
  DIGESTS,
  endedWell,
  StreamError,
} from "../../protocol.ts";
import { asked } from "../asked.ts";
import {
  type Command,
  EXIT,
  type Options,
  QUIET_OPTION,
  SERVER_OPTION,
  UsageError,
} from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { outcomeText } from "../uploads/outcome.ts";
import {
  fileOutput,
  printLine,
  sizeOf,
  unwritable,
  visible,
  visibleJson,
} from "../output/output.ts";
import { inParallel } from "../uploads/parallel.ts";
import { Progress } from "../output/progress.ts";
import { type NamedResource, resourceOf, resourcesIn } from "../references.ts";
import { complain, notice } from "../output/stderr.ts";
import { TRANSPORT_OPTION, transportOf } from "../transport.ts";

/** Resources that are fetched at a time. */
const PARALLEL = 4;

/** Fetches resources into a directory. */
export const get: Command = {
  name: "get",
  summary: "fetch resources into a directory, whole and verified",
  positionals: ["[REF…]"],
  options: {
    context: { kind: "text", value: "ID", help: "fetch all that are in an upload context" },
    output: { kind: "text", short: "o", value: "DIR", help: "directory (default: this one)" },
    parallel: { kind: "count", value: "N", help: "fetch so many at a time (default 4)" },
    overwrite: { kind: "flag", help: "replace files of these names that are something else" },
    json: { kind: "flag", help: "print a JSON object a line for each that is there" },
    "retry-for": {
      kind: "duration",
      value: "TIME",
      help: "try a lost connection again for so long; 0s for never (default 10m)",
    },
    ...TRANSPORT_OPTION,
    ...QUIET_OPTION,
    ...SERVER_OPTION,
  },
  examples: [
    "stream get --context run-17 -o logs",
    "stream get run-17/build.log -o /tmp",
  ],
  run: (references, options) => runGet(references, options),
};

async function runGet(references: string[], options: Options): Promise<number> {
  const context = options.text("context");
  if ((references.length === 0) === (context === undefined)) {
    throw new UsageError("get wants either REF or --context ID");
  }
  const directory = options.text("output") ?? ".";
  if (directory === "-") {
    throw new UsageError("-o - is no directory: stream follow REF prints a resource");
  }
  const wanted = context === undefined
    ? await named(references, options)
    : await inContext(context, options);
  const files = placed(wanted, directory);
  let code: number = EXIT.ok, done = 0;
  {
    using progress = new Progress(() => `${done} of ${files.length}`);
    await inParallel(files, Math.max(1, options.number("parallel") ?? PARALLEL), async (file) => {
      try {
        const worth = await new Fetching(file, options, progress).run();
        code ||= worth;
        done++;
      } catch (error) {
        complain(`${visible(file.info.filename)}: ${described(error)}`);
        code ||= exitCodeOf(error);
      }
    });
  }
  notice(`${done} of ${files.length} resources are in ${visible(directory)}`);
  return code;
}

/** A resource that is wanted. */
interface Wanted {
  info: ResourceInfo;
  resource: NamedResource;
}

async function named(references: string[], options: Options): Promise<Wanted[]> {
  const wanted = new Map<string, Wanted>();
  for (const text of references) {
    const found = await asked(options, async () => {
      const resource = await resourceOf(options, text);
      return { resource, info: await getResource(resource.reference, resource) };
    });
    wanted.set(found.info.id, found);
  }
  return [...wanted.values()];
}

/** All resources of a context, oldest first, so that their names stay theirs when others join. */
async function inContext(contextId: string, options: Options): Promise<Wanted[]> {
  const credentials = await credentialsOf(options);
  const list = () => Array.fromAsync(resourcesIn(contextId, credentials));
  const wanted = (await asked(options, list))
    .map((info) => ({ info, resource: { reference: info.id, ...credentials } }));
  if (wanted.length > 0) return wanted.reverse();
  throw new StreamError("NOT_FOUND", `no resource is in the upload context ${contextId}`);
}

/** Bytes of a file's name: what file systems take (255), without room for `~` and 8 characters of an id, and `.part`. */
const LONGEST_NAME_BYTES = 240;

/** What a file is called that is not whole yet. */
const PART = ".part";

/** Where each is to be: its id tells apart what is called like another before it, a folder of any, or the part of any. */
function placed(wanted: Wanted[], directory: string): (Wanted & { path: string })[] {
  const taken = new Set(wanted.flatMap(({ info }) => foldersOf(safePath(info.filename))));
  return wanted.map(({ info, resource }) => {
    const name = safePath(info.filename);
    const isFree = (path: string) => !taken.has(path) && !path.toLowerCase().endsWith(PART);
    const path = [name, `${name}~${info.id.slice(0, 8)}`].find(isFree) ?? `${name}~${info.id}`;
    taken.add(path);
    return { info, resource, path: join(directory, path) };
  });
}

/** The folders that a path leads through. */
function foldersOf(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, at) => parts.slice(0, at + 1).join("/"));
}

/** A name as a path that stays in its directory: folders are kept where they only lead inwards. */
function safePath(filename: string): string {
  // deno-lint-ignore no-control-regex
  const name = filename.replace(/[\x00-\x1f\x7f\\]/g, "_");
  const isInward = name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  const path = isInward ? name : name.replaceAll("/", "_");
  return path === "." || path === ".." ? "_" : path.split("/").map(shortened).join("/");
}

/** A name of a file that a file system takes, with what it adds while it is fetched: its extension stays. */
function shortened(name: string): string {
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? "";
  const bytes = new TextEncoder().encode(name);
  if (bytes.length <= LONGEST_NAME_BYTES) return name;
  const kept = bytes.subarray(0, LONGEST_NAME_BYTES - new TextEncoder().encode(extension).length);
  // A character that was cut is left out.
  return new TextDecoder().decode(kept, { stream: true }) + extension;
}

/** One resource on its way into a file. */
class Fetching {
  readonly #info: ResourceInfo;
  readonly #resource: NamedResource;
  readonly #path: string;
  readonly #part: string;

  constructor(
    { info, resource, path }: Wanted & { path: string },
    private readonly options: Options,
    private readonly progress: Progress,
  ) {
    this.#info = info;
    this.#resource = resource;
    this.#path = path;
    this.#part = path + PART;
  }

  /** Returns the exit code that the resource is worth. */
  async run(): Promise<number> {
    const directory = dirname(this.#path);
    await mkdir(directory, { recursive: true }).catch((error) => {
      throw unwritable(directory, error);
    });
    if (await this.#isThere()) return await this.#tell(this.#info);
    if (await this.#isTaken()) throw taken(this.#path);
    const info = await this.#fetch();
    await this.#place();
    return await this.#tell(info);
  }

  /** Whether the file is there, with the bytes of a resource that has ended. */
  async #isThere(): Promise<boolean> {
    const { digest, currentSize } = this.#info;
    const there = await statOf(this.#path);
    if (digest === null || there?.isFile() !== true || there.size !== currentSize) return false;
    return await digestOf(this.#path, digest.algorithm) === digest.value;
  }

  /** Whether something else is there, which stays where nobody said otherwise: the name is the uploader's choice. */
  async #isTaken(): Promise<boolean> {
    if (this.options.flag("overwrite")) return false;
    const there = await statOf(this.#path);
    const { digest, transferStatus, currentSize } = this.#info;
    // Whether this is the copy of one that FAILED is seen when that was fetched: it has no digest.
    const mayBeCopy = digest === null && transferStatus === "FAILED" && there?.size === currentSize;
    return there !== null && !mayBeCopy;
  }

  /** Gives the part, which is whole, its name. */
  async #place(): Promise<void> {
    if (!this.options.flag("overwrite") && await statOf(this.#path) !== null) {
      const [there, whole] = await Promise.all(
        [this.#path, this.#part].map((path) => digestOf(path, "xxh128")),
      );
      if (there !== whole) throw taken(this.#path, `what was fetched is ${this.#part}`);
    }
    await rename(this.#part, this.#path).catch((error) => {
      throw unwritable(this.#path, error);
    });
  }

  /** Fetches what the part has not, and tells what the resource is then. */
  async #fetch(): Promise<ResourceInfo> {
    const digests = new Map<DigestAlgorithm, RunningDigest>();
    // While it runs nobody knows which of them the server will tell.
    const known = this.#info.digest;
    for (const name of known === null ? DIGESTS : [known.algorithm]) {
      digests.set(name, await createDigest(name));
    }
    const { from, life } = await this.#download((bytes) =>
      digests.forEach((digest) => digest.update(bytes))
    );
    const { reference, ...credentials } = this.#resource;
    const ask = () => getResource(reference, credentials);
    const info = await asked(this.options, ask, { isThere: true });
    checkLife(info, life);
    if (info.digest === null && from > 0) {
      // Nobody can tell whether what was there before is of this resource.
      await rm(this.#part, { force: true });
      return await this.#fetch();
    }
    await this.#verify(info, digests);
    return info;
  }

  /**
   * Goes on where the file ends that holds the part.
   * @returns Where that was, and of which life of the id all of it is.
   */
  async #download(
    update: (bytes: Uint8Array) => void,
  ): Promise<{ from: number; life: string | undefined }> {
    const { reference, ...credentials } = this.#resource;
    const from = await sizeOf(this.#part);
    using transfer = this.progress.transfer();
    const download = await open(reference, {
      ...credentials,
      retryForMs: this.options.number("retry-for"),
      ...transfer.retries,
      ...transportOf(this.options),
    });
    try {
      if (from > download.status.currentSize) await this.#refuse(`has ${from} bytes`);
      if (from > 0) {
        for await (const bytes of createReadStream(this.#part)) update(bytes as Uint8Array);
      }
      const output = transfer.written(
        await fileOutput(this.#part, "a", from),
        download,
        from,
      );
      try {
        for await (const bytes of download.read({ from, reuseBuffer: true })) {
          update(bytes);
          await output.write(bytes);
        }
      } finally {
        await output.close();
      }
      return { from, life: download.status.life };
    } finally {
      download.close();
    }
  }

  async #verify(
    { digest, currentSize }: ResourceInfo,
    digests: Map<DigestAlgorithm, RunningDigest>,
  ): Promise<void> {
    const size = await sizeOf(this.#part);
    if (size !== currentSize) await this.#refuse(`has ${size} bytes, not ${currentSize}`);
    if (digest === null) return;
    const value = digests.get(digest.algorithm)!.value();
    if (value !== digest.value) {
      await this.#refuse(`has ${digest.algorithm} ${value}, not ${digest.value}`);
    }
  }

  /** What is not the resource must not be gone on with. */
  async #refuse(what: string): Promise<never> {
    await rm(this.#part, { force: true });
    throw new StreamError(
      "CHECKSUM_MISMATCH",
      `${this.#part} ${what}: it was no part of the resource, and is gone; fetch it again`,
    );
  }

  async #tell(info: ResourceInfo): Promise<number> {
    const { transferStatus, failure, outcome, filename } = info;
    const path = this.#path;
    await printLine(this.options.flag("json") ? visibleJson({ ...info, path }) : visible(path));
    if (!endedWell(outcome)) {
      notice(`${visible(filename)}: the command ended ${outcomeText(outcome!)}`);
    }
    if (transferStatus !== "FAILED") return EXIT.ok;
    complain(
      `${visible(filename)} is FAILED: ${visible(failure ?? "the server does not say why")}`,
    );
    return EXIT.resourceFailed;
  }
}

async function statOf(path: string): Promise<Stats | null> {
  return await stat(path).catch(() => null);
}

async function digestOf(path: string, algorithm: DigestAlgorithm): Promise<string> {
  const running = await createDigest(algorithm);
  for await (const bytes of createReadStream(path)) running.update(bytes as Uint8Array);
  return running.value();
}

function taken(path: string, more = "nothing was fetched"): StreamError {
  return new StreamError(
    "CONFLICT",
    `${path} is there already and is something else (${more}): move it away, or replace it by --overwrite`,
  );
}
