/**
 * Between `node:http` and the web's `Request` and `Response`.
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";

/** Answers a request. */
export type Answer = (request: Request) => Response | Promise<Response>;

/**
 * Turns a message into a request and has it answered.
 * @param message What came in.
 * @param answer Who answers; where that fails, the answer is a plain 500.
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
  } catch {
    return new Response("the server failed\n", { status: 500 });
  }
}

/** Writes a response, as fast as it is taken; one that breaks off breaks the connection. */
export async function writeResponse(response: Response, out: ServerResponse): Promise<void> {
  const { status, ok, headers, body } = response;
  out.statusCode = status;
  out.setHeaders(headers);
  try {
    if (ok && body !== null) await writeBody(body, out);
    // An error is short: it is sent with its length, for clients that know no chunks.
    else out.end(new Uint8Array(await response.arrayBuffer()));
  } catch {
    out.destroy();
  }
}

async function writeBody(body: ReadableStream<Uint8Array>, out: ServerResponse): Promise<void> {
  const reader = body.getReader();
  let wake = () => {};
  out.once("close", () => {
    void reader.cancel().catch(() => {});
    wake();
  });
  out.on("drain", () => wake());
  let leftBytes = Number(out.getHeader("content-length") ?? Infinity);
  // The first byte of what is still being written may take its time.
  const head = setImmediate(() => out.flushHeaders());
  for (;;) {
    const { done, value } = await reader.read().finally(() => clearImmediate(head));
    if (done) break;
    leftBytes -= value.length;
    // With the last byte in one packet.
    if (leftBytes === 0) out.end(value);
    else if (!out.write(value) && !out.destroyed) {
      await new Promise<void>((resolve) => wake = resolve);
    }
    if (out.destroyed) return;
  }
  if (!out.writableEnded) out.end();
}

function webRequest(message: IncomingMessage, signal?: AbortSignal): Request {
  const { method, rawHeaders, url, headers: { host = "localhost" } } = message;
  const headers: [string, string][] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    headers.push([rawHeaders[at], rawHeaders[at + 1]]);
  }
  const body = method === "GET" || method === "HEAD" ? null : ReadableStream.from(message);
  const init = { method, headers, body, signal, duplex: "half" };
  const scheme = (message.socket as TLSSocket).encrypted ? "https" : "http";
  return new Request(new URL(url!, `${scheme}://${host}`), init as RequestInit);
}
