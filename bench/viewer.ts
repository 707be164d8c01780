/** Part 8: the viewer in a real Chromium, beside a page that loads the whole text into a plain virtual list. */
import { type Browser, chromium, type Page } from "playwright-core";
import { push } from "../mod.ts";
import type { Bench, Part, Server } from "./helpers/bench.ts";
import { Meter } from "./helpers/meter.ts";
import { plainList } from "./helpers/plain_list.ts";
import { percentile } from "./helpers/statistics.ts";

const LINE_BYTES = 100;
const BLOCK_LINES = 10_000;
const NEEDLE = "NEEDLE";
const PATIENCE_MS = 180_000;
const ARGUMENTS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  "--enable-precise-memory-info",
];

export const viewer: Part = {
  name: "viewer",
  title: "the viewer in Chromium, beside a plain virtual list that loads the whole text",
  async run(bench) {
    const server = await bench.startServer();
    const browser = await chromium.launch({
      executablePath: "/usr/bin/chromium-headless-shell",
      ignoreDefaultArgs: ["--hide-scrollbars"],
      args: ARGUMENTS,
    });
    try {
      const lines = bench.size(100_000_000, 10_000_000, 20_000);
      const id = await uploadLines(server, lines);
      await bench.attempt("reading", () => read(bench, browser, server, id, lines));
      await bench.attempt("search", () => search(bench, browser, server, id));
      await bench.attempt("dragging", () => drag(bench, browser, server, id));
      await bench.attempt("live, 50 lines/s", () => watchSlow(bench, browser, server));
      await bench.attempt("live, 5000 lines/s", () => watchFast(bench, browser, server));
      const few = Math.min(lines, 10_000_000);
      const whole = few === lines ? id : await uploadLines(server, few);
      if (bench.program!.yardsticks) {
        await bench.attempt("plain list", () => compare(bench, browser, server, whole, few));
      }
    } finally {
      await browser.close();
      await server.stop();
    }
  },
};

/** A log of equal lines with their numbers; three of them are to be found. */
async function uploadLines({ url }: Server, lines: number): Promise<string> {
  const hits = [0.1, 0.5, 0.9].map((part) => Math.floor(lines * part));
  const encoder = new TextEncoder();
  let line = 0;
  const content = new ReadableStream<Uint8Array>({
    pull(controller) {
      const block: string[] = [];
      for (; block.length < BLOCK_LINES && line < lines; line++) {
        const text = `line ${line + 1} of the log ${hits.includes(line) ? NEEDLE : "hay"} `;
        block.push(`${text.padEnd(LINE_BYTES - 1, ".")}\n`);
      }
      if (block.length === 0) controller.close();
      else controller.enqueue(encoder.encode(block.join("")));
    },
  });
  const address = `${url}/resources?name=big.log&type=text/plain`;
  // Streams as bodies are half duplex wherever they are sent.
  const init = { method: "POST", body: content, duplex: "half" } as RequestInit;
  return (await (await fetch(address, init)).json()).id;
}

/** A page that notes when the first line is drawn, in ms since its navigation. */
async function openPage(browser: Browser, address: string): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.setDefaultTimeout(PATIENCE_MS);
  await page.addInitScript(`
    window.firstMs = new Promise((resolve) => {
      const look = () => {
        if (document.querySelector(".row .text:not(.waiting), .plain")) resolve(performance.now());
        else requestAnimationFrame(look);
      };
      look();
    });
    window.drawn = (is) => new Promise((resolve) => {
      const beganMs = performance.now();
      const look = () => is() ? resolve(performance.now() - beganMs) : requestAnimationFrame(look);
      look();
    });
    window.shows = (number) => [...document.querySelectorAll(".row")].some((row) =>
      row.querySelector(".number").textContent === String(number) &&
      row.querySelector(".waiting") === null);
  `);
  await page.goto(address, { waitUntil: "commit" });
  return page;
}

async function heapMegabytes(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  return usedSize / 1e6;
}

