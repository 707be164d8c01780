/** What a command needs besides its words. */
export interface RunOptions {
  env?: Record<string, string>;
  /** A command that takes longer is ended, and has failed. */
  limitMs: number;
}

/** Runs one command, its output shown as it comes. False also when there is no such command. */
export async function run(words: string[], { env, limitMs }: RunOptions): Promise<boolean> {
  const [command, ...args] = words;
  const signal = AbortSignal.timeout(limitMs);
  try {
    const child = new Deno.Command(command, { args, env, stdin: "null", signal }).spawn();
    const { success } = await child.status;
    if (signal.aborted) console.error(`ended after ${limitMs / 1000} s: ${words.join(" ")}`);
    return success;
  } catch (error) {
    console.error(`${words.join(" ")}: ${error}`);
    return false;
  }
}
