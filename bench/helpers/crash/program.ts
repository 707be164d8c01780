/** A server that is killed and started again at once, on the same port with the same data. */
import { createServer } from "node:net";
import type { Kind, Program, Workspace } from "../../../tests/helpers/cli.ts";

/** Below the ports that connections get by themselves: one of those could take ours while nobody listens. */
const FIRST_PORT = 20_000;
const PORTS = 10_000;

export class CrashingServer {
  readonly url: string;
  /** Time from a kill until the server listened again, each time, further kills included, in ms. */
  readonly restartsMs: number[] = [];
  kills = 0;
  #program: Program | null = null;
  #downSinceMs: number | null = null;

  private constructor(
    private readonly workspace: Workspace,
    private readonly kind: Kind,
    private readonly args: string[],
    port: number,
  ) {
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Starts one on a free port. */
  static async start(
    workspace: Workspace,
    kind: Kind,
    options: string[],
  ): Promise<CrashingServer> {
    const port = await freePort();
    const args = ["serve", "--port", String(port), "--data", "data", ...options];
    const server = new CrashingServer(workspace, kind, args, port);
    server.#spawn();
    await server.listening();
    return server;
  }

  /** Kills it and starts it again; does not wait until it listens. */
  async crash(): Promise<void> {
    this.kills++;
    this.#downSinceMs ??= performance.now();
    await this.#program!.kill("SIGKILL");
    this.#spawn();
  }

  /** Waits until it listens. */
  async listening(): Promise<void> {
    await this.#program!.stdout.until((text) => text.includes("\n"));
    if (this.#downSinceMs === null) return;
    this.restartsMs.push(performance.now() - this.#downSinceMs);
    this.#downSinceMs = null;
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    this.#program!.signal("SIGTERM");
    await this.#program!.exit();
  }

  #spawn(): void {
    this.#program = this.workspace.start(this.kind, this.args);
  }
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer().once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}
