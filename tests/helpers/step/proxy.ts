/** A proxy for connections that hands their paths on under other names. */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Stands before one server. */
export class StepProxy implements AsyncDisposable {
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: URL, rename: (path: string) => string) {
    this.#listener = createServer((socket) => {
      const server = connect(Number(target.port), target.hostname);
      for (const end of [socket, server]) this.#sockets.add(end.on("error", () => {}));
      socket.once("data", (bytes) => {
        const [line, ...rest] = bytes.toString("latin1").split("\r\n");
        const [method, path, version] = line.split(" ");
        const head = [`${method} ${rename(path)} ${version}`, ...rest].join("\r\n");
        server.write(head, "latin1");
        socket.pipe(server).pipe(socket);
      });
    });
  }

  /** Listens on a free port. */
  static async open(target: string, rename: (path: string) => string): Promise<StepProxy> {
    const proxy = new StepProxy(new URL(target), rename);
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get ws(): string {
    return `ws://127.0.0.1:${(this.#listener.address() as { port: number }).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}
