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

function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in brackets, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
