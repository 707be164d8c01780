/** A TCP proxy whose connections break: when told to, or as chance has it. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Chance } from "../random.ts";

/** How a connection goes on and how it ends. */
interface Fate {
  /** It ends after so many bytes, both directions together. */
  bytes: number;
  ending: "cut" | "reset" | "stall" | "half";
  /** How long a stalled or half closed one lasts then, in ms. */
  lingerMs: number;
  /** Longest packet. */
  packetBytes: number;
  /** Delay of what arrived, in ms; what comes meanwhile is joined. */
  delayMs: number;
}

const fairWeather: Fate = {
  bytes: Infinity,
  ending: "cut",
  lingerMs: 0,
  packetBytes: Infinity,
  delayMs: 0,
};

/** Many connections break before they are of any use, most do in the middle of something. */
function fateOf(chance: Chance): Fate {
  return {
    bytes: chance.happens(0.2) ? chance.whole(0, 1500) : chance.whole(1000, 250_000),
    ending: chance.pick(["cut", "reset", "stall", "half"]),
    lingerMs: chance.whole(0, 150),
    packetBytes: chance.happens(0.2) ? chance.whole(50, 2000) : 65_536,
    delayMs: chance.happens(0.3) ? chance.whole(1, 4) : 0,
  };
}

/** Stands between clients and one server. */
export class Proxy implements AsyncDisposable {
  readonly #listener: Server;
  readonly #links = new Set<Link>();
  readonly #chance: Chance | null;
  /** Port of the server; those who connect from now on get there. */
  target: number;
  /** Whether new connections are closed at once. */
  refusing = false;
  /** Connections until now. */
  accepted = 0;
  /** Connections that broke by chance, or because somebody said so. */
  broken = 0;
  /** Hears of all that clients are sent. */
  tap: (bytes: Uint8Array) => void = () => {};
  #holding: PromiseWithResolvers<void> | null = null;

  private constructor(target: number, chance: Chance | null) {
    this.target = target;
    this.#chance = chance;
    this.#listener = createServer((client) => this.#accept(client));
  }

  /** Listens on a free port; without chance connections last until somebody says otherwise. */
  static async open(target: number, chance: Chance | null = null): Promise<Proxy> {
    const proxy = new Proxy(target, chance);
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as { port: number }).port}`;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#links.size;
  }

  /** Breaks every connection. */
  cut(): void {
    for (const link of this.#links) link.breakNow("cut");
  }

  /** Lets no byte pass, while connections stay open. */
  hold(): void {
    this.#holding ??= Promise.withResolvers<void>();
  }

  /** Lets everything pass again. */
  release(): void {
    this.#holding?.resolve();
    this.#holding = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refusing = true;
    this.release();
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #accept(client: Socket): void {
    client.on("error", () => {});
    this.accepted++;
    if (this.refusing) {
      client.destroy();
      return;
    }
    const fate = this.#chance === null ? fairWeather : fateOf(this.#chance);
    const link = new Link(client, connect(this.target, "127.0.0.1"), fate, {
      passing: async (bytes, to) => {
        await this.#holding?.promise;
        if (to === client) this.tap(bytes);
      },
      broke: () => this.broken++,
    });
    this.#links.add(link);
    void link.over.then(() => this.#links.delete(link));
  }
}

interface LinkEvents {
  /** Bytes are to go there; they do when it resolves. */
  passing(bytes: Uint8Array, to: Socket): Promise<void>;
  broke(): void;
}

/** One client and its connection to the server. */
class Link {
  /** Resolves when both sides are closed. */
  readonly over: Promise<unknown>;
  readonly #sides: [Socket, Socket];
  readonly #fate: Fate;
  readonly #events: LinkEvents;
  #bytesLeft: number;
  #broken = false;

  constructor(client: Socket, server: Socket, fate: Fate, events: LinkEvents) {
    this.#sides = [client, server];
    this.#fate = fate;
    this.#events = events;
    this.#bytesLeft = fate.bytes;
    const closed = this.#sides.map((socket) =>
      new Promise<void>((resolve) => socket.once("close", () => resolve()))
    );
    this.over = Promise.all(closed);
    for (const socket of this.#sides) socket.setNoDelay(true).on("error", () => {});
    void this.#carry(client, server);
    void this.#carry(server, client);
  }

  /** Breaks both directions at once. */
  breakNow(ending: Fate["ending"]): void {
    if (this.#broken) return;
    this.#broken = true;
    this.#events.broke();
    const [client, server] = this.#sides;
    const { lingerMs } = this.#fate;
    if (ending === "reset") { for (const socket of this.#sides) socket.resetAndDestroy(); }
    else if (ending === "cut") { for (const socket of this.#sides) socket.destroy(); }
    else if (ending === "half") {
      client.destroy();
      void sleep(lingerMs).then(() => server.destroy());
    } else void sleep(lingerMs).then(() => this.#sides.forEach((side) => side.resetAndDestroy()));
  }

  /** Carries one direction until its sender ends, or the connection breaks. */
  async #carry(from: Socket, to: Socket): Promise<void> {
    try {
      for await (const bytes of from) await this.#pass(bytes, to);
    } catch { /* A socket that was destroyed. */ }
    if (!this.#broken) to.end();
  }

  async #pass(bytes: Uint8Array, to: Socket): Promise<void> {
    const { packetBytes, delayMs, ending } = this.#fate;
    if (delayMs > 0) await sleep(delayMs);
    for (let at = 0; at < bytes.length && !this.#broken;) {
      const packet = bytes.subarray(at, at + Math.min(packetBytes, Math.max(0, this.#bytesLeft)));
      await this.#events.passing(packet, to);
      at += packet.length;
      this.#bytesLeft -= packet.length;
      if (packet.length > 0 && !this.#broken) await written(to, packet);
      if (this.#bytesLeft <= 0) this.breakNow(ending);
    }
  }
}

/** Writes when there is room, to a socket that may be gone. */
async function written(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (socket.destroyed) return;
  if (socket.write(bytes)) return await turn();
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}
