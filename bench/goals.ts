/** What the figures are to be (issues 6, 14 and 17); every goal names a figure of a part. */
import type { Kind } from "./helpers/processes.ts";

/** A bound for the median of one figure. */
export interface Goal {
  part: string;
  figure: string;
  /** Only for this program; for each by default. */
  server?: Kind;
  atLeast?: number;
  atMost?: number;
}

export const GOALS: readonly Goal[] = [
  { part: "scenario", figure: "binary: all three", server: "binary", atLeast: 800 },
  { part: "scenario", figure: "binary: all three", server: "deno", atLeast: 550 },
  { part: "scenario", figure: "lines: all three", server: "binary", atLeast: 800 },
  { part: "scenario", figure: "lines: all three", server: "deno", atLeast: 550 },
  { part: "scenario", figure: "binary: upload + follow, of the relay", atLeast: 60 },
  { part: "scenario", figure: "lines: upload + follow, of the relay", atLeast: 60 },
  { part: "scenario", figure: "binary: downloaded again, of the relay", atLeast: 90 },
  { part: "scenario", figure: "lines: downloaded again, of the relay", atLeast: 90 },
  { part: "scenario", figure: "binary: finished, by HTTP, of nginx", atLeast: 70 },
  { part: "scenario", figure: "binary: peak RSS of the server", server: "binary", atMost: 150 },
  { part: "scenario", figure: "binary: peak RSS of the server", server: "deno", atMost: 250 },
  { part: "scenario", figure: "lines: peak RSS of the server", server: "binary", atMost: 150 },
  { part: "scenario", figure: "lines: peak RSS of the server", server: "deno", atMost: 250 },
  { part: "latency", figure: "10 lines/s, p50", atMost: 1.5 },
  { part: "latency", figure: "10 lines/s, p99", atMost: 10 },
  { part: "latency", figure: "last burst before silence, longest", atMost: 60 },
  { part: "latency", figure: "1000 lines/s, p50", atMost: 5 },
  { part: "latency", figure: "1000 lines/s, p99", atMost: 20 },
  { part: "fanout", figure: "1000 × 20 lines/s, p99", atMost: 30 },
  { part: "fanout", figure: "1000 × 20 lines/s, CPU of the server", atMost: 0.5 },
  { part: "fanout", figure: "100 × 5 MB/s, slowest follower misses", atMost: 0 },
  { part: "random", figure: "64 KiB by RequestChunk, p99", atMost: 10 },
  { part: "random", figure: "64 KiB by Follow from..to (library), p99", atMost: 10 },
  { part: "random", figure: "64 KiB by HTTP range, p99", atMost: 10 },
  { part: "random", figure: "100 lines by RequestLines (library), p99", atMost: 10 },
  { part: "viewer", figure: "first lines on screen", atMost: 300 },
  { part: "viewer", figure: "end of the log after End", atMost: 300 },
  { part: "viewer", figure: "jump to a random line, p95", atMost: 100 },
  { part: "viewer", figure: "JavaScript heap", atMost: 40 },
  { part: "viewer", figure: "elements, most", atMost: 500 },
  { part: "viewer", figure: "frames above 50 ms while the thumb is dragged", atMost: 5 },
  { part: "viewer", figure: "line to pixels at 50 lines/s, p50", atMost: 50 },
  { part: "viewer", figure: "line to pixels at 50 lines/s, p99", atMost: 150 },
  { part: "viewer", figure: "processor of the page at 5000 lines/s", atMost: 0.33 },
  { part: "start", figure: "100000 resources", atMost: 1000 },
  { part: "start", figure: "empty", server: "binary", atMost: 25 },
  { part: "start", figure: "stream status REF", server: "binary", atMost: 45 },
  { part: "catalog", figure: "1000000 resources, start", atMost: 150 },
  { part: "catalog", figure: "1000000 resources, page of 100, p50", atMost: 5 },
  { part: "faces", figure: "small append, p50", atMost: 1.5 },
];

/** The goal for a figure, if there is one. */
export function goalFor(part: string, figure: string, server: string): Goal | undefined {
  return GOALS.find((goal) =>
    goal.part === part && goal.figure === figure && (goal.server ?? server) === server
  );
}

/** Whether a median is what it is to be. */
export function isReached({ atLeast, atMost }: Goal, median: number): boolean {
  return median >= (atLeast ?? -Infinity) && median <= (atMost ?? Infinity);
}
