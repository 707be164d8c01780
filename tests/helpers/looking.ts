/** Looks at a path that is followed, when a test says so. */

/** As `src/source/named_files.ts` has it. */
const LOOK_EVERY_MS = 200;

export interface Looking extends Disposable {
  /** Looks now, and resolves when what is there was found. */
  look(): Promise<void>;
}

/** Makes what looks every 200 ms, and begins before the end of the scope, look by hand only. */
export function lookingByHand(): Looking {
  const { setInterval } = globalThis;
  let action: () => unknown = () => {
    throw new Error("nothing looks");
  };
  globalThis.setInterval = ((given: () => unknown, delayMs: number) => {
    if (delayMs !== LOOK_EVERY_MS) return setInterval(given, delayMs);
    action = given;
    return setInterval(() => {}, 1_000_000);
  }) as typeof setInterval;
  return {
    look: async () => void await action(),
    [Symbol.dispose]: () => void (globalThis.setInterval = setInterval),
  };
}
