/** The clients of tus that people have: tus-js-client in this runtime and in Chromium, Uppy in Chromium. */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough, type Readable } from "node:stream";
import { after } from "node:test";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import * as esbuild from "esbuild";
import type { Page } from "playwright-core";
import { Upload, type UploadOptions } from "tus-js-client";
import { type ErrorCode, MemoryCatalog, MemoryStorage, StreamError } from "../../mod.ts";
import { logsInEngine } from "../cluster/logs.ts";
import { Cluster } from "../helpers/nodes.ts";
import { openBrowser } from "../helpers/peers/browser.ts";
import { eitherRuntime, own, Workspace } from "../helpers/cli.ts";
import { getJson, isFailed, startServer, statusOf, type TestServer } from "../helpers/server.ts";
import { within } from "../helpers/frames/connection.ts";
import { MoodyProxy } from "../helpers/frames/moody_proxy.ts";
import { override } from "../helpers/storage.ts";

const test = eitherRuntime();

/** Bytes that differ from each other. */
function bytesOf(byteCount: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: byteCount }, (_, at) => (at * 7919) >> 5));
}

/** An upload by tus-js-client, and its end. */
class Run {
  readonly upload: Upload;
  readonly #done = Promise.withResolvers<void>();

  constructor(url: string, source: Buffer | Readable, options: Partial<UploadOptions> = {}) {
    this.upload = new Upload(source as never, {
      endpoint: `${url}/tus`,
      retryDelays: [20, 50, 100, 200, 500, 1000, 1000, 1000],
      metadata: { filename: "größe.bin" },
      ...options,
      onSuccess: () => this.#done.resolve(),
      onError: (error) => this.#done.reject(error),
    });
    this.#done.promise.catch(() => {});
  }

  start(): this {
    this.upload.start();
    return this;
  }