async function read(
  bench: Bench,
  browser: Browser,
  server: Server,
  id: string,
  lines: number,
): Promise<void> {
  const address = `${server.url}/view/${id}`;
  const repeats = bench.size(9, 5, 1);
  // Whoever opens a log has opened one before: scripts are in the browser's cache, connections are not.
  await (await openPage(browser, address)).close();
  for (let count = 0; count < repeats; count++) {
    const page = await openPage(browser, address);
    bench.add("first lines on screen", "ms", await page.evaluate<number>("firstMs"));
    bench.add(
      "end of the log after End",
      "ms",
      await page.evaluate<number>(`(() => {
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
      return drawn(() => shows(${lines}));
    })()`),
    );
    const jumps: number[] = [];
    let elements = 0;
    for (let jump = 0; jump < bench.size(40, 30, 3); jump++) {
      const line = 1 + Math.floor(Math.random() * lines);
      jumps.push(
        await page.evaluate<number>(`(() => {
        location.hash = "#L${line}";
        return drawn(() => shows(${line}));
      })()`),
      );
      elements = Math.max(
        elements,
        await page.evaluate<number>(`document.querySelectorAll("*").length`),
      );
    }
    bench.add(
      "jump to a random line, p95",
      "ms",
      percentile(Float64Array.from(jumps).sort(), 0.95),
    );
    bench.add("JavaScript heap", "MB", await heapMegabytes(page));
    bench.add("elements, most", "", elements);
    await page.close();
  }
}

async function search(bench: Bench, browser: Browser, server: Server, id: string): Promise<void> {
  const page = await openPage(browser, `${server.url}/view/${id}`);
  await page.evaluate("firstMs");
  await page.keyboard.press("/");
  await page.waitForSelector(".search input");
  await page.click(`button[aria-label="Match case"]`);
  await page.keyboard.press("/");
  await page.focus(".search input");
  await page.keyboard.type(NEEDLE);
  bench.add(
    "search, first of 3 hits shown",
    "ms",
    await page.evaluate<number>(
      `drawn(() => document.querySelector("mark") !== null)`,
    ),
  );
  await page.evaluate(
    `drawn(() => / of 3$/.test(document.querySelector(".count").textContent))`,
  );
  bench.add("search, everything", "ms", await page.evaluate<number>("performance.now()"));
  await page.close();
}

/** The thumb is dragged through the whole log while frames are timed. */
async function drag(bench: Bench, browser: Browser, server: Server, id: string): Promise<void> {
  const page = await openPage(browser, `${server.url}/view/${id}`);
  await page.evaluate("firstMs");
  const box = (await page.locator(".log").boundingBox())!;
  await page.evaluate(`window.frames_ = []; (() => {
    let last = performance.now();
    const tick = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
  })()`);
  const x = box.x + box.width - 7;
  await page.mouse.move(x, box.y + 24);
  await page.mouse.down();
  await page.mouse.move(x, box.y + box.height - 20, { steps: bench.size(400, 250, 20) });
  await page.mouse.up();
  const frames = await page.evaluate<number[]>("frames_");
  const slow = frames.filter((ms) => ms > 50).length;
  bench.add("frames above 50 ms while the thumb is dragged", "%", 100 * slow / frames.length);
  await page.close();
}

