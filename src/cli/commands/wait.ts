/**
 * `stream wait`.
 * @module
 */
import { getResource, type ResourceInfo, statusEvents, StreamError } from "../../client.ts";
import { checkLife, endedWell, isFinal } from "../../protocol.ts";
import { startTimer } from "../../timer.ts";
import { asked } from "../asked.ts";
import { type Command, EXIT, type Options, SERVER_OPTION, UsageError } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { outcomeText } from "../uploads/outcome.ts";
import { inParallel } from "../uploads/parallel.ts";
import { printLine, visible, visibleJson } from "../output/output.ts";
import { RETRY_NOTICES } from "../output/progress.ts";
import { resourceOf, resourcesIn } from "../references.ts";

/** Resources that are waited for at once. */
const AT_ONCE = 64;

/** Waits for the end of resources. */
export const wait: Command = {
  name: "wait",
  summary: "wait until resources have ended",
  positionals: ["[REF…]"],
  options: {
    context: { kind: "text", value: "ID", help: "wait for all that are in an upload context" },
    timeout: { kind: "duration", value: "TIME", help: "wait no longer; the exit code is then 124" },
    json: { kind: "flag", help: "print a JSON object a line for each that ended" },
    quiet: { kind: "flag", short: "q", help: "print nothing; the exit code tells" },
    "retry-for": {
      kind: "duration",
      value: "TIME",
      help: "try a lost connection again for so long; 0s for never (default 10m)",
    },
    ...SERVER_OPTION,
  },
  examples: [
    "stream wait 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 --timeout 10m && echo done",
    "stream wait --context run-17 --json",
  ],
  run: (references, options) => runWait(references, options),
};

async function runWait(references: string[], options: Options): Promise<number> {
  const context = options.text("context");
  if ((references.length === 0) === (context === undefined)) {
    throw new UsageError("wait wants either REF or --context ID");
  }
  const timeoutMs = options.number("timeout");
  const late = new AbortController();
  const stopTimer = startTimer(timeoutMs ?? Infinity, () => late.abort());
  const waiting = new Waiting(options, late.signal);
  try {
    await (context === undefined ? waiting.named(references) : waiting.context(context));
  } catch (error) {
    if (!late.signal.aborted) throw error;
    return EXIT.late;
  } finally {
    stopTimer();
  }
  return waiting.failed === 0 ? EXIT.ok : EXIT.resourceFailed;
}

class Waiting {
  /** Resources that are FAILED, or whose command failed. */
  failed = 0;

  constructor(private readonly options: Options, private readonly signal: AbortSignal) {}

  async named(texts: string[]): Promise<void> {
    await inParallel(texts, AT_ONCE, async (text) => {
      const find = () => resourceOf(this.options, text);
      const { reference, ...credentials } = await asked(this.options, find, {
        signal: this.signal,
      });
      await this.#end(reference, credentials);
    });
  }

  /** All that are there, and those that begin while others are waited for. */
  async context(contextId: string): Promise<void> {
    const { server, token } = await credentialsOf(this.options);
    const told = new Set<string>();
    for (let isWaiting = true; isWaiting;) {
      isWaiting = false;
      const list = () => Array.fromAsync(resourcesIn(contextId, { server, token }));
      const asking = { isThere: told.size > 0, signal: this.signal };
      const resources = await asked(this.options, list, asking);
      await inParallel(resources, AT_ONCE, async ({ id, transferStatus }) => {
        if (told.has(id)) return;
        told.add(id);
        isWaiting ||= !isFinal(transferStatus);
        await this.#end(id, { server, token });
      });
    }
    if (told.size === 0) {
      throw new StreamError("NOT_FOUND", `no resource is in the upload context ${contextId}`);
    }
  }

  async #end(
    reference: string,
    credentials: { server: string; token: Awaited<ReturnType<typeof credentialsOf>>["token"] },
  ): Promise<void> {
    const listening = statusEvents(reference, {
      ...credentials,
      signal: this.signal,
      retryForMs: this.options.number("retry-for"),
      ...RETRY_NOTICES,
    });
    let life: string | undefined;
    for await (const status of listening) life = status.life;
    this.signal.throwIfAborted();
    const ask = () => getResource(reference, credentials);
    const info = await asked(this.options, ask, { isThere: true, signal: this.signal });
    checkLife(info, life);
    await this.#tell(info);
  }

  async #tell(info: ResourceInfo): Promise<void> {
    const { id, transferStatus, filename, failure, outcome } = info;
    if (transferStatus === "FAILED" || !endedWell(outcome)) this.failed++;
    if (this.options.flag("quiet")) return;
    const ended = outcome === undefined ? "" : `  ended ${outcomeText(outcome)}`;
    const reason = failure === null ? ended : `: ${failure}`;
    await printLine(
      this.options.flag("json")
        ? visibleJson(info)
        : visible(`${id}  ${transferStatus}  ${filename}${reason}`),
    );
  }
}
