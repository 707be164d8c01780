/** A real server, by the runtime of this test, whose files have a largest size, or that may open only so many. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { within } from "../frames/connection.ts";

const PROGRAM = fileURLToPath(new URL("../../../cli.ts", import.meta.url));
/** POSIX counts in these. */
const BLOCK_BYTES = 512;

export interface LimitedServer extends AsyncDisposable {
  url: string;
}

/** What a shell's `ulimit` allows. */
export interface Limits {
  /** Size of a file: a write beyond it is torn, the next one refused (EFBIG). */
  fileBytes?: number;
  /** File descriptors, those of connections among them (EMFILE). */
  descriptors?: number;
}

/** Starts `stream serve` on data in a directory, under limits. */
export async function limitedServer(
  directory: string,
  { fileBytes, descriptors }: Limits = {},
): Promise<LimitedServer> {
  const limits = [
    ...fileBytes === undefined ? [] : [`ulimit -f ${fileBytes / BLOCK_BYTES}`],
    ...descriptors === undefined ? [] : [`ulimit -n ${descriptors}`],
  ];
  const runtime = [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : []];
  const server = spawn("sh", [
    ...["-c", ["trap '' XFSZ", ...limits, 'exec "$@"'].join("; "), "sh", ...runtime, PROGRAM],
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
