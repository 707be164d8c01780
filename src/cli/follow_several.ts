/**
 * Several resources at once, line by line.
 * @module
 */
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
import { type Output, visible } from "./output/output.ts";
import type { NamedResource } from "./references.ts";
import { notice } from "./output/stderr.ts";
import { isColoured, styled, type STYLES } from "./output/terminal.ts";

/** Longest piece of a line that is kept until its end comes. */
const MAX_LINE_BYTES = 64 * 1024;
/** Interval of asking whether a context was closed, when all that is in it has ended. */
const CLOSED_EVERY_MS = 1000;
const LINE_BREAK = 10;
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
        const { id, filename } = event.resource;
        if (this.#running.has(id)) continue;
        this.#makeRoom([filename]);
        this.#begin(id, { reference: id, ...credentials }, filename);
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
    { server, token }: Omit<NamedResource, "reference">,
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
      const { closedAt } = await getContext(server, contextId, { token }).catch(() => ({
        closedAt: null,
      }));
      // A resource that was begun before the end is heard of at once; another second is its chance.
      if ((!this.#options.live || closedAt !== null) && known === this.#running.size) stop.abort();
    }
  }

  async #ended(): Promise<void> {
    await Promise.all(this.#running.values());
    if (this.#failure !== null) throw this.#failure;
  }

  #makeRoom(names: string[]): void {
    this.#width = Math.max(this.#width, ...names.map((name) => visible(name).length));
  }

  #begin(id: string, resource: NamedResource, filename: string): void {
    const colour = COLOURS[this.#colours++ % COLOURS.length];
    const following = this.#follow(resource, visible(filename), colour)
      .catch((error) => void (this.#failure ??= error));
    this.#running.set(id, following);
  }

  async #follow(
    { reference, ...credentials }: NamedResource,
    name: string,
    colour: keyof typeof STYLES,
  ): Promise<void> {
    const download = await open(reference, { ...this.#options.open, ...credentials });
    try {
      const to = this.#options.live ? undefined : download.status.currentSize;
      const lines = new Lines((line) => this.#print(name, colour, line));
      for await (const bytes of download.read({ from: await this.#start(download), to })) {
        await lines.add(bytes);
      }
      await lines.end();
      const { transferStatus, failure } = download.status;
      if (!isFinal(transferStatus) || transferStatus === "COMPLETED") return;
      this.failed++;
      notice(`${name} is FAILED: ${visible(failure ?? "the server does not say why")}`);
    } finally {
      download.close();
    }
  }

  async #start(download: Download): Promise<number> {
    const { tail } = this.#options;
    if (tail === undefined) return 0;
    if (tail === 0) return download.status.currentSize;
    return (await download.locateLines(-tail, 0)).startOffset;
  }

  async #print(name: string, colour: keyof typeof STYLES, line: Uint8Array): Promise<void> {
    const padded = `${name.padEnd(this.#width)} |`;
    const prefix = new TextEncoder().encode(`${isColoured() ? styled(colour, padded) : padded} `);
    const whole = new Uint8Array(prefix.length + line.length + 1);
    whole.set(prefix);
    whole.set(line, prefix.length);
    whole[whole.length - 1] = LINE_BREAK;
    await this.#output.write(whole);
  }
}

/** Lines of bytes; a very long one comes in pieces. */
class Lines {
  #rest = new Uint8Array(0);

  constructor(private readonly take: (line: Uint8Array) => Promise<void>) {}

  async add(bytes: Uint8Array): Promise<void> {
    let from = 0;
    for (let at = bytes.indexOf(LINE_BREAK); at >= 0; at = bytes.indexOf(LINE_BREAK, from)) {
      await this.take(this.#with(bytes.subarray(from, at)));
      this.#rest = new Uint8Array(0);
      from = at + 1;
    }
    this.#rest = this.#with(bytes.subarray(from));
    if (this.#rest.length >= MAX_LINE_BYTES) await this.end();
  }

  async end(): Promise<void> {
    if (this.#rest.length > 0) await this.take(this.#rest);
    this.#rest = new Uint8Array(0);
  }

  #with(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const joined = new Uint8Array(this.#rest.length + bytes.length);
    joined.set(this.#rest);
    joined.set(bytes, this.#rest.length);
    return joined;
  }
}
