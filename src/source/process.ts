/**
 * The end of a process that is not ours.
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { StreamError } from "../protocol.ts";

/** The largest id that systems can give to a process. */
export const MAX_PID = 2 ** 31 - 1;

/** A process, known by its id and its start, so that another one that gets its id is not taken for it. */
export class WatchedProcess {
  readonly #pid: number;
  readonly #readStat: (pid: number) => string | null;
  readonly #start: string | null;

  /**
   * @param pid Its id.
   * @param readStat What Linux tells of a process in `/proc/PID/stat`; null where nothing is told.
   * @throws {StreamError} BAD_REQUEST for what is no id of a process.
   */
  constructor(pid: number, readStat: (pid: number) => string | null = readProcStat) {
    if (!Number.isInteger(pid) || pid < 1 || pid > MAX_PID) {
      throw new StreamError("BAD_REQUEST", `there is no process ${pid}`);
    }
    this.#pid = pid;
    this.#readStat = readStat;
    this.#start = parseStat(readStat(pid))?.start ?? null;
  }

  /** Whether it ended; one that nobody waits for, a zombie, did. */
  isGone(): boolean {
    const now = parseStat(this.#readStat(this.#pid));
    if (now === null) return !answers(this.#pid);
    return "ZX".includes(now.state) || this.#start !== null && now.start !== this.#start;
  }
}

function readProcStat(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return null;
  }
}

/** State and start: fields 3 and 22. The second is a name in brackets, which may hold anything. */
function parseStat(stat: string | null): { state: string; start: string } | null {
  if (stat === null) return null;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0], start: fields[19] };
}

function answers(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
