/** An HTTP request piece by piece, over a bare socket. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { within } from "../frames/connection.ts";

/** The answer to a request. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  body: string;
}

/** One request whose content is sent as a test wants it; the connection is gone after its `using` ends. */
export class HttpRequest implements Disposable {
  readonly #socket: Socket;
  readonly #isChunked: boolean;
  #received = Buffer.alloc(0);
  #changed = Promise.withResolvers<void>();
  #closed = false;

  /** Sends the head; without a length in it the content is chunked. */
  constructor(url: string, method: string, headers: Record<string, string> = {}) {
    const { hostname, port, pathname, search, host } = new URL(url);
    this.#isChunked = !Object.keys(headers).some((name) => name.toLowerCase() === "content-length");
    this.#socket = connect(Number(port), hostname);
    const changed = () => {
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    };
    this.#socket.on("data", (chunk: Uint8Array) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      changed();
    });
    this.#socket.on("close", () => {
      this.#closed = true;
      changed();
    });
    // A broken connection also shows in what does not arrive.
    this.#socket.on("error", () => {});
    const said = {
      Host: host,
      ...headers,
      ...(this.#isChunked && { "Transfer-Encoding": "chunked" }),
    };
    const lines = Object.entries(said).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#socket.write(`${method} ${pathname}${search} HTTP/1.1\r\n${lines.join("")}\r\n`);
  }

  /** Sends some content; false when the socket has no room for more. */
  send(content: string | Uint8Array): boolean {
    const bytes = Buffer.from(content as string);
    if (!this.#isChunked) return this.#socket.write(bytes);
    this.#socket.write(`${bytes.length.toString(16)}\r\n`);
    this.#socket.write(bytes);
    return this.#socket.write("\r\n");
  }

  /** Ends the content. */
  end(): void {
    if (this.#isChunked) this.#socket.write("0\r\n\r\n");
  }

  /** Breaks the connection. */
  cut(): void {
    this.#socket.destroy();
  }

  /** Bytes that were written and did not fit into the socket. */
  get waitingBytes(): number {
    return this.#socket.writableLength;
  }

  /** Waits for the status; null when the connection ends without one. */
  async status(): Promise<number | null> {
    while (!this.#received.includes("\r\n")) {
      if (this.#closed) return null;
      await within("a status", this.#changed.promise);
    }
    return Number(this.#received.toString("latin1").split(" ", 2)[1]);
  }

  /** Waits for the answer. */
  async answer(): Promise<HttpAnswer> {
    for (;;) {
      const answer = parse(this.#received.toString("latin1"));
      if (answer !== null) return answer;
      if (this.#closed) throw new Error(`no answer but ${this.#received.toString("latin1")}`);
      await within("an answer", this.#changed.promise);
    }
  }

  [Symbol.dispose](): void {
    this.cut();
  }
}

function parse(text: string): HttpAnswer | null {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Headers(lines.map((line) => line.split(/: */, 2) as [string, string]));
  const body = bodyOf(text.slice(end + 4), headers);
  return body === null ? null : { status: Number(statusLine.split(" ")[1]), headers, body };
}

/** The whole content; null while some of it is missing. */
function bodyOf(text: string, headers: Headers): string | null {
  if (headers.get("transfer-encoding") !== "chunked") {
    const length = Number(headers.get("content-length") ?? 0);
    return text.length < length ? null : text.slice(0, length);
  }
  let body = "";
  for (let at = 0;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return null;
    const length = parseInt(text.slice(at, lineEnd), 16);
    if (length === 0) return body;
    body += text.slice(lineEnd + 2, lineEnd + 2 + length);
    at = lineEnd + 2 + length + 2;
  }
}
