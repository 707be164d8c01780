/** Lines that say when they were written and which they are, for processes on one machine. */

/** Now, to the microsecond, the same in every process. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

/** A line of a log that is measured. */
export function stampedLine(index: number): string {
  return `${nowMs().toFixed(3)} ${index}\n`;
}

/** When a line was written, and which it is. */
export function readStamp(line: string): { writtenAtMs: number; index: number } {
  const [writtenAtMs, index] = line.split(" ").map(Number);
  return { writtenAtMs, index };
}
