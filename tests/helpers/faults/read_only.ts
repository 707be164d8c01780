/** A real server, by the runtime of this test, whose data directory can be made read-only: a mount of its own. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { within } from "../frames/connection.ts";

const PROGRAM = fileURLToPath(new URL("../../../cli.ts", import.meta.url));

export interface RemountedServer extends AsyncDisposable {
  url: string;
  /** Mounts its data directory anew; what is open stays as it is. */
  remount(mode: "ro" | "rw"): void;
}

/** Starts `stream serve` on data in a directory, in namespaces of its own: `unshare` of util-linux makes them. */
export async function remountedServer(directory: string): Promise<RemountedServer> {
  const runtime = [process.execPath, ..."Deno" in globalThis ? ["run", "-A"] : []];
  const server = spawn("unshare", [
    ...["-rm", "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', directory],
    ...[...runtime, PROGRAM, "serve", "--port", "0", "--data", directory, "--min-free", "0"],
  ]);
  const [line] = await within("a server", once(server.stdout, "data"));
  const url = /^listening on (\S+)/.exec(String(line))?.[1] ?? "";
  const inside = (...words: string[]) =>
    execFileSync("nsenter", [
      "-t",
      String(server.pid),
      "-U",
      "-m",
      "--preserve-credentials",
      ...words,
    ]);
  // Files that are open for writing keep their mount from turning read-only: another one lies over it then.
  const remount = (mode: "ro" | "rw") => {
    if (mode === "rw") return void inside("mount", "-o", "remount,rw,bind", directory);
    inside("mount", "--bind", directory, directory);
    inside("mount", "-o", "remount,ro,bind", directory);
  };
  return { url, remount, [Symbol.asyncDispose]: () => end(server) };
}

async function end(server: ChildProcess): Promise<void> {
  const ended = once(server, "close");
  server.kill("SIGTERM");
  await within("the end of a server", ended);
}
