/**
 * Bearer tokens out of a file, which is read again when it changes: who is revoked there is out within a second.
 * @module
 */
import { stat } from "node:fs/promises";
import type { Authenticator, Grant } from "../access.ts";
import { StreamError, toStreamError } from "../protocol.ts";
import { hashToken, readTokens, type TokenRecord } from "./token_file.ts";

/** How often the file is looked at, at most. */
const LOOK_AGAIN_MS = 1000;
/** What others than the owner may have no part of. */
const OTHERS_MODE = 0o077;

/** Settings of {@link FileTokens}. */
export interface FileTokensOptions {
  /** Path of the file. */
  path: string;
  /** Hears what is wrong with the file; nobody by default. */
  warn?: ((message: string) => void) | undefined;
  /** The clock, in ms since 1970. */
  now?: (() => number) | undefined;
}

/**
 * The tokens that `stream token create` made.
 *
 * @example
 * ```ts
 * import { createServer, loadRuntime, MemoryCatalog, MemoryStorage, SignedLinks, FileTokens } from "@stream/live";
 *
 * const guarded = async (path: string) =>
 *   createServer({
 *     runtime: await loadRuntime(),
 *     storage: new MemoryStorage(),
 *     catalog: new MemoryCatalog(),
 *     access: { tokens: await FileTokens.open({ path }), links: new SignedLinks() },
 *   });
 * ```
 */
export class FileTokens implements Authenticator {
  readonly #path: string;
  readonly #warn: (message: string) => void;
  readonly #now: () => number;
  /** Grants by the hash of their token. */
  #grants = new Map<string, Grant>();
  /** Those who hear of the end of a grant. */
  readonly #watchers = new Set<{ grant: Grant; revoked: () => void }>();
  #watching: ReturnType<typeof setInterval> | undefined;
  /** The grants of the last time that the file could be read: nobody is thrown out because it cannot be. */
  #granted = this.#grants;
  #held: ReadonlySet<Grant> = new Set();
  #version = "";
  /** Whether the file could be read when it was looked at last. */
  #isReadable = true;
  #lookedAtMs: number;
  #looking: Promise<void> | null = null;

  private constructor({ path, warn = () => {}, now = Date.now }: FileTokensOptions) {
    this.#path = path;
    this.#warn = warn;
    this.#now = now;
    this.#lookedAtMs = now();
  }

  /**
   * Reads the file.
   * @param options Where it is.
   * @throws {StreamError} NOT_FOUND without one; BAD_METADATA that names the first line that is wrong.
   */
  static async open(options: FileTokensOptions): Promise<FileTokens> {
    const file = new FileTokens(options);
    await file.#read(await file.#currentVersion());
    return file;
  }

  /**
   * Checks a token.
   * @throws {StreamError} UNREACHABLE while the file cannot be read: the token may be right.
   */
  async authenticate(token: string): Promise<Grant | null> {
    await this.#refresh();
    if (!this.#isReadable) {
      throw new StreamError("UNREACHABLE", "the server cannot read its tokens: see its log");
    }
    // The time that a search by hash takes tells of hashes at most, and no token follows from a hash.
    const found = this.#grants.get(hashToken(token)) ?? null;
    const expiresAtMs = found?.expiresAtMs ?? Infinity;
    return expiresAtMs > this.#now() ? found : null;
  }

  /** Hears of a token that was revoked or made anew, within a second of the change. */
  watch(grant: Grant, revoked: () => void): () => void {
    const watcher = { grant, revoked };
    this.#watchers.add(watcher);
    // The file may have changed since the grant was given.
    if (!this.#held.has(grant)) queueMicrotask(() => this.#tellRevoked());
    this.#watching ??= setInterval(() => void this.#refresh(), LOOK_AGAIN_MS);
    return () => this.#unwatch(watcher);
  }

  #unwatch(watcher: { grant: Grant; revoked: () => void }): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    clearInterval(this.#watching);
    this.#watching = undefined;
  }

  #refresh(): Promise<void> | null {
    const nowMs = this.#now();
    if (this.#looking === null && Math.abs(nowMs - this.#lookedAtMs) >= LOOK_AGAIN_MS) {
      this.#lookedAtMs = nowMs;
      this.#looking = this.#look().finally(() => this.#looking = null);
    }
    return this.#looking;
  }

  /** A file that cannot be read grants nothing: it may be one that revokes. */
  async #look(): Promise<void> {
    const version = await this.#currentVersion();
    if (version === this.#version) return;
    try {
      await this.#read(version);
    } catch (error) {
      this.#grants = new Map();
      this.#version = version;
      this.#isReadable = false;
      this.#warn(`no token is accepted: ${toStreamError(error).message}`);
    }
  }

  async #read(version: string): Promise<void> {
    const records = await readTokens(this.#path);
    this.#grants = new Map(
      records.map((record) => [record.sha256, this.#known(record.sha256, grantOf(record))]),
    );
    this.#granted = this.#grants;
    this.#held = new Set(this.#grants.values());
    this.#version = version;
    this.#isReadable = true;
    this.#tellRevoked();
    const { mode } = await stat(this.#path);
    if ((mode & OTHERS_MODE) === 0) return;
    this.#warn(`others can get at ${this.#path}: chmod 600 it`);
  }

  /** The grant as it was before, where nothing of it changed: what is open under it goes on. */
  #known(sha256: string, grant: Grant): Grant {
    const before = this.#granted.get(sha256);
    const same = before !== undefined && JSON.stringify(before) === JSON.stringify(grant);
    return same ? before : grant;
  }

  #tellRevoked(): void {
    for (const watcher of [...this.#watchers]) {
      if (this.#held.has(watcher.grant)) continue;
      this.#unwatch(watcher);
      watcher.revoked();
    }
  }

  /** Changes with the file; empty without one. */
  async #currentVersion(): Promise<string> {
    return await stat(this.#path).then(
      ({ ino, size, mtimeMs, ctimeMs }) => [ino, size, mtimeMs, ctimeMs].join(" "),
      () => "",
    );
  }
}

function grantOf(record: TokenRecord): Grant {
  const { name, scopes, contextId = null, resourceId = null, expiresAt } = record;
  const expiresAtMs = expiresAt === undefined ? null : Date.parse(expiresAt);
  return { name, scopes, contextId, resourceId, expiresAtMs };
}
