/** What a process costs, as Linux counts it. */
import { readFileSync, writeFileSync } from "node:fs";

/** What a process cost while it was measured. */
export interface Cost {
  cpuSeconds: number;
  /** Most memory it had at once. */
  peakRssMB: number;
  /** Memory at the end. */
  rssMB: number;
}

/** Unit of the times in /proc/PID/stat; 100 on every Linux of today. */
const TICKS_PER_SECOND = 100;
/** Writing it to clear_refs begins a new peak (proc(5)). */
const RESET_PEAK = "5";

/** Measures a process from now on. */
export class Meter {
  readonly #pid: number;
  readonly #cpuSeconds: number;

  constructor(pid: number) {
    this.#pid = pid;
    writeFileSync(`/proc/${pid}/clear_refs`, RESET_PEAK);
    this.#cpuSeconds = cpuSecondsOf(pid);
  }

  /** What it cost up to now. */
  read(): Cost {
    const status = readFileSync(`/proc/${this.#pid}/status`, "utf8");
    const megabytes = (name: string) =>
      Number(new RegExp(`${name}:\\s*(\\d+)`).exec(status)![1]) * 1024 / 1e6;
    return {
      cpuSeconds: cpuSecondsOf(this.#pid) - this.#cpuSeconds,
      peakRssMB: megabytes("VmHWM"),
      rssMB: megabytes("VmRSS"),
    };
  }
}

/** CPU time of all processes that this one started and that have ended (cutime and cstime of proc(5)). */
export function cpuSecondsOfEnded(): number {
  const fields = statOf("self");
  return (fields[13] + fields[14]) / TICKS_PER_SECOND;
}

function cpuSecondsOf(pid: number): number {
  const fields = statOf(pid);
  return (fields[11] + fields[12]) / TICKS_PER_SECOND;
}

/** Fields of /proc/PID/stat behind the name, which stands in brackets and may hold anything. */
function statOf(pid: number | "self"): number[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
}
