/**
 * Uploads that wait for their owners: so many may in all, and half as many of one client, so that nobody who begins and
 * abandons uploads ends the wait of others.
 * @module
 */
import type { OpenResource } from "../reading/cache.ts";
import type { LogDigest } from "./restore.ts";

/** An upload whose owner is gone, for the time it may come back. */
export interface Interrupted {
  open: OpenResource;
  /** The epoch that its owner had. */
  epoch: number;
  /** The digest of what the log holds; null after a restart, when it must be brought up to date. */
  digest: LogDigest | null;
  /** Whose it is, by each name that counts; nobody's after a restart. */
  clients: readonly string[];
  stopTimer: () => void;
  /** Ends the wait before its time; null when that was begun. */
  giveUp: (() => void) | null;
}

/** Part of all that may wait that one client may have. */
const SHARE = 1 / 2;

/** The uploads that wait, by the ids of their resources. */
export class WaitingUploads {
  readonly #most: number;
  readonly #byId = new Map<string, Interrupted>();
  readonly #byClient = new Map<string, Set<Interrupted>>();

  /** @param most How many may wait. */
  constructor(most: number) {
    this.#most = most;
  }

  get(id: string): Interrupted | undefined {
    return this.#byId.get(id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  ids(): Iterable<string> {
    return this.#byId.keys();
  }

  all(): Iterable<Interrupted> {
    return this.#byId.values();
  }

  /** Adds one, and gives up the one that waits longest where there are too many: of its client, or of all. */
  add(id: string, upload: Interrupted): void {
    this.delete(id);
    this.#byId.set(id, upload);
    const ofClients = upload.clients.map((client) => {
      const own = this.#byClient.get(client) ?? new Set();
      this.#byClient.set(client, own.add(upload));
      return own;
    });
    const tooMany = ofClients.find(({ size }) => size > this.#most * SHARE);
    if (tooMany !== undefined) giveUpFirst(tooMany);
    else if (this.#byId.size > this.#most) giveUpFirst(this.#byId.values());
  }

  delete(id: string): void {
    const upload = this.#byId.get(id);
    this.#byId.delete(id);
    for (const client of upload?.clients ?? []) {
      const own = this.#byClient.get(client);
      own?.delete(upload!);
      if (own?.size === 0) this.#byClient.delete(client);
    }
  }
}

function giveUpFirst(uploads: Iterable<Interrupted>): void {
  for (const upload of uploads) {
    if (upload.giveUp === null) continue;
    upload.giveUp();
    upload.giveUp = null;
    return;
  }
}
