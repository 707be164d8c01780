/**
 * What a reader has chosen, remembered by the browser.
 * @module
 */

/** How lines are shown. */
export interface Settings {
  theme: "system" | "light" | "dark";
  /** Whether long lines are wrapped. */
  wrap: boolean;
  /** Whether escape sequences give colours. */
  colours: boolean;
  /** Whether lines are shown as they are stored. */
  raw: boolean;
  /** When lines arrived. */
  times: "off" | "clock" | "utc" | "ago" | "elapsed";
  /** Lines shown around each hit while only hits are shown. */
  context: number;
}

const DEFAULTS: Settings = {
  theme: "system",
  wrap: false,
  colours: true,
  raw: false,
  times: "off",
  context: 0,
};
const KEY = "stream.viewer";

/** Where settings are kept. */
export type SettingsStorage = Pick<Storage, "getItem" | "setItem">;

/** Keeps settings where the browser allows it. */
export class SettingsStore {
  #settings: Settings;
  readonly #storage: SettingsStorage;

  /** @param storage Where they are kept; it may throw. */
  constructor(storage: SettingsStorage) {
    this.#storage = storage;
    this.#settings = read(storage);
  }

  /** All of them. */
  get all(): Settings {
    return this.#settings;
  }

  /** Changes some. */
  set(changed: Partial<Settings>): void {
    this.#settings = { ...this.#settings, ...changed };
    try {
      this.#storage.setItem(KEY, JSON.stringify(this.#settings));
    } catch { /* A full or forbidden storage only forgets. */ }
  }
}

function read(storage: SettingsStorage): Settings {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? "{}");
    const known = Object.keys(DEFAULTS).filter((key) =>
      typeof kept[key] === typeof DEFAULTS[key as keyof Settings]
    );
    return { ...DEFAULTS, ...Object.fromEntries(known.map((key) => [key, kept[key]])) };
  } catch {
    return DEFAULTS;
  }
}
