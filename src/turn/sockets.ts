/**
 * Turns of Deno's event loop in which sockets are asked what came.
 *
 * Deno asks them when nothing else is left to do, or once in about sixty rounds: while one immediate follows the other
 * an echo takes 120 ms (docs/security.md), and a timer costs a millisecond. A byte that comes back to who sent it shows
 * that they were asked.
 * @module
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const LOOPBACK = "127.0.0.1";
const BYTE = Uint8Array.of(0);

/** A connection of this process with itself. */
class Echo {
  readonly #waiting: (() => void)[] = [];
  /** The end that bytes are sent from; null before it is connected, and where it cannot be. */
  #near: Socket | null = null;

  constructor() {
    this.#open().catch(() => {});
  }

  /** Waits until sockets were asked; by a timer where there is no connection. */
  async turn(): Promise<void> {
    if (this.#near === null) return await sleep(0);
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#waiting.push(resolve) === 1) this.#near.ref().write(BYTE);
    await promise;
  }

  async #open(): Promise<void> {
    if (!mayListen()) return;
    const server = createServer().listen(0, LOOPBACK).unref();
    try {
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const near = connect({ port, host: LOOPBACK, noDelay: true });
      const [[far]] = await Promise.all([once(server, "connection"), once(near, "connect")]);
      for (const end of [near, far]) {
        end.unref().on("error", () => {}).on("close", () => this.#lose());
      }
      // Somebody else was quicker.
      if (far.remotePort !== near.localPort) return void [near, far].map((end) => end.destroy());
      far.on("data", () => this.#heard());
      this.#near = near;
    } finally {
      server.close();
    }
  }

  #heard(): void {
    this.#near?.unref();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #lose(): void {
    this.#near = null;
    this.#heard();
  }
}

/** Whether it is allowed without anybody being asked. */
function mayListen(): boolean {
  return Deno.permissions.querySync({ name: "net", host: LOOPBACK }).state === "granted";
}

let echo: Echo | null = null;

/** Waits for a turn in which all sockets were asked; on Deno. */
export function socketTurn(): Promise<void> {
  return (echo ??= new Echo()).turn();
}
