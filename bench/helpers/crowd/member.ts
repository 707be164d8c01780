/**
 * One process with many followers: `member.ts REFERENCE COUNT`. Says `ready` when each of them has
 * the first line, and at the end of the resource in JSON how long all other lines were under way.
 */
import process from "node:process";
import { follow } from "../../../mod.ts";
import { nowMs, readStamp } from "../stamp.ts";

/** Connections that are opened at once: a listener has a queue of its own. */
const OPENED_AT_ONCE = 50;
const HUNDREDTHS = 100;

/** What a process of followers has seen. */
export interface Seen {
  /** From write to receive, of every line of every follower, in ms. */
  delaysMs: number[];
  /** Lines that were missing, came twice or in the wrong order. */
  wrong: number;
}

const seen: Seen = { delaysMs: [], wrong: 0 };

/** Reads to the end; calls back at the first line. */
async function readLines(reference: string, begun: () => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "", next = 0;
  // Who had to connect again would not be the follower that is measured.
  for await (const chunk of follow(reference, { retryForMs: 0 })) {
    const arrivedAtMs = nowMs();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const { writtenAtMs, index } = readStamp(line);
      if (index !== next++) seen.wrong++;
      if (index === 0) begun();
      else seen.delaysMs.push(Math.round((arrivedAtMs - writtenAtMs) * HUNDREDTHS) / HUNDREDTHS);
    }
  }
  if (rest !== "") seen.wrong++;
}

const [reference, count] = process.argv.slice(2);
const ended: Promise<void>[] = [];
while (ended.length < Number(count)) {
  const batch = Array.from(
    { length: Math.min(OPENED_AT_ONCE, Number(count) - ended.length) },
    () => new Promise<void>((begun) => ended.push(readLines(reference, begun))),
  );
  await Promise.race([Promise.all(batch), Promise.all(ended)]);
}
console.log("ready");
await Promise.all(ended);
console.log(JSON.stringify(seen));
process.exit(0);
