/**
 * `stream check`.
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Catalog, ResourceChange, ResourceRecord } from "../../catalog.ts";
import { SqliteCatalog } from "../../catalog/sqlite.ts";
import { createDigest } from "../../digest.ts";
import { isFinal, StreamError } from "../../protocol.ts";
import { logPath } from "../../storage/layout.ts";
import { ageMs, findFiles, inspectLog, rebuildIndex, setAside } from "../../storage/verify.ts";
import { type Command, EXIT } from "../command.ts";
import { Announcer } from "../output/output.ts";

/** Verifies a data directory. */
export const check: Command = {
  name: "check",
  summary: "verify a data directory: sizes, lines, indexes, digests, orphans",
  positionals: [],
  options: {
    data: { kind: "text", value: "DIR", help: "directory of the data (default ./stream-data)" },
    repair: { kind: "flag", help: "mend what can be mended, and say what was lost" },
  },
  examples: ["stream check --data /var/lib/stream", "stream check --data /var/lib/stream --repair"],
  async run(_args, options) {
    const directory = options.text("data") ?? "./stream-data";
    const path = join(directory, "catalog.sqlite");
    if (!existsSync(path)) {
      throw new StreamError("NOT_FOUND", `${directory} is no data directory: there is no ${path}`);
    }
    const catalog = new SqliteCatalog(path);
    try {
      const run = new CheckRun(directory, catalog, options.flag("repair"));
      await run.resources();
      await run.orphans();
      await run.sum();
      return run.problems === 0 ? EXIT.ok : EXIT.failed;
    } finally {
      await catalog.close();
    }
  },
};

/** Records looked at together. */
const PAGE = 100;
/** A log without a record that is younger than this may be an upload which is just being registered. */
const ORPHAN_AGE_MS = 60_000;

class CheckRun {
  problems = 0;
  readonly #announcer = new Announcer();
  #checked = 0;

  constructor(
    private readonly directory: string,
    private readonly catalog: Catalog,
    private readonly repair: boolean,
  ) {}

  /** Every finished resource; what is being uploaded is the server's business. */
  async resources(): Promise<void> {
    let after: { createdAtMs: number; id: string } | undefined;
    for (;;) {
      const records = await this.catalog.list({ limit: PAGE, after });
      for (const record of records) {
        if (isFinal(record.transferStatus)) await this.#resource(record);
      }
      if (records.length < PAGE) return;
      after = records[records.length - 1];
    }
  }

  /** Logs that no record names. */
  async orphans(): Promise<void> {
    for await (const file of findFiles(this.directory)) {
      const { id, path } = file;
      if (id === null) continue;
      if (path === logPath(this.directory, id) && await this.catalog.get(id) !== null) continue;
      if (await ageMs(file) < ORPHAN_AGE_MS) continue;
      await this.#problem(id, `no record names ${path}`, "moved to lost+found");
      if (this.repair) await setAside(this.directory, file);
    }
  }

  async #resource(record: ResourceRecord): Promise<void> {
    const { id, digest: wanted } = record;
    const lineAccess = record.metadata.supportsLineAccess;
    const digest = wanted === null ? null : await createDigest(wanted.algorithm);
    const facts = await inspectLog(
      this.directory,
      id,
      lineAccess,
      (bytes) => digest?.update(bytes),
    );
    // The server may have deleted it meanwhile.
    if (await this.catalog.get(id) === null) return;
    this.#checked++;
    if (facts === null) {
      if (record.size > 0 || record.transferStatus === "COMPLETED") {
        await this.#lost(record, "its data is gone", { size: 0, lines: lineAccess ? 0 : null });
      }
      return;
    }
    const lines = lineAccess ? facts.lines : null;
    if (facts.size !== record.size || lines !== record.lines) {
      const found = `${facts.size} bytes and ${lines} lines`;
      const expected = `${record.size} bytes and ${record.lines} lines`;
      await this.#lost(record, `it has ${found}, not ${expected}`, { size: facts.size, lines });
    } else if (digest !== null && digest.value() !== wanted?.value) {
      await this.#lost(record, "its bytes do not have the digest they had", {});
    }
    if (facts.indexIsRight) return;
    await this.#problem(id, "its line break index is wrong", "built anew");
    if (this.repair) await rebuildIndex(this.directory, id);
  }

  /** Damage that cannot be undone: the record is made to tell the truth. */
  async #lost(record: ResourceRecord, what: string, facts: ResourceChange): Promise<void> {
    await this.#problem(record.id, what, "marked FAILED");
    if (!this.repair) return;
    await this.catalog.update(record.id, record.revision, {
      ...facts,
      durableSize: Math.min(record.durableSize, facts.size ?? record.size),
      transferStatus: "FAILED",
      failure: `STORAGE_FAILED: stream check found that ${what}`,
      digest: null,
    });
  }

  async #problem(id: string, what: string, remedy: string): Promise<void> {
    this.problems++;
    await this.#announcer.say(`${id}: ${what}${this.repair ? `; ${remedy}` : ""}`);
  }

  /** Tells what came of it. */
  async sum(): Promise<void> {
    await this.#announcer.say(`${this.#checked} resources checked, ${this.problems} problems`);
    this.#announcer.done();
  }
}
