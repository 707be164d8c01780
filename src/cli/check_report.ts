/**
 * Findings of `stream check`, and what becomes of the records that they are about.
 * @module
 */
import type { Catalog, ResourceChange, ResourceRecord } from "../catalog.ts";
import { isFinal } from "../protocol.ts";
import { Announcer } from "./output/output.ts";

/** Records looked at together. */
const PAGE = 100;

/** What a log really holds. */
export interface Facts {
  /** Its bytes. */
  size: number;
  /** Its lines; null without line access. */
  lines: number | null;
  /** The digest of its bytes; null where none is wanted. */
  digest: string | null;
}

/** Tells of what is wrong, and mends records where that is wanted. */
export class CheckReport {
  /** Problems until now. */
  problems = 0;
  readonly #announcer = new Announcer();
  readonly #catalog: Catalog;
  readonly #repairs: boolean;
  #checked = 0;

  /**
   * @param catalog The records.
   * @param repairs Whether what can be mended is.
   */
  constructor(catalog: Catalog, repairs: boolean) {
    this.#catalog = catalog;
    this.#repairs = repairs;
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
    // The server may have deleted it meanwhile.
    if (await this.#catalog.get(record.id) === null) return;
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
  async problem(id: string, what: string, remedy: string): Promise<void> {
    await this.tell(id, `${what}${this.#repairs ? `; ${remedy}` : ""}`);
  }

  /** Tells of something that was found. */
  async tell(id: string, what: string): Promise<void> {
    this.problems++;
    await this.#announcer.say(`${id}: ${what}`);
  }

  /**
   * Tells what came of it.
   * @param hint What else is to be said before.
   */
  async sum(hint?: string): Promise<void> {
    if (hint !== undefined) await this.#announcer.say(hint);
    await this.#announcer.say(`${this.#checked} resources checked, ${this.problems} problems`);
    this.#announcer.done();
  }
}
