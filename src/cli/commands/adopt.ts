/**
 * `stream adopt`.
 * @module
 */
import { existsSync } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { SqliteCatalog } from "../../catalog/sqlite.ts";
import { createDigest } from "../../digest.ts";
import {
  checkContextId,
  checkMetadata,
  type Digest,
  isFinal,
  isResourceId,
  LIMITS,
  type ResourceMetadata,
  StreamError,
  toStreamError,
} from "../../protocol.ts";
import { guessMimeType, isText } from "../../mime.ts";
import { reasonOf } from "../../reasons.ts";
import { bringLog, dropOriginal } from "../../storage/bring.ts";
import { FileStorage } from "../../storage/file.ts";
import { indexPath, logPath } from "../../storage/layout.ts";
import { findFiles, type FoundFile, inspectLog, rebuildIndex } from "../../storage/verify.ts";
import { type Command, EXIT, type Options, UsageError } from "../command.ts";
import { lockDirectory } from "../lock.ts";
import { Announcer } from "../output/output.ts";
import { Progress } from "../output/progress.ts";
import { flush } from "../output/stderr.ts";
import { catalogPath } from "../unknown_logs.ts";
import { CLUSTER_OPTIONS } from "./cluster.ts";

/** Registers what a Java server left behind. */
export const adopt: Command = {
  name: "adopt",
  summary:
    "take over the data directory of a Java server or, into a cluster, of a single one of ours",
  positionals: ["DIR"],
  options: {
    data: {
      kind: "text",
      value: "DATA",
      help: "move the files into this data directory, or copy them from another file system " +
        "(default: DIR becomes the data directory)",
    },
    copy: { kind: "flag", help: "copy the files to --data and leave DIR as it is" },
    name: {
      kind: "text",
      value: "RULE",
      help: "name of a resource, {id} being its id (default {id}.log with lines, else {id}.bin)",
    },
    names: {
      kind: "text",
      value: "FILE",
      help: "names that differ from the rule: lines of id, tab, name and, optionally, tab, type",
    },
    type: { kind: "text", value: "MIME", help: "MIME type (default: guessed from the name)" },
    text: {
      kind: "flag",
      help: "lines can be asked for where there is no index, too (default: by --type and --names)",
    },
    binary: { kind: "flag", help: "lines cannot be asked for where there is no index" },
    context: { kind: "text", value: "ID", help: "upload context: a test run, a job" },
    json: {
      kind: "flag",
      help: "print a JSON object a line for each resource and problem, and for the sum",
    },
    ...CLUSTER_OPTIONS,
  },
  examples: [
    "stream adopt /var/lib/step/streaming && stream serve --data /var/lib/step/streaming",
    "stream adopt /mnt/old --data /var/lib/stream --copy --names names.tsv",
  ],
  async run([directory], options) {
    if (options.text("cluster") === undefined) return await runAdopt(directory, options);
    for (const name of ["data", "name", "names", "type", "context"]) {
      if (options.text(name) !== undefined) {
        throw new UsageError(`--${name} does not go with --cluster: all is copied as it is`);
      }
    }
    // Nothing else needs the client of the engine.
    const { adoptIntoCluster } = await import("../cluster/adopt.ts");
    return await adoptIntoCluster(directory, options) === 0 ? EXIT.ok : EXIT.failed;
  },
};

async function runAdopt(directory: string, options: Options): Promise<number> {
  const settings: AdoptSettings = {
    describe: await readRules(options),
    copy: options.flag("copy"),
    contextId: options.text("context") ?? null,
    json: options.flag("json"),
  };
  if (settings.contextId !== null) checkContextId(settings.contextId);
  const data = options.text("data") ?? directory;
  if (settings.copy && data === directory) throw new UsageError("--copy goes with --data");
  const files = await filesIn(directory);
  const unlock = await lockDirectory(data);
  try {
    const [from, to] = [await realpath(directory), await realpath(data)];
    if (from !== to && existsSync(catalogPath(from))) {
      throw new StreamError("CONFLICT", `${from} is a data directory of stream: serve it as it is`);
    }
    const catalog = new SqliteCatalog(catalogPath(to));
    try {
      return await new AdoptRun(to, catalog, settings).all(files);
    } finally {
      await catalog.close();
    }
  } finally {
    await unlock();
  }
}