  get done(): Promise<void> {
    return within("the end of an upload", this.#done.promise);
  }

  get id(): string {
    return new URL(this.upload.url!).pathname.split("/").at(-2)!;
  }
}

async function contentOf(url: string, id: string): Promise<Buffer> {
  return Buffer.from(await (await fetch(`${url}/resources/${id}/content`)).arrayBuffer());
}

test("tus-js-client uploads a buffer in chunks", async () => {
  await using server = await startServer();
  const bytes = bytesOf(300_000);
  const run = new Run(server.url, bytes, { chunkSize: 100_000, uploadDataDuringCreation: true });
  await run.start().done;
  assert(bytes.equals(await contentOf(server.url, run.id)));
  const { filename, mimeType } = await getJson(`${server.url}/resources/${run.id}`);
  assertEquals([filename, mimeType], ["größe.bin", "application/octet-stream"]);
});

test("tus-js-client uploads a stream whose length nobody knows, and others read it meanwhile", async () => {
  await using server = await startServer();
  const source = new PassThrough();
  const run = new Run(server.url, source, { uploadLengthDeferred: true, chunkSize: 5 }).start();
  source.write("first");
  source.write("sec");
  await within(
    "the first chunk",
    (async () => {
      while (run.upload.url === null) await new Promise((resolve) => setTimeout(resolve, 5));
    })(),
  );
  await statusOf(server.resources, run.id, ({ currentSize }) => currentSize === 5);
  source.end("ond");
  await run.done;
  assertEquals((await contentOf(server.url, run.id)).toString(), "firstsecond");
});

test("tus-js-client pauses and resumes, and another one goes on with the address", async () => {
  await using server = await startServer();
  const bytes = bytesOf(400_000);
  const paused = new Run(server.url, bytes, { chunkSize: 100_000 });
  const chunk = Promise.withResolvers<void>();
  paused.upload.options.onChunkComplete = () => chunk.resolve();
  paused.start();
  await chunk.promise;
  await paused.upload.abort();
  const { status } = await server.resources.get(paused.id);
  assertEquals(status.transferStatus, "IN_PROGRESS");
  const next = new Run(server.url, bytes, { uploadUrl: paused.upload.url! }).start();
  await next.done;
  assert(bytes.equals(await contentOf(server.url, paused.id)));
});

test("tus-js-client begins anew where HEAD is 503, and goes on with what docs/tus.md gives it", async () => {
  await using server = await startServer();
  await using proxy = await MoodyProxy.open(server.url);
  const bytes = bytesOf(400_000);
  const asksAgain: Partial<UploadOptions> = {
    onAfterResponse(request, response) {
      if (request.getMethod() === "HEAD" && response.getStatus() >= 500) throw new Error("not now");
    },
  };
  for (const options of [{}, asksAgain]) {
    const run = new Run(proxy.url, bytes, { ...options, chunkSize: 100_000 });
    let first = "";
    run.upload.options.onChunkComplete = (_, accepted) => {
      if (first !== "" || accepted !== 200_000) return;
      first = run.id;
      // The next PATCH, and the HEAD that asks how far it came.
      proxy.answers.push({ status: 503 }, { status: 503 });
    };
    await run.start().done;
    assertEquals(proxy.answers, []);
    assertEquals(run.id === first, options === asksAgain);
    assert(bytes.equals(await contentOf(server.url, run.id)));
  }
});

for (
  const [what, code] of [
    ["a server that is not ready", "NOT_READY"],
    ["somebody who was faster at another node", "FENCED"],
  ] as const
) {
  test(`tus-js-client goes on where ${what} makes HEAD fail`, () => goesOnBehind(code));
}

async function goesOnBehind(code: ErrorCode): Promise<void> {
  const catalog = new MemoryCatalog();
  let refusals = 0;
  const get = (id: string) => {
    if (refusals === 0) return catalog.get(id);
    refusals--;
    return Promise.reject(new StreamError(code, "not now"));
  };
  await using server = await startServer({
    catalog: override(catalog, { get }),
    storage: new MemoryStorage(),
  });
  await using proxy = await MoodyProxy.open(server.url);
  const bytes = bytesOf(400_000);
  const run = new Run(proxy.url, bytes, { chunkSize: 100_000 });
  const heads: number[] = [];
  run.upload.options.onAfterResponse = (request, response) => {
    if (request.getMethod() === "HEAD") heads.push(response.getStatus());
  };
  let first = "";
  run.upload.options.onChunkComplete = (_, accepted) => {
    if (first !== "" || accepted !== 200_000) return;
    first = run.id;
    refusals = 1;
    // The next PATCH, after which it asks how far it came.
    proxy.answers.push({ status: 503 });
  };
  await run.start().done;
  assertEquals([heads, run.id], [[423, 200], first]);
  assert(bytes.equals(await contentOf(server.url, run.id)));
}

test("tus-js-client gives an upload up, for others too", async () => {
  await using server = await startServer();
  const run = new Run(server.url, bytesOf(400_000), { chunkSize: 100_000 });
  const chunk = Promise.withResolvers<void>();
  run.upload.options.onChunkComplete = () => chunk.resolve();
  run.start();
  await chunk.promise;
  await run.upload.abort(true);
  const { failure } = await statusOf(server.resources, run.id, isFailed);
  assertStringIncludes(failure!, "ABORTED");
});

test("tus-js-client hears at once that parallel uploads are not taken", async () => {
  await using server = await startServer();
  const run = new Run(server.url, bytesOf(1000), { parallelUploads: 2 }).start();
  await assertRejects(() => run.done, Error, "no parallel uploads");
});

test("tus-js-client without PATCH sends POST", async () => {
  await using server = await startServer();
  const run = new Run(server.url, bytesOf(1000), { overridePatchMethod: true }).start();
  await run.done;
  assertEquals((await contentOf(server.url, run.id)).length, 1000);
});

test("tus-js-client in its mode of the IETF draft uploads in chunks, and resumes", async () => {
  await using server = await startServer();
  const bytes = bytesOf(300_000);
  const draft = {
    endpoint: `${server.url}/resources?name=draft.bin`,
    protocol: "ietf-draft-05" as const,
    chunkSize: 100_000,
  };
  const paused = new Run(server.url, bytes, draft);
  const chunk = Promise.withResolvers<void>();
  paused.upload.options.onChunkComplete = () => chunk.resolve();
  paused.start();
  await chunk.promise;
  await paused.upload.abort();
  const next = new Run(server.url, bytes, { ...draft, uploadUrl: paused.upload.url! }).start();
  await next.done;
  assert(bytes.equals(await contentOf(server.url, next.id)));
});

test("tus-js-client in its mode of the oldest draft uploads a whole, and hears that it cannot go on", async () => {
  await using server = await startServer();
  const bytes = bytesOf(300_000);
  const draft = {
    endpoint: `${server.url}/resources?name=draft.bin`,
    protocol: "ietf-draft-03" as const,
  };
  const whole = new Run(server.url, bytes, { ...draft, uploadDataDuringCreation: true }).start();
  await whole.done;
  const content = await fetch(`${whole.upload.url}/content`);
  assert(bytes.equals(Buffer.from(await content.arrayBuffer())));
  const inParts = new Run(server.url, bytes, { ...draft, retryDelays: [] });
  await assertRejects(() => inParts.start().done, Error, "application/partial-upload");
});

test("tus-js-client uploads the right bytes past a server's kill -9", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(own);
  const port = new URL(workspace.server).port;
  const bytes = bytesOf(400_000);
  const run = new Run(workspace.server, bytes, { chunkSize: 100_000 });
  const killed = Promise.withResolvers<void>();
  run.upload.options.onChunkComplete = (_, accepted) => {
    if (accepted === 200_000) killed.resolve(server.kill("SIGKILL"));
  };
  run.start();
  await killed.promise;
  await workspace.serve(own, ["--port", port]);
  await run.done;
  assert(bytes.equals(await contentOf(workspace.server, run.id)));
});

