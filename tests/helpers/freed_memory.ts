/**
 * A program that takes some MiB and gives them back, again and again. Says in JSON how many pages that touched, and
 * how many faults it cost.
 */
import { readFileSync } from "node:fs";
import { keepFreedMemory } from "../../src/runtime/allocator.ts";

export interface FreedMemory {
  pages: number;
  faults: number;
}

const MiB = 1024 * 1024;
const PAGE_BYTES = 4096;
const BLOCKS = 6, ROUNDS = 20;

/** Field 10 of what Linux tells of a process: faults that no disk was needed for. */
function faults(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[7]);
}

function takeAndFree(): void {
  const blocks = Array.from({ length: BLOCKS }, () => new Uint8Array(MiB).fill(1));
  for (const { buffer } of blocks) buffer.transfer(0);
}

function measure(): FreedMemory {
  keepFreedMemory();
  takeAndFree();
  const before = faults();
  for (let round = 0; round < ROUNDS; round++) takeAndFree();
  return { pages: ROUNDS * BLOCKS * MiB / PAGE_BYTES, faults: faults() - before };
}

console.log(JSON.stringify(measure()));