/** All at once, as files are moved to where they would be found again. */
async function filesIn(directory: string): Promise<FoundFile[]> {
  try {
    const files = await Array.fromAsync(findFiles(await realpath(directory)));
    if (files.length === 0 || files.some(({ id }) => id !== null)) return files;
  } catch (error) {
    throw new StreamError(
      "SOURCE_FAILED",
      `cannot adopt ${directory}: ${reasonOf(error)}`,
    );
  }
  throw new StreamError(
    "SOURCE_FAILED",
    `${directory} is no data directory of a Java server: it has no file such as ab/cd/ID.bin`,
  );
}

/** What a log is called, of which type it is, and whether it has lines. */
type Describe = (id: string, hasIndex: boolean) => ResourceMetadata;

async function readRules(options: Options): Promise<Describe> {
  if (options.flag("text") && options.flag("binary")) {
    throw new UsageError("--text and --binary exclude each other");
  }
  const names = await readNames(options.text("names"));
  const describe: Describe = (id, hasIndex) => {
    const given = names.get(id);
    const name = given?.name ?? options.text("name")?.replaceAll("{id}", id);
    const type = given?.type ?? options.text("type");
    // A rule names all files alike: it does not tell the texts among them, as a name of one file does.
    const isTextual = options.flag("text") || isText(type ?? guessMimeType(given?.name ?? ""));
    const supportsLineAccess = hasIndex || isTextual && !options.flag("binary");
    const filename = name ?? `${id}.${supportsLineAccess ? "log" : "bin"}`;
    return checkMetadata({
      filename,
      mimeType: type ?? guessMimeType(filename),
      supportsLineAccess,
    });
  };
  // What a rule makes of the longest id shows what is wrong with it before a file is touched.
  for (const id of [...names.keys(), "0".repeat(64)]) describe(id, false);
  return describe;
}

async function readNames(
  path: string | undefined,
): Promise<Map<string, { name: string; type: string | undefined }>> {
  const names = new Map<string, { name: string; type: string | undefined }>();
  if (path === undefined) return names;
  const text = await readFile(path, "utf8").catch((error) => {
    throw new StreamError("SOURCE_FAILED", `cannot read ${path}: ${reasonOf(error)}`);
  });
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === "") continue;
    const [id, name, type, ...more] = line.split("\t");
    if (!isResourceId(id) || name === undefined || more.length > 0) {
      throw new UsageError(`--names ${path}: line ${index + 1} is not ID, tab, NAME[, tab, MIME]`);
    }
    names.set(id, { name, type });
  }
  return names;
}

/** How logs are adopted. */
interface AdoptSettings {
  describe: Describe;
  copy: boolean;
  contextId: string | null;
  json: boolean;
}

class AdoptRun {
  readonly #storage: FileStorage;
  readonly #announcer: Announcer;
  #progress: Progress | null = null;
  readonly #brought = { linked: 0, copied: 0 };
  #adopted = 0;
  #known = 0;
  #built = 0;
  #rebuilt = 0;
  #left = 0;

  constructor(
    private readonly directory: string,
    private readonly catalog: Catalog,
    private readonly settings: AdoptSettings,
  ) {
    this.#storage = new FileStorage(directory);
    this.#announcer = new Announcer(settings.json);
  }

  async all(files: FoundFile[]): Promise<number> {
    const { contextId } = this.settings;
    if (contextId !== null) await this.catalog.createContext(contextId);
    {
      let done = 0;
      using progress = new Progress(() => `${done} of ${files.length} files`);
      this.#progress = progress;
      for (const file of files) {
        await this.#one(file);
        done++;
      }
    }
    // The end of the progress stands before the sum.
    await flush();
    await this.#sum();
    return this.#left === 0 ? EXIT.ok : EXIT.failed;
  }

