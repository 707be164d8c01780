/** A proxy that clients name: whatever host they ask for, one server answers. */
import { createServer, request, type Server } from "node:http";
import { connect, type Socket } from "node:net";

/** Forwards requests, tunnels and upgrades to one server. */
export class ForwardProxy implements AsyncDisposable {
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  /** Hosts that were asked for, with how: GET, CONNECT, UPGRADE … */
  readonly asked: string[] = [];

  private constructor(target: URL) {
    const { hostname, port } = target;
    this.#listener = createServer((incoming, outgoing) => {
      const url = new URL(incoming.url!);
      this.asked.push(`${incoming.method} ${url.host}`);
      const { method, headers } = incoming;
      const path = url.pathname + url.search;
      const forwarded = request({ hostname, port, method, path, headers }, (response) => {
        outgoing.writeHead(response.statusCode!, response.headers);
        response.pipe(outgoing);
      });
      forwarded.on("error", () => outgoing.destroy());
      incoming.pipe(forwarded);
    });
    const tunnel = (socket: Socket, first: string): void => {
      const server = connect(Number(port), hostname);
      for (const end of [socket, server]) this.#sockets.add(end.on("error", () => {}));
      server.write(first);
      socket.pipe(server).pipe(socket);
    };
    this.#listener.on("connect", (incoming, socket: Socket) => {
      this.asked.push(`CONNECT ${incoming.url}`);
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      tunnel(socket, "");
    });
    this.#listener.on("upgrade", (incoming, socket: Socket) => {
      const url = new URL(incoming.url!);
      this.asked.push(`UPGRADE ${url.host}`);
      const fields = incoming.rawHeaders.map((text, at) => at % 2 ? `${text}\r\n` : `${text}: `);
      tunnel(socket, `GET ${url.pathname}${url.search} HTTP/1.1\r\n${fields.join("")}\r\n`);
    });
  }

  /** Listens on a free port. */
  static async open(target: string): Promise<ForwardProxy> {
    const proxy = new ForwardProxy(new URL(target));
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as { port: number }).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#listener.closeAllConnections();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}
