/**
 * What tells after a crash which logs were about to be deleted: a second name for each data file, so that no other file
 * of the same id, and none whose record was only lost, is ever taken for one.
 * @module
 */
import { link, mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isResourceId } from "../../protocol.ts";
import { systemCode } from "./errors.ts";

/** Directory of the second names, in the data directory. */
export const MARKS = "deleted";

/** Marks of one data directory. */
export class DeletionMarks {
  readonly #directory: string;

  /** @param directory The data directory. */
  constructor(directory: string) {
    this.#directory = join(directory, MARKS);
  }

  /** Marks a data file; where the file system refuses that, nobody finishes its deletion after a crash. */
  async add(id: string, path: string): Promise<void> {
    const mark = () => link(path, this.#markOf(id));
    await mark().catch(async (error) => {
      if (systemCode(error) !== "ENOENT") return;
      await mkdir(this.#directory, { recursive: true });
      await mark();
    }).catch(() => {});
  }

  /** Takes a mark away, if there is one. */
  async remove(id: string): Promise<void> {
    await rm(this.#markOf(id), { force: true }).catch(() => {});
  }

  /**
   * Ids whose data file is marked.
   * @param pathOf Where the data file of an id is.
   */
  async all(pathOf: (id: string) => string): Promise<string[]> {
    const names = await readdir(this.#directory).catch(() => []);
    const marked: string[] = [];
    for (const id of names.filter(isResourceId)) {
      if (await isSameFile(this.#markOf(id), pathOf(id))) marked.push(id);
      else await this.remove(id);
    }
    return marked;
  }

  #markOf(id: string): string {
    return join(this.#directory, id);
  }
}

async function isSameFile(one: string, other: string): Promise<boolean> {
  const inode = (path: string) => stat(path, { bigint: true }).catch(() => null);
  const [first, second] = await Promise.all([inode(one), inode(other)]);
  return first !== null && first.dev === second?.dev && first.ino === second.ino;
}
