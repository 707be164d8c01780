/** A real nginx in front of a server, with the configuration that docs/operation.md shows. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { within } from "../frames/connection.ts";

/** An nginx that runs until its `await using` ends. */
export interface Nginx extends AsyncDisposable {
  /** Its address. */
  readonly url: string;
}

/**
 * Starts nginx in front of a server.
 * @param server Address of the server.
 * @throws {Error} Where there is no nginx: it is not optional.
 */
export async function startNginx(server: string): Promise<Nginx> {
  const directory = await mkdtemp(join(tmpdir(), "stream-nginx-"));
  const port = await freePort();
  const path = join(directory, "nginx.conf");
  await writeFile(path, configuration(await documentedBlock(), directory, server, port));
  const nginx = spawn("nginx", ["-p", directory, "-e", "stderr", "-c", path], {
    // Where Debian puts it, and where users have no path to.
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  await started(nginx);
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const exited = once(nginx, "exit");
      nginx.kill("SIGTERM");
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The one block of the document that is for nginx. */
async function documentedBlock(): Promise<string> {
  const text = await readFile(new URL("../../../docs/operation.md", import.meta.url), "utf8");
  const [block, ...others] = [...text.matchAll(/^```nginx\n(.*?)^```$/gms)].map(([, code]) => code);
  if (block === undefined || others.length > 0) {
    throw new Error(`docs/operation.md has ${others.length + 1} blocks for nginx`);
  }
  return block;
}

/** Puts the block where nginx finds nothing else, with our ports. */
function configuration(block: string, directory: string, server: string, port: number): string {
  const ours = block
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replace("http://127.0.0.1:8090", server);
  if (!ours.includes(`:${port};`) || !ours.includes(server)) throw new Error(block);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${directory}/${what};`);
  return [
    "daemon off;",
    process.getuid?.() === 0 ? "user root;" : "",
    `pid ${directory}/nginx.pid;`,
    "error_log stderr notice;",
    "events {}",
    `http { access_log off; ${temporary.join(" ")}\n${ours}}`,
  ].join("\n");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function started(nginx: ChildProcess): Promise<void> {
  let said = "";
  const running = new Promise<void>((resolve, reject) => {
    nginx.on("error", ({ message }) =>
      reject(
        new Error(
          `nginx does not start (${message}): install it, e.g. apt-get install nginx-light`,
        ),
      ));
    nginx.on("exit", (code) => reject(new Error(`nginx ended with ${code}: ${said}`)));
    nginx.stderr!.on("data", (chunk) => {
      said += chunk;
      if (said.includes("start worker process")) resolve();
    });
  });
  // Its end after the start is nobody's fault.
  running.catch(() => {});
  await within("nginx", running);
}
