/**
 * Several resources at once, line by line.
 * @module
 */
import { isatty } from "node:tty";
import {
  contextEvents,
  type Download,
  getContext,
  getResource,
  open,
  type OpenOptions,
  type ResourceInfo,
} from "../client.ts";
import { isFinal } from "../protocol.ts";
import type { Finder } from "../resources.ts";
import { shownLines } from "./lines/shown_lines.ts";
import { LineTimes, type TimeFormat } from "./lines/times.ts";
import { type Output, visible } from "./output/output.ts";
import { type NamedResource, resourcesIn } from "./references.ts";
import { complain } from "./output/stderr.ts";
import { columnsOf, styled, type STYLES } from "./output/terminal.ts";

/** Interval of asking whether a context was closed, when all that is in it has ended. */
const CLOSED_EVERY_MS = 1000;
const COLOURS: readonly (keyof typeof STYLES)[] = [
  ...["cyan", "yellow", "green", "magenta", "blue", "red"] as const,
];

/** How each resource is read. */
export interface SeveralOptions {
  /** How it is opened. */
  open: OpenOptions;
  /** Lines before the end to begin with; all by default. */
  tail: number | undefined;
  /** Whether new bytes are waited for. */
  live: boolean;
  /** What lines must match; all by default. */
  finder: Finder | null;
  /** How the time of each line is shown; not at all by default. */
  times: TimeFormat | null;
  /** Whether each line is a JSON object, which names its resource. */
  json: boolean;
  /** Whether it may be coloured. */
  isColoured: boolean;
}

/** Follows resources together; their lines are printed whole, each behind the name of its resource. */
export class Several {
  /** Resources that are FAILED. */
  failed = 0;
  readonly #output: Output;
  readonly #options: SeveralOptions;
  readonly #running = new Map<string, Promise<void>>();
  #failure: unknown = null;
  #width = 0;
  #colours = 0;

  /**
   * @param output Where the lines go.
   * @param options How each resource is read.
   */
  constructor(output: Output, options: SeveralOptions) {
    this.#output = output;
    this.#options = options;
  }

  /** Follows resources to their ends. */
  async all(resources: readonly NamedResource[]): Promise<void> {
    const infos: ResourceInfo[] = [];
    for (const { reference, ...credentials } of resources) {
      infos.push(await getResource(reference, credentials));
    }
    this.#makeRoom(infos.map(({ filename }) => filename));
    for (const [index, { id, filename }] of infos.entries()) {
      this.#begin(id, resources[index], filename);
    }
    await this.#ended();
  }

  /** Follows what is in a context and what joins it, until it is closed and all have ended. */
  async context(contextId: string, credentials: Omit<NamedResource, "reference">): Promise<void> {
    const stop = new AbortController();
    const { signal } = stop;
    const closing = this.#closed(contextId, credentials, stop);
    try {
      for await (
        const event of contextEvents(credentials.server, contextId, {
          ...this.#options.open,
          signal,
        })
      ) {
        if (event.type !== "resource" && event.type !== "created") continue;
        this.#join(event.resource, credentials);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      stop.abort();
      await closing;
    }
    await this.#ended();
  }

  /** Stops listening when nothing more can come. */
  async #closed(
    contextId: string,
    credentials: Omit<NamedResource, "reference">,
    stop: AbortController,
  ): Promise<void> {
    while (!stop.signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CLOSED_EVERY_MS);
        stop.signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve();
        });
      });
      const known = this.#running.size;
      await Promise.all(this.#running.values());
      if (this.#failure !== null) return stop.abort();
      const isWhole = await this.#joinAll(contextId, credentials).catch(() => false);
      if (isWhole && known === this.#running.size) stop.abort();
    }
  }

  /**
   * Begins with all that is in a context, as events may be late.
   * @returns Whether nothing can join it any more that is to be followed.
   */
  async #joinAll(
    contextId: string,
    credentials: Omit<NamedResource, "reference">,
  ): Promise<boolean> {
    const { server, token } = credentials;
    const { closedAt } = await getContext(server, contextId, { token });
    if (this.#options.live && closedAt === null) return false;
    const missing: ResourceInfo[] = [];
    for await (const info of resourcesIn(contextId, credentials)) {
      if (!this.#running.has(info.id)) missing.unshift(info);
    }
    for (const info of missing) this.#join(info, credentials);
    return true;
  }

  #join(
    { id, filename }: Pick<ResourceInfo, "id" | "filename">,
    credentials: Omit<NamedResource, "reference">,
  ): void {
    if (this.#running.has(id)) return;
    this.#makeRoom([filename]);
    this.#begin(id, { reference: id, ...credentials }, filename);
  }

  async #ended(): Promise<void> {
    await Promise.all(this.#running.values());
    if (this.#failure !== null) throw this.#failure;
  }

  #makeRoom(names: string[]): void {
    this.#width = Math.max(this.#width, ...names.map((name) => columnsOf(visible(name))));
  }

  #begin(id: string, resource: NamedResource, filename: string): void {
    const colour = COLOURS[this.#colours++ % COLOURS.length];
    const following = this.#follow(resource, { id, filename }, colour)
      .catch((error) => void (this.#failure ??= error));
    this.#running.set(id, following);
  }

  async #follow(
    resource: NamedResource,
    about: { id: string; filename: string },
    colour: keyof typeof STYLES,
  ): Promise<void> {
    const name = visible(about.filename);
    const { reference, ...credentials } = resource;
    const download = await open(reference, { ...this.#options.open, ...credentials });
    try {
      const to = this.#options.live ? undefined : download.status.currentSize;
      const { firstLine, from } = await this.#start(download);
      const { finder, isColoured, times, json, open } = this.#options;
      const isDated = times !== null && download.status.numberOfLines !== null;
      const lines = shownLines(this.#output, {
        firstLine,
        finder,
        times: isDated ? new LineTimes(resource, times, open.retryForMs) : null,
        label: () => this.#label(name, colour),
        json: json ? about : null,
        isColoured,
        isTerminal: isatty(1),
      });
      const reading = download.read({ from, to, reuseBuffer: true });
      for await (const bytes of reading) await lines.write(bytes);
      await lines.close();
      const { transferStatus, failure } = download.status;
      if (!isFinal(transferStatus) || transferStatus === "COMPLETED") return;
      this.failed++;
      complain(`${name} is FAILED: ${visible(failure ?? "the server does not say why")}`);
    } finally {
      download.close();
    }
  }

  async #start(download: Download): Promise<{ firstLine: number; from: number }> {
    const { tail } = this.#options;
    if (tail === undefined) return { firstLine: 0, from: 0 };
    const { numberOfLines, currentSize } = download.status;
    if (tail === 0) return { firstLine: numberOfLines ?? 0, from: currentSize };
    const { startingLineIndex, startOffset } = await download.locateLines(-tail, 0);
    return { firstLine: startingLineIndex, from: startOffset };
  }

  #label(name: string, colour: keyof typeof STYLES): string {
    const padded = `${name}${" ".repeat(this.#width - columnsOf(name))} |`;
    return `${this.#options.isColoured ? styled(colour, padded) : padded} `;
  }
}
