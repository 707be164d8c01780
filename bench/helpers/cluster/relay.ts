/** A way to a server that can be cut for good. */
import { connect, createServer, type Server, type Socket } from "node:net";

export class Relay implements AsyncDisposable {
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();

  private constructor({ hostname, port }: URL) {
    this.#listener = createServer((client) => {
      const server = connect(Number(port), hostname);
      for (const [from, to] of [[client, server], [server, client]]) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy()).on("close", () => to.destroy()).pipe(to);
      }
    });
  }

  static async open(url: string): Promise<Relay> {
    const relay = new Relay(new URL(url));
    await new Promise<void>((resolve) => relay.#listener.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as { port: number }).port}`;
  }

  /** Breaks it, and takes nobody any more. */
  cut(): void {
    this.#listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    return Promise.resolve();
  }
}
