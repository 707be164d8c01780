/**
 * A value that changes, for readers who each want the newest.
 * @module
 */
import { Bell } from "./bell.ts";

/** Holds the newest value and hands it to any number of readers until it ends. */
export class Latest<T> {
  #value: T;
  #version = 0;
  #ended = false;
  readonly #changed = new Bell();

  /** @param value The first value. */
  constructor(value: T) {
    this.#value = value;
  }

  /** The newest value. */
  get value(): T {
    return this.#value;
  }

  /** Makes a value the newest. */
  set(value: T): void {
    this.#value = value;
    this.#version++;
    this.#changed.ring();
  }

  /** Ends every reader after the newest value. */
  end(): void {
    this.#ended = true;
    this.#changed.ring();
  }

  /**
   * The newest value at once, then every change a reader has time for.
   * @param isWanted Which values it wants; all by default.
   */
  async *values(isWanted: (value: T) => boolean = () => true): AsyncGenerator<T, void, void> {
    for (let seen = -1;;) {
      if (seen !== this.#version) {
        seen = this.#version;
        if (isWanted(this.#value)) yield this.#value;
      } else if (this.#ended) return;
      else await this.#changed.rung();
    }
  }
}