test("an upload whose client and server both died goes on with the address alone", async () => {
  await using workspace = await Workspace.open();
  const server = await workspace.serve(own);
  const port = new URL(workspace.server).port;
  const bytes = bytesOf(300_000);
  const first = new Run(workspace.server, bytes, { chunkSize: 100_000 });
  const chunk = Promise.withResolvers<void>();
  first.upload.options.onChunkComplete = () => chunk.resolve();
  first.start();
  await chunk.promise;
  await Promise.all([first.upload.abort(), server.kill("SIGKILL")]);
  await workspace.serve(own, ["--port", port]);
  const next = new Run(workspace.server, bytes, { uploadUrl: first.upload.url! }).start();
  await next.done;
  assert(bytes.equals(await contentOf(workspace.server, first.id)));
});

test("tus-js-client goes on at another node of a cluster, and both serve what it sent", async () => {
  await using logs = await logsInEngine();
  await using cluster = new Cluster();
  await using a = await startServer({ ...cluster.options("a"), storage: await logs.node() });
  await using b = await startServer({ ...cluster.options("b"), storage: await logs.node() });
  const bytes = bytesOf(400_000);
  const first = new Run(a.url, bytes, { chunkSize: 100_000 });
  const chunk = Promise.withResolvers<void>();
  first.upload.options.onChunkComplete = () => chunk.resolve();
  first.start();
  await chunk.promise;
  await first.upload.abort();
  const uploadUrl = first.upload.url!.replace(a.url, b.url);
  await new Run(b.url, bytes, { uploadUrl, chunkSize: 100_000 }).start().done;
  for (const { url } of [a, b]) assert(bytes.equals(await contentOf(url, first.id)));
});

const browser = await openBrowser();

/** Deno keeps waiting for esbuild's child process otherwise. */
after(() => esbuild.stop());

const SCRIPT = await esbuild.build({
  stdin: {
    contents: `
      import Uppy from "@uppy/core";
      import Tus from "@uppy/tus";
      import * as tus from "tus-js-client";
      Object.assign(globalThis, { Uppy, Tus, tus });`,
    resolveDir: new URL("../..", import.meta.url).pathname,
  },
  bundle: true,
  format: "iife",
  platform: "browser",
  write: false,
  logLevel: "silent",
  define: { "process.env.NODE_ENV": '"production"' },
});

/** A page of another origin, with the clients in it. */
async function withPage(step: (page: Page, server: TestServer) => Promise<void>): Promise<void> {
  const site = createServer((_, response) => {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end("<!doctype html><title>another site</title>");
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  const context = await browser.newContext();
  try {
    await using server = await startServer({ allowOrigins: [origin] });
    const page = await context.newPage();
    await page.goto(origin);
    await page.addScriptTag({ content: SCRIPT.outputFiles[0].text });
    await step(page, server);
  } finally {
    await context.close();
    site.closeAllConnections();
    await new Promise((resolve) => site.close(resolve));
  }
}

test("tus-js-client in Chromium uploads a file, pauses, and finds it again", () =>
  withPage(async (page, { url }) => {
    const resource = await page.evaluate<string>(`new Promise((resolve, reject) => {
      const file = new File(["x".repeat(300000)], "from page.txt", { type: "text/plain" });
      const options = {
        endpoint: ${JSON.stringify(`${url}/tus`)},
        chunkSize: 100000,
        metadata: { filename: file.name, filetype: file.type },
        onError: reject,
      };
      const first = new tus.Upload(file, {
        ...options,
        async onChunkComplete() {
          await first.abort();
          const second = new tus.Upload(file, {
            ...options,
            onSuccess: () => resolve(second.url),
          });
          const [previous] = await second.findPreviousUploads();
          second.resumeFromPreviousUpload(previous);
          second.start();
        },
      });
      first.start();
    })`);
    const id = new URL(resource).pathname.split("/").at(-2)!;
    assertEquals((await contentOf(url, id)).toString(), "x".repeat(300_000));
    const { filename, mimeType } = await getJson(`${url}/resources/${id}`);
    assertEquals([filename, mimeType], ["from page.txt", "text/plain"]);
  }));

test("Uppy in Chromium uploads files, and a page reads where others follow them", () =>
  withPage(async (page, { url, ws }) => {
    const told = await page.evaluate<{ address: string; reference: string }[]>(`(async () => {
      const told = [];
      const uppy = new Uppy().use(Tus, {
        endpoint: ${JSON.stringify(`${url}/tus`)},
        onAfterResponse(request, response) {
          if (request.getMethod() !== "POST") return;
          told.push({
            address: response.getHeader("location"),
            reference: response.getHeader("stream-reference"),
          });
        },
      });
      for (const name of ["a.txt", "b.txt"]) {
        uppy.addFile({ name, type: "text/plain", data: new Blob(["content of " + name]) });
      }
      const { failed, successful } = await uppy.upload();
      if (failed.length > 0 || successful.length !== 2) throw new Error(JSON.stringify(failed));
      return told;
    })()`);
    assertEquals(told.length, 2);
    for (const { address, reference } of told) {
      const id = new URL(address).pathname.split("/").at(-2)!;
      assertEquals(reference, `${ws}/ws/streaming/download/${id}`);
      const { filename } = await getJson(`${url}/resources/${id}`);
      assertEquals((await contentOf(url, id)).toString(), `content of ${filename}`);
    }
  }));