/** From the write of a line to the end of the frame that shows it; both clocks are this machine's. */
async function watchSlow(bench: Bench, browser: Browser, server: Server): Promise<void> {
  const upload = await push(server.url, {
    filename: "live.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const writer = upload.writable.getWriter();
  const write = (text: string) => writer.write(new TextEncoder().encode(text));
  await write("begin 0\n");
  const page = await openPage(browser, `${server.url}/view/${upload.reference.split("/").at(-1)}`);
  await page.evaluate("firstMs");
  // An intersection is told behind the frame in which an element is drawn for the first time.
  await page.evaluate(`window.seen = new Map();
    const shown = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        shown.unobserve(target);
        if (!isIntersecting) continue;
        seen.set(target.stamp, performance.timeOrigin + performance.now() - Number(target.stamp));
      }
    });
    new MutationObserver(() => {
      for (const text of document.querySelectorAll(".row .text")) {
        const [, stamp] = /^line (\\d+\\.\\d+)/.exec(text.textContent) ?? [];
        if (stamp === undefined || seen.has(stamp)) continue;
        seen.set(stamp, null);
        text.stamp = stamp;
        shown.observe(text);
      }
    }).observe(document.querySelector(".rows"), { childList: true, subtree: true, characterData: true })`);
  const count = bench.size(1500, 400, 10);
  for (let at = 0; at < count; at++) {
    await write(`line ${(performance.timeOrigin + performance.now()).toFixed(3)} number ${at}\n`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await writer.close();
  await page.waitForSelector(".state.completed");
  const latencies = await page.evaluate<number[]>("[...seen.values()].filter((ms) => ms !== null)");
  const sorted = Float64Array.from(latencies).sort();
  bench.add("line to pixels at 50 lines/s, p50", "ms", percentile(sorted, 0.5));
  bench.add("line to pixels at 50 lines/s, p99", "ms", percentile(sorted, 0.99));
  await page.close();
}

/** What a fast log costs the page, and the server. */
async function watchFast(bench: Bench, browser: Browser, server: Server): Promise<void> {
  const upload = await push(server.url, {
    filename: "fast.log",
    mimeType: "text/plain",
    supportsLineAccess: true,
  });
  const writer = upload.writable.getWriter();
  let line = 0;
  const burst = () =>
    writer.write(new TextEncoder().encode(
      Array.from({ length: 250 }, () => `line ${++line} `.padEnd(99, ".") + "\n").join(""),
    ));
  await burst();
  const page = await openPage(browser, `${server.url}/view/${upload.reference.split("/").at(-1)}`);
  await page.evaluate("firstMs");
  const machine = await browser.newBrowserCDPSession();
  // All threads of all pages: those of others have nothing to do.
  const busy = async () => {
    const { processInfo } = await machine.send("SystemInfo.getProcessInfo");
    return processInfo.filter(({ type }) => type === "renderer")
      .reduce((all, { cpuTime }) => all + cpuTime, 0);
  };
  const forMs = bench.size(20_000, 8000, 500);
  const during = async () => {
    const endsAtMs = performance.now() + forMs;
    for (let next = performance.now(); performance.now() < endsAtMs;) {
      await burst();
      next += 50;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
  };
  const before = await busy();
  const meter = new Meter(server.pid);
  await during();
  bench.add(
    "processor of the page at 5000 lines/s",
    "cores",
    (await busy() - before) / (forMs / 1000),
  );
  bench.add("processor of the server, watched", "cores", meter.read().cpuSeconds / (forMs / 1000));
  await page.close();
  const alone = new Meter(server.pid);
  await during();
  bench.add(
    "processor of the server, unwatched",
    "cores",
    alone.read().cpuSeconds / (forMs / 1000),
  );
  await writer.close();
}

/** What most viewers do: all lines in memory, a plain virtual list of a kept library above them. */
async function compare(
  bench: Bench,
  browser: Browser,
  server: Server,
  id: string,
  lines: number,
): Promise<void> {
  const name = (what: string) => `plain list of ${lines.toLocaleString("en")} lines: ${what}`;
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.setDefaultTimeout(PATIENCE_MS);
  const html = await plainList(`${server.url}/resources/${id}/content`);
  await page.route("**/plain", (route) => route.fulfill({ contentType: "text/html", body: html }));
  try {
    await page.goto(`${server.url}/plain`, { waitUntil: "commit" });
    // Unlike a promise in the page this has a limit, and outlives a document that is replaced.
    await page.waitForFunction("window.firstMs");
    const first = await page.evaluate<number>("window.firstMs");
    bench.add(name("first lines on screen"), "ms", first);
    bench.add(name("JavaScript heap"), "MB", await heapMegabytes(page));
    bench.add(
      name("last line that can be reached"),
      "lines",
      await page.evaluate<number>("lastReached()"),
    );
  } finally {
    await page.close();
  }
}
