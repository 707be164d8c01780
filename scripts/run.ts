/** What a command needs besides its words. */
export interface RunOptions {
  env?: Record<string, string>;
  /** A command that takes longer is ended, and has failed. */
  limitMs: number;
}

/** Runs one command, its output shown as it comes, and says whether it succeeded. */
export async function run(words: string[], { env, limitMs }: RunOptions): Promise<boolean> {
  const [command, ...args] = words;
  const signal = AbortSignal.timeout(limitMs);
  const { success } = await new Deno.Command(command, { args, env, stdin: "null", signal })
    .spawn().status;
  if (signal.aborted) console.error(`ended after ${limitMs / 1000} s: ${words.join(" ")}`);
  return success;
}
