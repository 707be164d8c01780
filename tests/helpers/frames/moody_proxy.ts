/** An HTTP proxy that answers some requests itself, as those before a busy server do; it lets no WebSocket pass. */
import { createServer, request, type Server } from "node:http";

/** An answer that no server of ours gives. */
export interface ProxyAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  /** Which requests are answered so; the next one by default. */
  path?: RegExp;
}

/** Stands between clients and one server. */
export class MoodyProxy implements AsyncDisposable {
  readonly #listener: Server;
  /** Answers to the next requests in place of the server's. */
  readonly answers: ProxyAnswer[] = [];
  /** How many answers were given. */
  given = 0;

  private constructor(target: URL) {
    this.#listener = createServer((incoming, outgoing) => {
      const next = this.answers.findIndex((answer) => answer.path?.test(incoming.url!) ?? true);
      const answer = next === -1 ? undefined : this.answers.splice(next, 1)[0];
      if (answer !== undefined) {
        this.given++;
        incoming.resume();
        outgoing.writeHead(answer.status, answer.headers).end(answer.body);
        return;
      }
      const { hostname, port } = target;
      const { method, url: path, headers } = incoming;
      const forwarded = request({ hostname, port, method, path, headers }, (response) => {
        outgoing.writeHead(response.statusCode!, response.headers);
        response.pipe(outgoing);
        response.on("error", () => outgoing.destroy());
      });
      forwarded.on("error", () => outgoing.destroy());
      outgoing.on("close", () => forwarded.destroy());
      incoming.pipe(forwarded);
    });
    this.#listener.on("upgrade", (_request, socket) => socket.destroy());
  }

  /** Listens on a free port. */
  static async open(target: string): Promise<MoodyProxy> {
    const proxy = new MoodyProxy(new URL(target));
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as { port: number }).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.closeAllConnections();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}
