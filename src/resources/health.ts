/**
 * Whether uploads should be sent to this server.
 * @module
 */
import type { Catalog } from "../catalog.ts";
import { type StreamError, toStreamError } from "../protocol.ts";

/** A disk that refused bytes is held for broken so long, unless it takes others; then uploads must find out. */
const REFUSAL_MS = 30_000;

/** A look at the catalog is believed for so long, as everybody may ask. */
const PROBE_MS = 2000;

/** Knows in which state a server is, and what the disk did last. */
export class Health {
  #refusedAtMs = -Infinity;

  #probedAtMs = -Infinity;
  /** Why the catalog takes no records; null while it does. */
  #refusal: StreamError | null = null;

  /** Whether it is before, in or after its time of service. */
  state: "RECOVERING" | "SERVING" | "CLOSED" = "RECOVERING";

  /** Uploads can be sent here from now on, unless it is closed by now. */
  serves(): void {
    if (this.state === "RECOVERING") this.state = "SERVING";
  }

  /** The disk took bytes (null), or refused them; other errors say nothing about it. */
  stored(error: StreamError | null): void {
    if (error === null) this.#refusedAtMs = -Infinity;
    else if (error.code === "STORAGE_FAILED") this.#refusedAtMs = performance.now();
  }

  /** Finds out whether the catalog takes records. */
  async probe(catalog: Catalog): Promise<void> {
    if (catalog.probe === undefined || performance.now() - this.#probedAtMs < PROBE_MS) return;
    this.#probedAtMs = performance.now();
    this.#refusal = await catalog.probe().then(() => null, toStreamError);
  }

  /** Why no upload should be sent here now, in words for anybody: no path, no id. Nothing when all is well. */
  reasons({ isDiskFull, isStalled }: { isDiskFull: boolean; isStalled: boolean }): string[] {
    const reasons: string[] = [];
    if (this.state === "RECOVERING") reasons.push("the server is recovering");
    if (this.state === "CLOSED") reasons.push("the server is shutting down");
    if (this.#refusal !== null) {
      reasons.push(`the catalog takes no records: ${culpritOf(this.#refusal)}`);
    }
    if (isStalled) reasons.push("uploads wait: the engine of the cluster takes nothing");
    if (isDiskFull) reasons.push("less is free than must stay so: see --min-free");
    if (performance.now() - this.#refusedAtMs < REFUSAL_MS) {
      reasons.push("the disk refused bytes: see the log of the server");
    }
    return reasons;
  }
}

/** Who is to blame, and what to do, as far as that says nothing of paths. */
function culpritOf({ code, message }: StreamError): string {
  if (code === "NOT_READY") return "the engine of the cluster does not answer";
  const isTold = code === "WRONG_STATE" || code === "QUOTA_EXCEEDED";
  return isTold ? message : "see the data directory";
}
