/** Looks at a path that is followed, when a test says so. */

export interface Looking extends Disposable {
  /** Looks now, and resolves when what is there was found. */
  look(): Promise<void>;
  /** After how long it would have looked by itself, in ms. */
  readonly dueMs: number;
}

/** Makes the `lookAgain` of `src/source/named_files.ts`, where that begins before the end of the scope, look by hand only. */
export function lookingByHand(): Looking {
  const { setTimeout } = globalThis;
  let action: () => unknown = () => {
    throw new Error("nothing looks");
  };
  let dueMs = Infinity;
  globalThis.setTimeout = ((given: () => unknown, delayMs = 0) => {
    if (given.name !== "lookAgain") return setTimeout(given, delayMs);
    action = given;
    dueMs = delayMs;
    return setTimeout(() => {}, 1_000_000);
  }) as typeof setTimeout;
  return {
    look: async () => void await action(),
    get dueMs() {
      return dueMs;
    },
    [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout),
  };
}
