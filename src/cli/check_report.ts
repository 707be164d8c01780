/**
 * Findings of `stream check`, and what becomes of the records that they are about.
 * @module
 */
import type { Catalog, ResourceChange, ResourceRecord } from "../catalog.ts";
import { isFinal } from "../protocol.ts";
import { Announcer } from "./output/output.ts";
import { Progress } from "./output/progress.ts";
import { flush } from "./output/stderr.ts";

/** Records looked at together. */
const PAGE = 100;

/** A log without a record that is younger may be of an upload that is just being registered, in ms. */
export const ORPHAN_AGE_MS = 60_000;
/** What becomes of such a log. */
export const LEFT = "left, as it is not a minute old";
/** Before it is told it is looked for once more after so long. */
export const REGISTERED_WITHIN_MS = 1000;

/** What a log really holds. */
export interface Facts {
  /** Its bytes. */
  size: number;
  /** Its lines; null without line access. */
  lines: number | null;
  /** The digest of its bytes; null where none is wanted. */
  digest: string | null;
}

/** What is done about problems. */
export interface ReportSettings {
  /** Whether what can be mended is. */
  repair: boolean;
  /** Whether programs read what is told. */
  json: boolean;
}

/** Tells of what is wrong, and mends records where that is wanted. */
export class CheckReport implements Disposable {
  /** Problems until now. */
  problems = 0;
  readonly #announcer: Announcer;
  readonly #catalog: Catalog;
  readonly #repairs: boolean;
  readonly #progress = new Progress(() => `${counted(this.#checked, "resource")} checked`);
  #checked = 0;

  /**
   * @param catalog The records.
   * @param settings What is done about problems.
   */
  constructor(catalog: Catalog, { repair, json }: ReportSettings) {
    this.#catalog = catalog;
    this.#repairs = repair;
    this.#announcer = new Announcer(json);
  }

  /** Counts bytes that were read. */
  count(byteCount: number): void {
    this.#progress.count(byteCount);
  }

  /** Every finished resource; what is being uploaded is the server's business. */
  async *finished(): AsyncGenerator<ResourceRecord, void, void> {
    let after: { createdAtMs: number; id: string } | undefined;
    for (;;) {
      const records = await this.#catalog.list({ limit: PAGE, after });
      yield* records.filter(({ transferStatus }) => isFinal(transferStatus));
      if (records.length < PAGE) return;
      after = records[records.length - 1];
    }
  }

  /**
   * Holds a record against its log.
   * @param record The record.
   * @param facts What the log holds; null when it is gone.
   */
  async compare(record: ResourceRecord, facts: Facts | null): Promise<void> {
    // A server may have deleted it meanwhile, and its id may be used again.
    if ((await this.#catalog.get(record.id))?.createdAtMs !== record.createdAtMs) return;
    this.#checked++;
    if (facts === null) {
      if (record.size === 0 && record.transferStatus !== "COMPLETED") return;
      const lines = record.metadata.supportsLineAccess ? 0 : null;
      return await this.#lost(record, "its data is gone", { size: 0, lines });
    }
    const { size, lines, digest } = facts;
    if (size !== record.size || lines !== record.lines) {
      const found = `${size} bytes and ${lines} lines`;
      const expected = `${record.size} bytes and ${record.lines} lines`;
      await this.#lost(record, `it has ${found}, not ${expected}`, { size, lines });
    } else if (digest !== null && digest !== record.digest?.value) {
      await this.#lost(record, "its bytes do not have the digest they had", {});
    }
  }

  /** Damage that cannot be undone: the record is made to tell the truth. */
  async #lost(record: ResourceRecord, what: string, facts: ResourceChange): Promise<void> {
    await this.problem(record.id, what, "marked FAILED");
    if (!this.#repairs) return;
    await this.#catalog.update(record.id, record.revision, {
      ...facts,
      durableSize: Math.min(record.durableSize, facts.size ?? record.size),
      transferStatus: "FAILED",
      failure: `STORAGE_FAILED: stream check found that ${what}`,
      digest: null,
    });
  }

  /** Tells of a problem, and what was done about it, if anything is. */
  async problem(id: string, problem: string, remedy: string): Promise<void> {
    await this.tell(id, problem, this.#repairs ? remedy : null);
  }

  /** Tells of a problem, and what was done about it; null for nothing. */
  async tell(id: string, problem: string, remedy: string | null): Promise<void> {
    this.problems++;
    const done = remedy === null ? "" : `; ${remedy}`;
    await this.#announcer.tell({ id, problem, remedy }, `${id}: ${problem}${done}`);
  }

  /**
   * Tells what came of it.
   * @param unknown Logs that no record names.
   * @param hint What else is to be said before, to people.
   */
  async sum(unknown: number, hint?: string): Promise<void> {
    this[Symbol.dispose]();
    // The end of the progress stands before the sum.
    await flush();
    const [checked, problems] = [this.#checked, this.problems];
    if (hint !== undefined) await this.#announcer.hint(hint);
    const text = `${counted(checked, "resource")} checked, ${counted(problems, "problem")}`;
    await this.#announcer.tell({ checked, problems, unknown }, text);
    this.#announcer.done();
  }

  /** Shows no progress any more. */
  [Symbol.dispose](): void {
    this.#progress[Symbol.dispose]();
  }
}

/** `1 problem`, `2 problems`. */
function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
