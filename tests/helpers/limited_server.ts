/** A real server, by the runtime of this test, whose files may not grow beyond a size. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { within } from "./connection.ts";

const PROGRAM = fileURLToPath(new URL("../../cli.ts", import.meta.url));
/** POSIX counts in these. */
const BLOCK_BYTES = 512;

export interface LimitedServer extends AsyncDisposable {
  url: string;
}

/**
 * Starts `stream serve` under a shell's `ulimit -f`: a write beyond it is torn, the next one refused (EFBIG).
 *
 * @param directory Where it keeps its data.
 * @param fileBytes Size that no file of it may exceed; Infinity for no limit.
 */
export async function limitedServer(directory: string, fileBytes: number): Promise<LimitedServer> {
  const limit = fileBytes === Infinity ? "unlimited" : String(fileBytes / BLOCK_BYTES);
  const runtime = [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : []];
  const server = spawn("sh", [
    ...["-c", `trap '' XFSZ; ulimit -f ${limit}; exec "$@"`, "sh", ...runtime, PROGRAM],
    ...["serve", "--port", "0", "--data", directory, "--min-free", "0"],
  ]);
  const [line] = await within("a server", once(server.stdout, "data"));
  const url = /^listening on (\S+)/.exec(String(line))?.[1] ?? "";
  return { url, [Symbol.asyncDispose]: () => end(server) };
}

async function end(server: ChildProcess): Promise<void> {
  const ended = once(server, "close");
  server.kill("SIGTERM");
  await within("the end of a server", ended);
}
