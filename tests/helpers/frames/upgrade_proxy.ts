/** An HTTP proxy that forwards requests and lets no WebSocket pass. */
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { connect, type Socket } from "node:net";

/** What becomes of an upgrade. */
export type UpgradeFate = "426" | "400" | "cut" | "hang" | "mute";

/** Stands between clients and one server. */
export class UpgradeProxy implements AsyncDisposable {
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  /** Upgrades that were asked for. */
  upgrades = 0;
  /** Requests that were forwarded. */
  requests = 0;

  private constructor(target: URL, fate: UpgradeFate) {
    this.#listener = createServer((incoming, answer) => {
      this.requests++;
      const { method, url: path, headers } = incoming;
      const { hostname, port } = target;
      const outgoing = request({ hostname, port, method, path, headers }, (response) => {
        answer.writeHead(response.statusCode!, response.headers);
        response.pipe(answer);
        response.on("error", () => answer.destroy());
      });
      outgoing.on("error", () => answer.destroy());
      answer.on("close", () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
    this.#listener.on("upgrade", (incoming: IncomingMessage, socket: Socket) => {
      this.upgrades++;
      this.#sockets.add(socket.on("error", () => {}));
      this.#refuse(incoming, socket, target, fate);
    });
  }

  /** Listens on a free port. */
  static async open(target: string, fate: UpgradeFate): Promise<UpgradeProxy> {
    const proxy = new UpgradeProxy(new URL(target), fate);
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

  #refuse(incoming: IncomingMessage, socket: Socket, target: URL, fate: UpgradeFate): void {
    if (fate === "hang") return;
    if (fate === "cut") return void socket.destroy();
    if (fate !== "mute") {
      return void socket.end(
        `HTTP/1.1 ${fate} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      );
    }
    const server = connect(Number(target.port), target.hostname);
    this.#sockets.add(server.on("error", () => {}));
    const fields = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    server.write(`GET ${incoming.url} HTTP/1.1\r\n${fields.join("")}\r\n`);
    // The head of the answer passes, and nothing more.
    server.once("data", (bytes) => {
      const head = String(bytes).split("\r\n\r\n")[0];
      socket.write(`${head}\r\n\r\n`);
    });
  }
}
