/** A yardstick: nginx from Debian, for finished downloads. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { temporaryPath } from "../helpers/bench.ts";
import { Process } from "../helpers/processes.ts";

/** It stays after a run: it is fetched once. */
const UNPACKED = join(tmpdir(), "stream-bench-nginx");
const INSTALLED = "/usr/sbin/nginx";
const LISTEN_TIMEOUT_MS = 5000;
const LOOK_EVERY_MS = 10;

/** nginx with one worker, as our server has one, sending files of a directory by sendfile. */
export async function startNginx(root: string) {
  const prefix = temporaryPath();
  await mkdir(prefix, { recursive: true });
  const port = await freePort();
  const path = join(prefix, "nginx.conf");
  await writeFile(path, configuration(root, prefix, port));
  const nginx = new Process([
    executable(),
    "-p",
    prefix,
    "-c",
    path,
    "-e",
    join(prefix, "error.log"),
  ]);
  await accepts(port);
  return { url: `http://127.0.0.1:${port}`, pid: nginx.pid, stop: () => nginx.stop() };
}

function configuration(root: string, prefix: string, port: number): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(prefix, name)};`).join("\n    ");
  return `daemon off;
master_process off;
pid ${join(prefix, "nginx.pid")};
error_log ${join(prefix, "error.log")};
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    ${temporary}
    server { listen 127.0.0.1:${port}; root ${root}; }
}
`;
}

/** The installed one, or Debian's package unpacked beside; throws where neither can be had. */
function executable(): string {
  if (existsSync(INSTALLED)) return INSTALLED;
  const unpacked = join(UNPACKED, INSTALLED);
  if (existsSync(unpacked)) return unpacked;
  const script = `mkdir -p "${UNPACKED}" && cd "${UNPACKED}" && apt-get download -q nginx >&2 && ` +
    "dpkg -x nginx_*.deb .";
  try {
    execFileSync("sh", ["-c", script], { stdio: ["ignore", "ignore", "pipe"], encoding: "utf8" });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    const why = `nginx is not installed and Debian's package cannot be fetched: ${stderr ?? error}`;
    throw new Error(`${why}; run \`apt-get update && apt-get install -y nginx-light\``);
  }
  return unpacked;
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until somebody accepts connections. */
export async function accepts(port: number): Promise<void> {
  const endAtMs = performance.now() + LISTEN_TIMEOUT_MS;
  while (performance.now() < endAtMs) {
    const socket = connect(port, "127.0.0.1");
    const isOpen = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`nobody listens on port ${port}`);
}