  async #sum(): Promise<void> {
    const { linked, copied } = this.#brought;
    const sum = {
      adopted: this.#adopted,
      known: this.#known,
      indexesBuilt: this.#built,
      indexesRebuilt: this.#rebuilt,
      leftAlone: this.#left,
      moved: linked,
      copied,
    };
    if (linked + copied > 0) await this.#announcer.hint(`${linked} moved, ${copied} copied`);
    await this.#announcer.tell(
      sum,
      `${sum.adopted} adopted, ${sum.known} already there, ${sum.indexesBuilt} indexes built, ` +
        `${sum.indexesRebuilt} rebuilt, ${sum.leftAlone} left alone`,
    );
    this.#announcer.done();
  }

  async #one({ id, path }: FoundFile): Promise<void> {
    try {
      if (id === null) throw conflict("it is neither a data file nor the index of one");
      if (!isResourceId(id)) {
        throw conflict("an id has 8 to 64 lower-case hexadecimal digits and '-'");
      }
      const record = await this.catalog.get(id);
      if (record === null) await this.#adopt(id, path);
      else await this.#recognize(record, path);
      if (!this.settings.copy) await dropOriginal(path, logPath(this.directory, id));
    } catch (error) {
      this.#left++;
      const { message } = toStreamError(error);
      const told = { path, problem: message, remedy: null };
      await this.#announcer.tell(told, `${path}: left alone: ${message}`);
    }
  }

  async #recognize(record: ResourceRecord, path: string): Promise<void> {
    const { size } = await stat(path);
    if (isFinal(record.transferStatus) && size !== record.size) {
      throw conflict(`the catalog knows it with ${record.size} bytes, not ${size}`);
    }
    this.#known++;
  }

  /** COMPLETED is registered last, when everything it promises is on disk. */
  async #adopt(id: string, from: string): Promise<void> {
    const { size, mtimeMs } = await stat(from);
    if (size > LIMITS.resourceBytes) throw conflict("it is larger than a resource may be, 1 TiB");
    const path = logPath(this.directory, id);
    const brought = await bringLog(from, path, this.settings.copy);
    if (brought !== null) this.#brought[brought]++;
    const metadata = this.settings.describe(id, existsSync(indexPath(path)));
    const content = await this.#secure(id, path, size, metadata);
    const writtenAtMs = Math.floor(mtimeMs);
    await this.catalog.create({
      id,
      metadata,
      contextId: this.settings.contextId,
      createdAtMs: writtenAtMs,
      transferStatus: "COMPLETED",
      size,
      durableSize: size,
      ...content,
      epoch: 1,
      sequence: 1,
      failure: null,
      digestState: null,
      secretHash: null,
      ownedBy: "CONNECTION",
      announced: { size: null, checksum: null },
      owner: null,
      updatedAtMs: writtenAtMs,
      revision: 0,
    });
    await this.catalog.sync?.();
    this.#adopted++;
    await this.#announcer.tell({ id, filename: metadata.filename, size, ...content });
  }

  /** Reads a log once, mends its index, and brings both to disk. */
  async #secure(
    id: string,
    path: string,
    size: number,
    { supportsLineAccess: lineAccess }: ResourceMetadata,
  ): Promise<{ lines: number | null; digest: Digest }> {
    const digest = await createDigest("xxh128");
    const facts = await inspectLog(this.directory, id, lineAccess, (bytes) => {
      digest.update(bytes);
      this.#progress?.count(bytes.length);
    });
    if (facts?.size !== size) throw conflict("it cannot be read, or is still being written");
    if (!facts.indexIsRight) await this.#mendIndex(id, path);
    const log = await this.#storage.recover(id, { lineAccess, epoch: 1 });
    try {
      await log.flush?.();
    } finally {
      await log.close();
    }
    const { algorithm } = digest;
    return {
      lines: lineAccess ? facts.lines : null,
      digest: { algorithm, value: digest.value() },
    };
  }

  async #mendIndex(id: string, path: string): Promise<void> {
    const index = indexPath(path);
    const isThere = existsSync(index);
    await rebuildIndex(this.directory, id);
    if (!isThere) this.#built++;
    else {
      this.#rebuilt++;
      const [problem, remedy] = ["did not name the line breaks", "built anew"];
      await this.#announcer.tell(
        { path: index, problem, remedy },
        `${index}: ${problem}; ${remedy}`,
      );
    }
  }
}

function conflict(why: string): StreamError {
  return new StreamError("CONFLICT", why);
}
