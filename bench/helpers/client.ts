/** Client processes as the harness sees them. */
import type { Answers, Effort, Job } from "../clients/jobs.ts";
import { nowMs } from "./clock.ts";
import { Process, scriptCommand, type ScriptRuntime } from "./processes.ts";

/** Longer than any part of a run. */
const RESULT_TIMEOUT_MS = 20 * 60_000;

/** A client that is ready for its job. */
export class ClientProcess<Name extends Job["do"]> {
  /** Most that a client's clock was seen to differ from ours, in ms; half of it is the way of a message. */
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
  ): Promise<ClientProcess<Name>> {
    const process = new Process([...scriptCommand(runtime, "bench/clients/worker.ts"), job.do]);
    process.say(JSON.stringify(job));
    const { ready, nowMs: clientMs } = JSON.parse(await process.line());
    const skewMs = Math.abs(nowMs() - clientMs);
    ClientProcess.clockSkewMs = Math.max(ClientProcess.clockSkewMs, skewMs);
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
