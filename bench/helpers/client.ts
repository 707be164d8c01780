/** Client processes as the harness sees them. */
import type { Answers, Effort, Job } from "../clients/jobs.ts";
import { nowMs } from "./clock.ts";
import { Process, scriptCommand, type ScriptRuntime } from "./processes.ts";

/** Longer than any part of a run. */
const RESULT_TIMEOUT_MS = 20 * 60_000;

const CLOCK_PROBES = 5;

/** A client that is ready for its job. */
export class ClientProcess<Name extends Job["do"]> {
  /** Most that a client's clock differs from ours, as far as the way of a message lets us see, in ms. */
  static clockSkewMs = 0;
  readonly #process: Process;
  /** What it found out while it prepared itself. */
  readonly ready: Answers[Name]["ready"];

  private constructor(process: Process, ready: Answers[Name]["ready"]) {
    this.#process = process;
    this.ready = ready;
  }

  /** Starts a client and waits until it has connected. */
  static async start<Name extends Job["do"]>(
    runtime: ScriptRuntime,
    job: Extract<Job, { do: Name }>,
    root?: string,
  ): Promise<ClientProcess<Name>> {
    const words = scriptCommand(runtime, "bench/clients/worker.ts", root);
    const process = new Process([...words, job.do]);
    process.say(JSON.stringify(job));
    const { ready } = JSON.parse(await process.line());
    ClientProcess.clockSkewMs = Math.max(ClientProcess.clockSkewMs, await skewOf(process));
    return new ClientProcess(process, ready);
  }

  /** Lets it work, and waits for what comes of it. */
  async go(): Promise<Answers[Name]["result"] & Effort> {
    this.#process.say("go");
    const { result, effort } = JSON.parse(await this.#process.line(RESULT_TIMEOUT_MS));
    await this.#process.end(RESULT_TIMEOUT_MS);
    return { ...result, ...effort };
  }
}

/** How far the clock of a process is from ours, by the quickest of several answers. */
async function skewOf(process: Process): Promise<number> {
  let quickestMs = Infinity, skewMs = 0;
  for (let probe = 0; probe < CLOCK_PROBES; probe++) {
    const askedAtMs = nowMs();
    process.say("clock");
    const clientMs = Number(await process.line());
    const tookMs = nowMs() - askedAtMs;
    if (tookMs >= quickestMs) continue;
    quickestMs = tookMs;
    skewMs = Math.abs(askedAtMs + tookMs / 2 - clientMs);
  }
  return skewMs;
}
