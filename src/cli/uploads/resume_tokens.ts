/**
 * Resume tokens of the uploads that run, so that another process can go on with them.
 * @module
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { PushedUpload } from "../../client.ts";
import { type ErrorCode, isResourceId, StreamError } from "../../protocol.ts";
import { reasonOf } from "../../reasons.ts";
import { userDirectory } from "../home.ts";
import { notice } from "../output/stderr.ts";

/** Answers of the server that began an upload after which its token is of no use. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  ...["DELETED", "NOT_FOUND", "NOT_OWNER", "WRONG_STATE"] as const,
]);

/** Why there is no place for tokens. */
const NO_PLACE = "no home directory is known; XDG_STATE_HOME can name a place";

/** A saved token. */
export interface SavedToken {
  /** The token. */
  token: string;
  /**
   * Removes it if an answer to a resume says that none can succeed.
   * @param error What was answered.
   * @param server HTTP base URL of the server that did; another one knows nothing of this upload.
   */
  answered(error: StreamError, server: string): Promise<void>;
}

/**
 * Saves the token of an upload where only this user can read it.
 *
 * @param upload The upload.
 * @param server HTTP base URL of its server.
 * @returns Removes it, when the upload is over.
 */
export async function rememberUpload(
  upload: PushedUpload,
  server: string,
): Promise<() => Promise<void>> {
  const [id] = upload.resumeToken.split(":");
  const path = tokenPath(id);
  if (path === null) return unsaved(NO_PLACE);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // Whoever is killed here leaves the token whole, the old or the new one.
    await writeFile(`${path}.new`, `${upload.resumeToken}\n${server}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
    return () => removeToken(path);
  } catch (error) {
    const why = `no token can be saved in ${dirname(path)}: ${reasonOf(error)}`;
    return unsaved(`${why}; XDG_STATE_HOME can name another place`);
  }
}

/** The push goes on without; there is nothing to remove at its end. */
function unsaved(why: string): () => Promise<void> {
  notice(`this push cannot be resumed after it is killed: ${why}`);
  return () => Promise.resolve();
}

/** Whether the token of an upload is saved. */
export function isRemembered(id: string): boolean {
  const path = tokenPath(id);
  return path !== null && existsSync(path);
}

/**
 * The saved token of an upload.
 *
 * @param id Id of the resource.
 * @throws {StreamError} NOT_OWNER when there is none.
 */
export async function recallToken(id: string): Promise<SavedToken> {
  const path = tokenPath(id);
  if (path === null) throw new StreamError("NOT_OWNER", `no token is saved: ${NO_PLACE}`);
  try {
    const [token, savedFor] = (await readFile(path, "utf8")).split("\n");
    return {
      token,
      async answered({ code }, server) {
        if (FINAL.has(code) && server === savedFor) await removeToken(path);
      },
    };
  } catch {
    const message = `no token of upload ${id} is saved in ${dirname(path)}: ` +
      `only the user and machine that began it can go on, and only until it is over`;
    throw new StreamError("NOT_OWNER", message);
  }
}

/** What became of the upload is not changed by a token that stays. */
async function removeToken(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error) =>
    notice(`${path} is of no use any more and cannot be removed: ${reasonOf(error)}`)
  );
}

/** Where the token of an upload is saved; null where there is no place. */
function tokenPath(id: string): string | null {
  if (!isResourceId(id)) {
    throw new StreamError("BAD_MESSAGE", `the server sent the id ${JSON.stringify(id)}`);
  }
  const directory = userDirectory("XDG_STATE_HOME", ".local/state");
  return directory === null ? null : join(directory, "uploads", id);
}
