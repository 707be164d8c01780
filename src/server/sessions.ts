/**
 * All sessions of a server: how many there may be, and their end.
 * @module
 */
import { StreamError } from "../protocol.ts";
import type { Connection, Session } from "../runtime.ts";
import type { ControlSession } from "../session.ts";
import type { Shares } from "./access/shares.ts";
import { CountedConnection } from "./answer/counted.ts";
import { endsWithin } from "../timer.ts";

/** Makes the session of a connection. */
export type Open = (connection: Connection) => ControlSession;

/** All kinds of connections: the last is a response that streams. */
export const CONNECTION_KINDS: readonly ConnectionKind[] = ["upload", "download", "http"];

/** Purpose of a connection. */
export type ConnectionKind = "upload" | "download" | "http";

/** A session whose connection is gone. */
export interface SessionEnd {
  /** Its purpose. */
  kind: ConnectionKind;
  /** The code the connection was closed with. */
  closeCode: number;
  /** Why our side ended it; null if it did not. */
  error: StreamError | null;
  /** Bytes in the messages that came. */
  receivedBytes: number;
  /** Bytes in the messages that were sent. */
  sentBytes: number;
  /** How long it was open, in ms. */
  ms: number;
}

/** How long a shutdown waits for the peers' side of the closing handshake. */
const CLOSE_TIMEOUT_MS = 2000;

/** Something open that can be ended: a session, or a response that streams. */
export interface Ending {
  /** Ends it before its time. */
  fail(error: StreamError): void;
}

/** The sessions and streaming responses whose connections are not gone yet. */
export class Sessions {
  readonly #max: number;
  readonly #shares: Shares;
  readonly #open = new Map<Ending, { kind: ConnectionKind; giveBack: () => void }>();
  #allGone: (() => void) | null = null;

  /**
   * Begins without any.
   * @param max How many there may be at the same time.
   * @param shares How many of them one client may have.
   */
  constructor(max: number, shares: Shares) {
    this.#max = max;
    this.#shares = shares;
  }

  /**
   * Tells whether a client may have one more.
   * @param clientsOf Whose it would be, by each name that counts; asked only where it matters, as Bun takes 10 µs to tell.
   * @throws {StreamError} LIMIT_REACHED.
   */
  checkRoom(clientsOf: () => readonly string[]): void {
    if (this.#open.size >= this.#max) {
      throw new StreamError("LIMIT_REACHED", `${this.#max} connections are open: try again later`);
    }
    if (this.#shares.isAnyFull) this.#shares.check(clientsOf());
  }

  /** Connections of the client that has the most. */
  get greatestShare(): number {
    return this.#shares.greatest;
  }

  /** How many of a kind there are. */
  count(kind: ConnectionKind): number {
    return [...this.#open.values()].filter((open) => open.kind === kind).length;
  }

  /**
   * Opens a session and counts it until its connection is gone.
   * @param connection The connection.
   * @param kind What the session is for.
   * @param clients Whose it is.
   * @param open Makes it.
   * @param ended Hears of its end.
   */
  track(
    connection: Connection,
    kind: ConnectionKind,
    clients: readonly string[],
    open: Open,
    ended: (end: SessionEnd) => void,
  ): Session {
    const openedAtMs = performance.now();
    const counted = new CountedConnection(connection);
    const session = open(counted);
    let receivedBytes = 0;
    this.add(session, kind, clients);
    return {
      text: (message) => {
        receivedBytes += message.length;
        session.text(message);
      },
      data: (bytes, final) => {
        receivedBytes += bytes.length;
        return session.data(bytes, final);
      },
      closed: (closeCode, reason) => {
        this.remove(session);
        session.closed(closeCode, reason);
        const { error } = session;
        const { sentBytes } = counted;
        const ms = Math.round(performance.now() - openedAtMs);
        ended({ kind, closeCode, error, receivedBytes, sentBytes, ms });
      },
    };
  }

  /** Counts what is open until it is removed. */
  add(open: Ending, kind: ConnectionKind, clients: readonly string[]): void {
    this.#open.set(open, { kind, giveBack: this.#shares.hold(clients) });
  }

  /** Counts what is gone no more. */
  remove(gone: Ending): void {
    this.#open.get(gone)?.giveBack();
    this.#open.delete(gone);
    if (this.#open.size === 0) this.#allGone?.();
  }

  /**
   * Ends all of them.
   * @param shutdown Why.
   * @returns When their connections are gone, or have had the time for it.
   */
  async close(shutdown: StreamError): Promise<void> {
    if (this.#open.size === 0) return;
    const gone = new Promise<void>((resolve) => this.#allGone = resolve);
    for (const session of this.#open.keys()) session.fail(shutdown);
    await endsWithin(CLOSE_TIMEOUT_MS, gone);
  }
}
