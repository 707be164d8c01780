/** What a process costs, as Linux counts it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";

/** Ticks of a second in /proc; the same on every Linux. */
const TICKS_PER_SECOND = 100;
const SAMPLE_EVERY_MS = 100;

/** Lets the processes that are started from now on have so many open files. */
export function allowOpenFiles(count: number): void {
  execFileSync("prlimit", ["--pid", String(process.pid), `--nofile=${count}:${count}`]);
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  const [, kibibytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))!;
  return Number(kibibytes) * 1024;
}

/** Processor time a process has taken, in user and kernel mode, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The cost of a process while something goes on. */
export interface Cost {
  /** Resident memory in the middle, in bytes: half of the time it was less. */
  medianBytes: number;
  peakBytes: number;
  cpuSeconds: number;
}

/** Measures a process until a promise is settled. */
export async function costDuring(pid: number, work: Promise<unknown>): Promise<Cost> {
  const samples = [residentBytes(pid)];
  const cpuBefore = cpuSeconds(pid);
  const timer = setInterval(() => samples.push(residentBytes(pid)), SAMPLE_EVERY_MS);
  try {
    await work;
  } finally {
    clearInterval(timer);
  }
  samples.push(residentBytes(pid));
  samples.sort((a, b) => a - b);
  return {
    medianBytes: samples[samples.length >> 1],
    peakBytes: samples[samples.length - 1],
    cpuSeconds: cpuSeconds(pid) - cpuBefore,
  };
}
