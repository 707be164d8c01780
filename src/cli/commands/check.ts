/**
 * `stream check`.
 * @module
 */
import { existsSync } from "node:fs";
import type { Catalog, ResourceRecord } from "../../catalog.ts";
import { isOfEarlierVersion, SqliteCatalog } from "../../catalog/sqlite.ts";
import { createDigest } from "../../digest.ts";
import { StreamError, toStreamError } from "../../protocol.ts";
import { ageMs, inspectLog, rebuildIndex, setAside } from "../../storage/verify.ts";
import {
  CheckReport,
  LEFT,
  ORPHAN_AGE_MS,
  REGISTERED_WITHIN_MS,
  type ReportSettings,
} from "../check_report.ts";
import { type Command, EXIT, QUIET_OPTION, UsageError } from "../command.ts";
import { lockDirectory } from "../lock.ts";
import { rebuildRecord } from "../rebuild.ts";
import { CLUSTER_OPTIONS } from "./cluster.ts";
import { catalogPath, type FoundLog, isKnown, unknownLogs } from "../unknown_logs.ts";

/** Verifies a data directory. */
export const check: Command = {
  name: "check",
  summary: "verify a data directory, or a cluster: sizes, lines, indexes, digests, orphans",
  positionals: [],
  options: {
    data: { kind: "text", value: "DIR", help: "directory of the data (default ./stream-data)" },
    ...CLUSTER_OPTIONS,
    repair: { kind: "flag", help: "mend what can be mended, and say what was lost" },
    rebuild: {
      kind: "flag",
      help:
        "after the catalog was lost, while no server runs: make records of data files that have none",
    },
    json: { kind: "flag", help: "print a JSON object a line for each problem, and for the sum" },
    ...QUIET_OPTION,
  },
  examples: ["stream check --data /var/lib/stream", "stream check --data /var/lib/stream --repair"],
  async run(_args, options) {
    if (options.text("cluster") !== undefined) {
      if (options.flag("rebuild")) throw new UsageError("--rebuild does not go with --cluster");
      // Nothing else needs the client of the engine.
      const { checkCluster } = await import("../cluster/check.ts");
      return await checkCluster(options) === 0 ? EXIT.ok : EXIT.failed;
    }
    const directory = options.text("data") ?? "./stream-data";
    const settings = {
      repair: options.flag("repair"),
      rebuild: options.flag("rebuild"),
      json: options.flag("json"),
    };
    const path = catalogPath(directory);
    if (!existsSync(settings.rebuild ? directory : path)) {
      throw new StreamError(
        "NOT_FOUND",
        `${directory} is no data directory: there is no ${path}; if that was lost, ` +
          `--rebuild makes records of the data files`,
      );
    }
    const unlock = await lockIfAlone(directory, settings);
    try {
      return await checkAll(directory, settings);
    } finally {
      await unlock();
    }
  },
};

/** Keeps servers away from what must not be done beside one. */
async function lockIfAlone(
  directory: string,
  { rebuild }: CheckSettings,
): Promise<() => Promise<void>> {
  // Of a server that runs any log may be one that is just being registered.
  if (rebuild) return await lockDirectory(directory);
  if (!isOfEarlierVersion(catalogPath(directory))) return () => Promise.resolve();
  try {
    return await lockDirectory(directory);
  } catch (error) {
    const { code, message } = toStreamError(error);
    throw new StreamError(
      code,
      `${message} (its catalog is of an earlier version, and would be changed to this one's under it)`,
    );
  }
}

async function checkAll(directory: string, settings: CheckSettings): Promise<number> {
  const catalog = new SqliteCatalog(catalogPath(directory));
  try {
    using report = new CheckReport(catalog, settings);
    await new CheckRun(directory, catalog, settings, report).all();
    return report.problems === 0 ? EXIT.ok : EXIT.failed;
  } finally {
    await catalog.close();
  }
}

interface CheckSettings extends ReportSettings {
  rebuild: boolean;
}

/** A catalog that knows nothing at all was lost. */
const NOT_MOVED = "left, as the catalog is empty: was it lost? --rebuild makes records";

class CheckRun {
  readonly #report: CheckReport;
  #unknown = 0;

  constructor(
    private readonly directory: string,
    private readonly catalog: Catalog,
    private readonly settings: CheckSettings,
    report: CheckReport,
  ) {
    this.#report = report;
  }

  /** Looks at everything, and tells what came of it. */
  async all(): Promise<void> {
    if (this.settings.rebuild) await this.#rebuild();
    for await (const record of this.#report.finished()) await this.#resource(record);
    // What has no record now was told already.
    if (!this.settings.rebuild || this.settings.repair) await this.#orphans();
    const isHintDue = this.#unknown > 0 && !this.settings.repair;
    await this.#report.sum(
      this.#unknown,
      isHintDue
        ? "logs without a record: was the catalog lost? --rebuild makes records of them"
        : undefined,
    );
  }

  /** Makes records of logs that have none. */
  async #rebuild(): Promise<void> {
    for await (const log of unknownLogs(this.directory, this.catalog)) {
      const what = `no record names ${log.path}`;
      try {
        const size = await rebuildRecord(this.directory, this.catalog, log);
        await this.#report.tell(log.id, what, `made one: FAILED, ${size} bytes`);
      } catch (error) {
        await this.#report.tell(log.id, what, `made none: ${toStreamError(error).message}`);
      }
    }
  }

  /** Logs that no record names. */
  async #orphans(): Promise<void> {
    const isCatalogEmpty = (await this.catalog.list({ limit: 1 })).length === 0;
    const young: FoundLog[] = [];
    for await (const log of unknownLogs(this.directory, this.catalog)) {
      const aged = await ageMs(log);
      if (aged === null) continue;
      if (aged < ORPHAN_AGE_MS) young.push(log);
      else if (isCatalogEmpty) await this.#orphan(log, NOT_MOVED);
      else {
        await this.#orphan(log, "moved to lost+found");
        if (this.settings.repair) await setAside(this.directory, log);
      }
    }
    if (young.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, REGISTERED_WITHIN_MS));
    for (const log of young) {
      if (await isKnown(this.directory, this.catalog, log) || await ageMs(log) === null) continue;
      await this.#orphan(log, isCatalogEmpty ? NOT_MOVED : LEFT);
    }
  }

  async #orphan({ id, path }: FoundLog, remedy: string): Promise<void> {
    this.#unknown++;
    await this.#report.problem(id, `no record names ${path}`, remedy);
  }

  async #resource(record: ResourceRecord): Promise<void> {
    const { id, digest: wanted } = record;
    const lineAccess = record.metadata.supportsLineAccess;
    const digest = wanted === null ? null : await createDigest(wanted.algorithm);
    const found = await inspectLog(
      this.directory,
      id,
      lineAccess,
      (bytes) => {
        digest?.update(bytes);
        this.#report.count(bytes.length);
      },
    );
    const facts = found && {
      size: found.size,
      lines: lineAccess ? found.lines : null,
      digest: digest?.value() ?? null,
    };
    await this.#report.compare(record, facts);
    if (found === null || found.indexIsRight || await this.catalog.get(id) === null) return;
    await this.#report.problem(id, "its line break index is wrong", "built anew");
    if (this.settings.repair) await rebuildIndex(this.directory, id);
  }
}
