/** Uploads at a steady pace with their followers, spread over processes. */
import type { PaceJob, WatchJob } from "../clients/jobs.ts";
import type { Bench } from "./bench.ts";
import { percentile } from "./statistics.ts";

/** What is uploaded, and by how many it is followed. */
export interface Load extends Omit<PaceJob, "do"> {
  /** Followers of each upload. */
  followers: number;
  /** Processes that follow; 1 by default. */
  followProcesses?: number;
  /** Where it is followed; where it is uploaded by default. */
  readAt?: (reference: string) => string;
}

/** When what was written, and when it had arrived. */
export interface Paced {
  /** One list for each upload. */
  writtenAtMs: number[][];
  /** One list for each follower; those of one upload stand together. */
  arrivedAtMs: number[][];
  /** CPU time of the clients. */
  cpuSeconds: number;
}

/** What may still be on its way when the last burst was written. */
const GRACE_MS = 15_000;

/** Runs a load; `connected` is called when all follow and nothing was written yet. */
export async function latenciesOf(
  bench: Bench,
  { followers, followProcesses = 1, readAt = (reference) => reference, ...pace }: Load,
  connected: () => void = () => {},
): Promise<Paced> {
  const pacing = await bench.startClient({ do: "pace", ...pace });
  const references = pacing.ready.references.map(readAt);
  const durationMs = pace.bursts * pace.intervalMs;
  const job = {
    do: "watch" as const,
    client: pace.client,
    burstBytes: pace.burstBytes,
    bursts: pace.bursts,
    trailingBytes: pace.trailing?.burstBytes,
    limitMs: durationMs + GRACE_MS,
  };
  const jobs = split(job, references, followers, followProcesses);
  const watching = await Promise.all(jobs.map((each) => bench.startClient<"watch">(each)));
  connected();
  const watched = Promise.all(watching.map((each) => each.go()));
  // Those who follow are to be there first.
  const [written, seen] = await Promise.all([pacing.go(), watched]);
  return {
    writtenAtMs: written.writtenAtMs,
    arrivedAtMs: seen.flatMap(({ arrivedAtMs }) => arrivedAtMs),
    cpuSeconds: written.cpuSeconds + seen.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
  };
}

/** The same load for several processes: of one upload each gets some followers, of many some uploads. */
function split(
  job: Omit<WatchJob, "references" | "followers">,
  references: string[],
  followers: number,
  processes: number,
): WatchJob[] {
  if (references.length === 1) {
    const counts = shares(followers, Math.min(processes, followers));
    return counts.map((count) => ({ ...job, references, followers: count }));
  }
  let at = 0;
  return shares(references.length, Math.min(processes, references.length)).map((count) => {
    at += count;
    return { ...job, references: references.slice(at - count, at), followers };
  });
}

function shares(total: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, at) => {
    return Math.floor(total * (at + 1) / parts) - Math.floor(total * at / parts);
  });
}

/** Notes percentiles of latencies. */
export function addLatencies(bench: Bench, name: string, latenciesMs: number[]): void {
  if (latenciesMs.length === 0) throw new Error(`${name}: nothing arrived`);
  const sorted = Float64Array.from(latenciesMs).sort();
  for (const [part, label] of [[0.5, "p50"], [0.9, "p90"], [0.99, "p99"], [1, "max"]] as const) {
    bench.add(`${name}, ${label}`, "ms", percentile(sorted, part));
  }
}
