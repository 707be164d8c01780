/** What a command needs besides its words. */
export interface RunOptions {
  env?: Record<string, string>;
  /** A command that takes longer is ended, and has failed. */
  limitMs: number;
  /** File for the output, which is shown as it comes by default. */
  output?: string;
}

/** Runs one command. False also when there is no such command. */
export async function run(words: string[], options: RunOptions): Promise<boolean> {
  const { env, limitMs, output } = options;
  const [command, ...args] = words;
  const signal = AbortSignal.timeout(limitMs);
  const std = output === undefined ? "inherit" : "piped";
  try {
    const settings = { args, env, stdin: "null", stdout: std, stderr: std, signal } as const;
    const child = new Deno.Command(command, settings).spawn();
    if (output !== undefined) {
      await Promise.all([write(child.stdout, output), write(child.stderr, output)]);
    }
    const { success } = await child.status;
    if (signal.aborted) console.error(`ended after ${limitMs / 1000} s: ${words.join(" ")}`);
    return success;
  } catch (error) {
    console.error(`${words.join(" ")}: ${error}`);
    return false;
  }
}

async function write(text: ReadableStream<Uint8Array>, path: string): Promise<void> {
  // Not by `writable` of a file: what that holds back is lost with a process that is ended.
  for await (const chunk of text) await Deno.writeFile(path, chunk, { append: true });
}
