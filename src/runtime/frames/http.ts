/**
 * Between `node:http` and the web's `Request` and `Response`.
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { setImmediate as turn } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { ERRORS, toStreamError } from "../../protocol.ts";

/** Answers a request. */
export type Answer = (request: Request) => Response | Promise<Response>;

/**
 * Turns a message into a request and has it answered.
 * @param message What came in.
 * @param answer Answers it; where that throws, the answer is plain text.
 * @param signal Aborts the request.
 */
export async function answerTo(
  message: IncomingMessage,
  answer: Answer,
  signal?: AbortSignal,
): Promise<Response> {
  let request: Request;
  try {
    request = webRequest(message, signal);
  } catch {
    return new Response("this is no request that can be answered\n", { status: 400 });
  }
  try {
    return await answer(request);
  } catch (thrown) {
    const { code, message } = toStreamError(thrown);
    const text = code === "INTERNAL" ? "the server failed" : message;
    return new Response(`${text}\n`, { status: ERRORS[code].http });
  }
}

/** Writes a response, as fast as it is taken; one that breaks off breaks the connection. */
export async function writeResponse(response: Response, out: ServerResponse): Promise<void> {
  const { status, ok, headers, body } = response;
  out.statusCode = status;
  setHeaders(out, headers);
  try {
    if (ok && body !== null) await writeBody(body, out);
    // An error is short: it is sent with its length, for clients that know no chunks.
    else out.end(new Uint8Array(await response.arrayBuffer()));
  } catch {
    // To HTTP/1.0 the end of the connection is that of the body: only a reset tells that it broke off.
    if (out.req.httpVersion === "1.0") out.socket?.resetAndDestroy();
    out.destroy();
  }
}

/** Sets headers one by one: `setHeaders` iterates, and each step of that costs Deno a sorted copy of all of them. */
function setHeaders(out: ServerResponse, headers: Headers): void {
  headers.forEach((value, name) => {
    if (name === "set-cookie") out.appendHeader(name, value);
    else out.setHeader(name, value);
  });
}

async function writeBody(body: ReadableStream<Uint8Array>, out: ServerResponse): Promise<void> {
  const reader = body.getReader();
  let wake = () => {};
  out.once("close", () => {
    void reader.cancel().catch(() => {});
    wake();
  });
  out.on("drain", () => wake());
  const write = async (bytes: Uint8Array) => {
    if (!out.write(bytes) && !out.destroyed) await new Promise<void>((resolve) => wake = resolve);
  };
  if (out.hasHeader("content-length")) await writeMeasured(reader, out, write);
  else await writeUnmeasured(reader, out, write);
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;
type Write = (bytes: Uint8Array) => Promise<void>;

/** Writes a body of a known length: its last byte ends it, so that it leaves in one packet with what is before. */
async function writeMeasured(reader: Reader, out: ServerResponse, write: Write): Promise<void> {
  let leftBytes = Number(out.getHeader("content-length"));
  for (;;) {
    const { done, value } = await reader.read();
    if (done || out.destroyed) break;
    leftBytes -= value.length;
    if (leftBytes <= 0) out.end(value);
    else await write(value);
  }
  if (!out.writableEnded) out.end();
}

/** Writes a body whose length nobody knows; one that is there at once gets a length all the same. */
async function writeUnmeasured(reader: Reader, out: ServerResponse, write: Write): Promise<void> {
  // The first byte of what is still being written may take its time.
  const head = setImmediate(() => out.flushHeaders());
  const first = await reader.read().finally(() => clearImmediate(head));
  if (first.done) return void out.end();
  let next = reader.read();
  if (await Promise.race([next.then(({ done }) => done), turn(false)])) {
    return void out.end(first.value);
  }
  await write(first.value);
  for (;;) {
    const { done, value } = await next;
    if (done || out.destroyed) break;
    await write(value);
    next = reader.read();
  }
  out.end();
}

function webRequest(message: IncomingMessage, signal?: AbortSignal): Request {
  const { method, rawHeaders, url, headers: { host = "localhost" } } = message;
  const headers: [string, string][] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    headers.push([rawHeaders[at], rawHeaders[at + 1]]);
  }
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(message);
  const init = { method, headers, body, signal, duplex: "half" };
  const scheme = (message.socket as TLSSocket).encrypted ? "https" : "http";
  // Not resolved against a base: a path of two slashes would be a host.
  const target = url!.startsWith("/") ? `${scheme}://${host}${url}` : url!;
  return new Request(target, init as RequestInit);
}

/** What waits of a request's content before its sender is slowed down. */
const BODY_BUFFER_BYTES = 64 * 1024;

/**
 * The content of a request, no faster than it is taken. Where it is cancelled the rest is dropped, not the
 * connection, as its answer is still to come; the iterator of the message would drop both. Where the request
 * breaks off, what arrived before that is there to be taken: it may be the last words of who died.
 */
function bodyOf(message: IncomingMessage): ReadableStream<Uint8Array> {
  let isOver = false;
  let broken: Error | null = null;
  let fail: () => void;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const add = (chunk: Uint8Array) =>
        controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
      const end = () => {
        isOver = true;
        if (message.rawTrailers.length === 0) controller.close();
        else controller.error(new Error("it has trailers, among which a digest may be"));
      };
      // An error drops what waits: it comes after that was taken.
      fail = () => {
        if (broken !== null && controller.desiredSize! >= BODY_BUFFER_BYTES) {
          controller.error(broken);
        }
      };
      message.on("data", (chunk: Uint8Array) => {
        if (isOver) return;
        add(chunk);
        if (controller.desiredSize! <= 0) message.pause();
      });
      message.once("end", () => {
        if (!isOver) end();
      });
      message.once("close", () => {
        if (isOver) return;
        for (let chunk; (chunk = message.read() as Uint8Array | null) !== null;) add(chunk);
        if (message.complete) return end();
        isOver = true;
        broken = new Error("the request broke off");
        fail();
      });
      message.on("error", () => {});
      message.pause();
    },
    pull() {
      fail();
      message.resume();
    },
    cancel() {
      isOver = true;
      message.resume();
    },
  }, { highWaterMark: BODY_BUFFER_BYTES, size: ({ length }) => length });
}

/**
 * Answers a request whose content is still coming: its sender hears it, and has some time to stop.
 * @param message The request.
 * @param response The answer.
 * @param out Where it goes; the connection ends with it.
 * @param withinMs The sender's time.
 */
export async function answerEarly(
  message: IncomingMessage,
  response: Response,
  out: ServerResponse,
  withinMs: number,
): Promise<void> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  out.shouldKeepAlive = false;
  out.statusCode = response.status;
  setHeaders(out, response.headers);
  out.setHeader("content-length", bytes.length);
  out.write(bytes);
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, withinMs);
  message.resume().once("end", resolve).once("close", resolve);
  await promise;
  clearTimeout(timer);
  out.end();
}
