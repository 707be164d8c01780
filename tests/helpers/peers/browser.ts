/** A real Chromium that shows the pages of a server, and what a person sees and does there. */
import { mkdir } from "node:fs/promises";
import process from "node:process";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { assertEquals } from "@std/assert";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { push, type PushedUpload, type ServerOptions } from "../../../mod.ts";
import { utf8 } from "../bytes.ts";
import { startServer, type TestServer } from "../server.ts";

const DEADLINE_MS = 30_000;
const POLL_MS = 20;
const ARGUMENTS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];
/** Pictures of the last run; docs/viewer.md shows some of them. */
const PICTURES = process.env.STREAM_PICTURES ?? "dist/tests/viewer";

let opened: Promise<Browser> | null = null;

/** One browser for the tests of a file, or of all files of an isolate; it ends with them. */
export function openBrowser(): Promise<Browser> {
  return opened ??= launch();
}

async function launch(): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium-headless-shell",
    ignoreDefaultArgs: ["--hide-scrollbars"],
    args: ARGUMENTS,
  });
  after(() => {
    opened = null;
    return browser.close();
  });
  return browser;
}

/** One server for the tests of a file; it ends with them. */
export async function openServer(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer(options);
  after(() => server.close());
  return server;
}

/** What an upload announces, unless a test says otherwise. */
const LOG = { filename: "build.log", mimeType: "text/plain", supportsLineAccess: true };

/** An upload that a test writes to as it likes. */
export class Upload {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(readonly upload: PushedUpload) {
    this.#writer = upload.writable.getWriter();
    this.#writer.closed.catch(() => {});
    upload.done.catch(() => {});
  }

  static async begin(
    server: string,
    { context, token, ...metadata }: Partial<typeof LOG> & { context?: string; token?: string } =
      {},
  ): Promise<Upload> {
    return new Upload(await push(server, { ...LOG, ...metadata }, { contextId: context, token }));
  }

  get id(): string {
    return this.upload.reference.split("/").at(-1)!;
  }

  async write(content: string | Uint8Array): Promise<void> {
    await this.#writer.write(typeof content === "string" ? utf8(content) : content);
  }

  async complete(): Promise<void> {
    await this.#writer.close();
    await this.upload.done;
  }

  /** Makes it FAILED. */
  async fail(reason: string): Promise<void> {
    await this.#writer.abort(new Error(reason)).catch(() => {});
    await this.upload.done.catch(() => {});
  }
}

/** Uploads a whole log; its id. */
export async function uploaded(
  server: string,
  content: string | Uint8Array,
  options: Parameters<typeof Upload.begin>[1] = {},
): Promise<string> {
  const upload = await Upload.begin(server, options);
  await upload.write(content);
  await upload.complete();
  return upload.id;
}

/** A page of the viewer, and what went wrong in it. */
export class Viewer implements AsyncDisposable {
  /** Errors and requests that must not be, unless a test expects them. */
  readonly complaints: string[] = [];
  /** Paths that were asked for. */
  readonly requests: string[] = [];
  #expected: RegExp | null = null;

  private constructor(readonly page: Page, private readonly base: string) {
    page.setDefaultTimeout(DEADLINE_MS);
    page.on("pageerror", (error) => this.complaints.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(`console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const url = request.url();
      if (url.startsWith(base)) this.requests.push(url.slice(base.length));
      else if (!url.startsWith("blob:")) this.complaints.push(`request to ${url}`);
    });
  }

  /** Opens an address of a server. */
  static async open(
    browser: Browser,
    base: string,
    path: string,
    options: BrowserContextOptions = {},
  ): Promise<Viewer> {
    const context = await browser.newContext({
      viewport: { width: 1000, height: 600 },
      ...options,
    });
    const viewer = new Viewer(await context.newPage(), base);
    await viewer.page.goto(base + path);
    return viewer;
  }

  /** Says which complaints belong to the test. */
  expectComplaints(pattern: RegExp): void {
    this.#expected = pattern;
  }

  /** Texts of the rows in the page, by line from 1. */
  async rows(): Promise<Map<number, string>> {
    const rows = await this.page.evaluate<[number, string][]>(`
      [...document.querySelectorAll(".row")].map((row) => [
        Number(row.querySelector(".number").textContent),
        row.querySelector(".text").textContent,
      ])
    `);
    return new Map(rows);
  }

  /** Lines whose row can be seen, from 1. */
  async visibleLines(): Promise<number[]> {
    return await this.page.evaluate<number[]>(`(() => {
      const log = document.querySelector(".log").getBoundingClientRect();
      return [...document.querySelectorAll(".row")].filter((row) => {
        const { top, bottom } = row.getBoundingClientRect();
        return bottom > log.top + 1 && top < log.bottom - 1;
      }).map((row) => Number(row.querySelector(".number").textContent));
    })()`);
  }

  /** Waits until an expression of the page is true. */
  async until(expression: string, deadlineMs: number = DEADLINE_MS): Promise<void> {
    // The page's policy lets nothing be evaluated in it again and again but from outside.
    for (const endsAtMs = performance.now() + deadlineMs;;) {
      if (await this.#now(expression)) return;
      if (performance.now() > endsAtMs) throw new Error(`waited in vain for ${expression}`);
      await delay(POLL_MS);
    }
  }

  /** An expression of the page; undefined while that goes over to another one. */
  async #now(expression: string): Promise<unknown> {
    try {
      return await this.page.evaluate(expression);
    } catch (error) {
      if (String(error).includes("Execution context was destroyed")) return undefined;
      throw error;
    }
  }

  /** Waits until the first line in view, from 1, is a right one. */
  async untilTop(isRight: (line: number) => boolean): Promise<number> {
    for (const endsAtMs = performance.now() + DEADLINE_MS;;) {
      const [top] = await this.visibleLines();
      if (top !== undefined && isRight(top)) return top;
      if (performance.now() > endsAtMs) throw new Error(`line ${top} is at the top`);
      await delay(POLL_MS);
    }
  }

  /** Waits until the text of a line, from 1, is shown. */
  async untilLine(line: number, text: string, deadlineMs?: number): Promise<void> {
    const shown = `[...document.querySelectorAll(".row")].some((row) =>
      row.querySelector(".number").textContent === ${JSON.stringify(String(line))} &&
      row.querySelector(".text").textContent.includes(${JSON.stringify(text)}))`;
    await this.until(shown, deadlineMs);
  }

  /** Waits until no line in the page waits for its text. */
  async settled(): Promise<void> {
    await this.until(
      `document.querySelector(".row") !== null && document.querySelector(".waiting") === null`,
    );
  }

  /** Text of an element. */
  async text(selector: string): Promise<string> {
    return (await this.page.textContent(selector)) ?? "";
  }

  /** Presses keys, one after the other. */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** Searches, and waits for the first hit. */
  async search(pattern: string): Promise<void> {
    await this.press("/");
    await this.page.waitForSelector(".search input");
    await this.page.fill(".search input", pattern);
  }

  /** Makes a picture for people to look at. */
  async picture(name: string): Promise<void> {
    await mkdir(PICTURES, { recursive: true });
    await this.page.screenshot({ path: `${PICTURES}/${name}.png` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
    const unexpected = this.complaints.filter((text) => !this.#expected?.test(text));
    assertEquals(unexpected, []);
  }
}
