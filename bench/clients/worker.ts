/** A client process: is given a job, says when it is ready, is told to go, and says what came of it. */
import process from "node:process";
import { createInterface } from "node:readline";
import { nowMs } from "../helpers/clock.ts";
import type { Effort, Job, Prepared } from "./jobs.ts";
import { prepareFollow, prepareUpload } from "./bulk.ts";
import { preparePace, prepareWatch } from "./paced.ts";
import { prepareRandom } from "./random.ts";

function prepare(job: Job): Promise<Prepared<Job["do"]>> {
  switch (job.do) {
    case "upload":
      return prepareUpload(job);
    case "follow":
      return prepareFollow(job);
    case "pace":
      return preparePace(job);
    case "watch":
      return prepareWatch(job);
    case "random":
      return prepareRandom(job);
  }
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
const { value } = await lines.next();
const prepared = await prepare(JSON.parse(value!));
say({ ready: prepared.ready });
// Clocks are compared before the work begins.
while ((await lines.next()).value === "clock") say(nowMs());
const before = process.cpuUsage();
const result = await prepared.go();
const { user, system } = process.cpuUsage(before);
const effort: Effort = { cpuSeconds: (user + system) / 1e6 };
process.stdout.write(`${JSON.stringify({ result, effort })}\n`, () => process.exit(0));
