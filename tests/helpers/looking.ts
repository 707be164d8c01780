/** Looks at a path that is followed, when a test says so. */

export interface Looking extends Disposable {
  /** Looks now, and resolves when what is there was found. */
  look(): Promise<void>;
}

/** Makes the `lookAgain` of `src/source/named_files.ts`, where that begins before the end of the scope, look by hand only. */
export function lookingByHand(): Looking {
  const { setTimeout } = globalThis;
  let action: () => unknown = () => {
    throw new Error("nothing looks");
  };
  globalThis.setTimeout = ((given: () => unknown, ...delayMs: number[]) => {
    if (given.name !== "lookAgain") return setTimeout(given, ...delayMs);
    action = given;
    return setTimeout(() => {}, 1_000_000);
  }) as typeof setTimeout;
  return {
    look: async () => void await action(),
    [Symbol.dispose]: () => void (globalThis.setTimeout = setTimeout),
  };
}
