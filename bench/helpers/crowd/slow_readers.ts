/** Peers that ask for all there is and read one byte a second. */
import { DOWNLOAD_PATH, type Message, parseReference, SUBPROTOCOL } from "../../../src/protocol.ts";
import { OP, RawPeer } from "../../../tests/helpers/frames/frames.ts";

const READ_EVERY_MS = 1000;
/** Before the server takes them for dead. */
const PING_EVERY_MS = 10_000;

/** Some of them on one resource; their connections break when it is disposed of. */
export class SlowReaders implements Disposable {
  readonly #timers: ReturnType<typeof setInterval>[];

  private constructor(private readonly peers: RawPeer[]) {
    this.#timers = [
      setInterval(() => peers.forEach(({ socket }) => socket.read(1)), READ_EVERY_MS),
      setInterval(() => this.#say({ "@": "Ping", id: 1 }), PING_EVERY_MS),
    ];
  }

  /** Connects them; each has sent its request on return. */
  static async connect(reference: string, count: number, request: Message): Promise<SlowReaders> {
    const { server, id } = parseReference(reference);
    const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
    const open = () =>
      RawPeer.open(Number(new URL(server).port), headers, `${DOWNLOAD_PATH}/${id}`);
    const readers = new SlowReaders(await Promise.all(Array.from({ length: count }, open)));
    await readers.#say(request);
    return readers;
  }

  /** Those that are still connected. */
  get connected(): number {
    return this.peers.filter(({ socket }) => !socket.destroyed && socket.readable).length;
  }

  async #say(message: Message): Promise<void> {
    const frame = { opcode: OP.text, payload: JSON.stringify(message) };
    await Promise.all(this.peers.map((peer) => peer.send(frame)));
  }

  [Symbol.dispose](): void {
    this.#timers.forEach(clearInterval);
    for (const peer of this.peers) peer[Symbol.dispose]();
  }
}
