/**
 * Places of searches: so many run at the same time, and one whose reader takes nothing runs no more.
 * @module
 */
import { StreamError } from "../../../protocol.ts";
import type { Shares } from "../../access/shares.ts";

/** A reader that took nothing for so long needs no place until it comes again. */
const STALLED_MS = 1000;

/** Settings of {@link SearchPlaces}. */
export interface SearchPlacesOptions {
  /** Searches that run at the same time. */
  max: number;
  /** What of them each client may have. */
  shares: Shares;
  /** Time in ms after which a search that nobody reads gives its place back; 1000 by default. */
  stalledMs?: number;
}

/** The places of a port. */
export class SearchPlaces {
  readonly #options: Required<SearchPlacesOptions>;
  /** Searches that were read again and have no place yet, in their order. */
  readonly #waiting = new Set<SearchPlace>();
  #running = 0;

  /** @param options How many there are. */
  constructor(options: SearchPlacesOptions) {
    this.#options = { stalledMs: STALLED_MS, ...options };
  }

  /**
   * A place for a new search.
   * @param clients Whose it is.
   * @throws {StreamError} LIMIT_REACHED when all run that may, or those that the client may have.
   */
  take(clients: readonly string[]): SearchPlace {
    const { max, shares, stalledMs } = this.#options;
    if (this.#running >= max) {
      throw new StreamError(
        "LIMIT_REACHED",
        `${this.#running} searches are running: try again later`,
      );
    }
    shares.check(clients);
    const place: SearchPlace = new SearchPlace({
      stalledMs,
      hold: () => this.#hold(clients),
      wait: () => {
        this.#waiting.add(place);
        this.#serve();
      },
      forget: () => void this.#waiting.delete(place),
      mayRun: () => this.#running < max && shares.hasRoom(clients),
    });
    return place;
  }

  #hold(clients: readonly string[]): () => void {
    this.#running++;
    const giveBack = this.#options.shares.hold(clients);
    return () => {
      this.#running--;
      giveBack();
      this.#serve();
    };
  }

  #serve(): void {
    for (const place of this.#waiting) {
      if (!place.mayRun) continue;
      this.#waiting.delete(place);
      place.run();
    }
  }
}

/** What a place may ask of all places. */
interface PlaceParts {
  stalledMs: number;
  hold(): () => void;
  wait(): void;
  forget(): void;
  mayRun(): boolean;
}

/** The place of one search. */
export class SearchPlace {
  readonly #parts: PlaceParts;
  #giveBack: (() => void) | null;
  #stalled: ReturnType<typeof setTimeout> | undefined;
  #wake = () => {};

  /** Use {@link SearchPlaces.take}. */
  constructor(parts: PlaceParts) {
    this.#parts = parts;
    this.#giveBack = parts.hold();
  }

  /** Whether it could have a place now. */
  get mayRun(): boolean {
    return this.#parts.mayRun();
  }

  /** Begins, or goes on. */
  run(): void {
    this.#giveBack ??= this.#parts.hold();
    this.#wake();
  }

  /** Its reader is waited for: if that takes long, others may search meanwhile. */
  pause(): void {
    this.#stalled = setTimeout(() => this.#leave(), this.#parts.stalledMs);
  }

  /**
   * Its reader came again.
   * @param signal Ends the wait for a place; the place is not held then.
   */
  async resume(signal: AbortSignal): Promise<void> {
    clearTimeout(this.#stalled);
    if (this.#giveBack !== null || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    this.#wake = wake;
    signal.addEventListener("abort", wake);
    this.#parts.wait();
    await promise;
    signal.removeEventListener("abort", wake);
    this.#parts.forget();
  }

  /** The search is over. */
  end(): void {
    clearTimeout(this.#stalled);
    this.#parts.forget();
    this.#leave();
  }

  #leave(): void {
    this.#giveBack?.();
    this.#giveBack = null;
  }
}
