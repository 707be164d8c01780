/**
 * `stream serve`.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { SqliteCatalog } from "../../catalog/sqlite.ts";
import { loadRuntime } from "../../runtime/load.ts";
import { StreamError } from "../../protocol.ts";
import { createServer, type ListenerOptions, type StreamServer } from "../../server.ts";
import { FileStorage } from "../../storage/file.ts";
import { type Command, EXIT, type Options, UsageError } from "../command.ts";
import { accessOf, AUTH_OPTIONS, checkExposure, makePrivate, warnOfOthers } from "../auth.ts";
import { commonOf } from "../cluster/common_settings.ts";
import type { ClusterNode } from "../cluster/node.ts";
import { lockDirectory } from "../lock.ts";
import { CLUSTER_OPTIONS } from "./cluster.ts";
import { Announcer } from "../output/output.ts";
import { onEnd } from "../signals.ts";
import { type Log, logUploads, serverLog, toAccessLog } from "../serve/log.ts";
import { addressOf, hostOf, portOf, settingsOf } from "../serve/settings.ts";
import { endsWithin } from "../../timer.ts";
import { Tls } from "../tls.ts";
import { catalogPath, hasLostUpdates, warnOfLostRecords } from "../unknown_logs.ts";

/**
 * So long it waits for the storage when it ends: what is not acknowledged by then clients send again. Longer than an engine
 * takes to elect a leader; twice that is less than the 30 s after which Kubernetes kills.
 */
const END_MS = 12_000;

/** Runs a server until it is told to end. */
export const serve: Command = {
  name: "serve",
  summary: "run a server; everything it needs is built in",
  positionals: [],
  options: {
    host: { kind: "text", value: "HOST", help: "interface to listen on (default 127.0.0.1)" },
    ...AUTH_OPTIONS,
    port: { kind: "count", value: "PORT", help: "port to listen on; 0: a free one (default 8090)" },
    data: {
      kind: "text",
      value: "DIR",
      help: "directory of the data; each node of a cluster has its own (default ./stream-data)",
    },
    ...CLUSTER_OPTIONS,
    drain: {
      kind: "duration",
      value: "TIME",
      help:
        "when told to end, be not ready for so long before uploads are handed over (default 0s)",
    },
    "tls-cert": {
      kind: "text",
      value: "FILE",
      help: "serve https: and wss: with this certificate, in PEM; SIGHUP reads it again",
    },
    "tls-key": { kind: "text", value: "FILE", help: "private key of --tls-cert, in PEM" },
    "base-url": {
      kind: "text",
      value: "URL",
      help: "base of the references that uploads get (default: the Host of each request)",
    },
    "node-url": {
      kind: "text",
      value: "URL",
      help:
        "address of this node of a cluster, if clients reach it: those of a node that ends are sent there (default: none)",
    },
    "checkpoint-interval": {
      kind: "duration",
      value: "TIME",
      help:
        "shortest time between two checkpoints of a resource under load (default: what they cost at the moment, 5ms to 50ms)",
    },
    "step-port": {
      kind: "count",
      value: "PORT",
      help: "port for Step clients, at frame level; 0: a free one (default: none)",
    },
    "step-base-url": {
      kind: "text",
      value: "URL",
      help: "base of the references that uploads on --step-port get (default: the Host)",
    },
    "step-contexts": {
      kind: "text",
      value: "known|make",
      help:
        "contexts that Step clients may name: known ones, or any: make what nobody made (default known)",
    },
    durability: {
      kind: "text",
      value: "os|disk",
      help:
        "what acknowledged bytes survive: os (a killed server) or disk (a power loss) (default os)",
    },
    "resume-window": {
      kind: "duration",
      value: "TIME",
      help: "an interrupted upload can be resumed for so long, then it is FAILED (default 60s)",
    },
    "require-context": { kind: "flag", help: "refuse uploads without an upload context" },
    "allow-origin": {
      kind: "list",
      value: "ORIGIN",
      help: "origin whose pages may connect, besides our own; * for all; can be repeated",
    },
    "allow-host": {
      kind: "list",
      value: "NAME",
      help:
        "without --auth: a name, besides its own, by which the server is asked; * for all; can be repeated",
    },
    "max-uploads": { kind: "count", value: "N", help: "uploads at the same time (default 1000)" },
    "max-client-uploads": {
      kind: "count",
      value: "N",
      help:
        "uploads at the same time of one token, and of one address but loopback (default: half of --max-uploads)",
    },
    "upload-silence": {
      kind: "duration",
      value: "TIME",
      help: "give an upload by HTTP up that sends nothing for so long (default 24h)",
    },
    "max-connections": {
      kind: "count",
      value: "N",
      help: "WebSocket connections at the same time (default 20000)",
    },
    "max-client-connections": {
      kind: "count",
      value: "N",
      help:
        "the same, of one token, and of one address but loopback (default: half of --max-connections)",
    },
    "max-followers": {
      kind: "count",
      value: "N",
      help: "connections that have one resource open (default 20000)",
    },
    "max-total": {
      kind: "size",
      value: "SIZE",
      help: "bytes of all resources; finished ones are deleted, oldest first (default: no limit)",
    },
    "max-context-size": {
      kind: "size",
      value: "SIZE",
      help: "bytes of all resources of one upload context (default: no limit)",
    },
    "min-free": {
      kind: "size",
      value: "SIZE",
      help: "bytes of disk space that must stay free (default 1GB)",
    },
    retention: {
      kind: "duration",
      value: "TIME",
      help: "delete finished resources so long after their end (default: never)",
    },
    "max-resource-size": {
      kind: "size",
      value: "SIZE",
      help: "largest size of one resource (default 1TiB)",
    },
    "trust-proxy": {
      kind: "flag",
      help: "believe the X-Forwarded-… headers: every request comes through one proxy",
    },
    "trusted-network": {
      kind: "flag",
      help:
        "on Deno: the runtime's own, faster server, which bounds neither connections nor messages",
    },
    "access-log": {
      kind: "flag",
      help: "log every finished request and WebSocket connection, without queries and secrets",
    },
    "no-viewer": { kind: "flag", help: "show people with a browser no pages, only the interface" },
    "no-durable-streams": {
      kind: "flag",
      help: "take no clients of Durable Streams, at /streams",
    },
    "no-tus": { kind: "flag", help: "take no uploads from clients of tus, at /tus" },
    "log-format": {
      kind: "text",
      value: "human|json",
      help: "log to stderr as human or json (default human)",
    },
  },
  examples: [
    "stream serve",
    "stream serve --host 0.0.0.0 --auth tokens --data /var/lib/stream --base-url https://logs.example.org",
  ],
  run: (_args, options) => runServer(options),
};

async function runServer(options: Options): Promise<number> {
  const secure = await Tls.of(options);
  const main = {
    hostname: hostOf(options),
    port: portOf(options, "port") ?? 8090,
    runtime: secure?.runtime,
    baseUrl: addressOf(options, "base-url"),
  };
  const step = await stepListener(options, secure);
  const directory = options.text("data") ?? "./stream-data";
  const log = serverLog(options);
  const settings = settingsOf(options);
  const accessLog = options.flag("access-log") ? toAccessLog(log) : undefined;
  checkExposure(main.hostname, options);
  makePrivate(options);
  const lostUpdates = hasLostUpdates(directory);
  const unlock = await lockDirectory(directory);
  try {
    await warnOfOthers(options, directory, log);
    const place = await placeOf(options, directory);
    const { storage, catalog } = place;
    try {
      await warnOfLostRecords(directory, catalog, log, lostUpdates);
      const runtime = await loadRuntime({ trustedNetwork: options.flag("trusted-network") });
      const access = await accessOf(options, directory, log, place);
      const parts = { runtime, storage, catalog, access, log, accessLog };
      const server = createServer({ ...parts, ...settings, ...place.settings });
      secure?.reloadOnSignal(log);
      const given = {
        address: addressOf(options, "node-url"),
        settings: commonOf(options, serve.options),
      };
      const fault = place.join?.(given, () => server.resources.uploads);
      for (const setting of await place.disagreements?.() ?? []) {
        log.error("nodes disagree", { setting });
      }
      place.onLimit?.((reason) => log.error("the engine refuses", { reason }));
      void place.lost?.then(({ message }) => log.error("records are lost", { reason: message }));
      const scheme = secure === null ? "http" : "https";
      const reason = await listenUntilStopped(server, { main, step, scheme }, log, fault);
      log.info("stopping", typeof reason === "string" ? { signal: reason } : { ...reason });
      server.drain();
      await Promise.all([place.drain?.(), sleep(options.number("drain") ?? 0)]);
      if (!await endsWithin(END_MS, server.close(await place.others?.()))) {
        log.error("the storage took nothing of what was to be handed over", { waitedMs: END_MS });
      }
      if (typeof reason !== "string") throw new StreamError("CONFLICT", reason.message);
    } finally {
      await endsWithin(END_MS, place.close());
    }
    return EXIT.ok;
  } finally {
    await unlock();
  }
}

/** Where bytes and records are, and what else follows from that. */
type Place = Pick<ClusterNode, "storage" | "catalog" | "close"> & Partial<ClusterNode>;

/** The data directory or, for a node of a cluster, the engine. */
async function placeOf(options: Options, directory: string): Promise<Place> {
  if (options.text("cluster") !== undefined) {
    if (options.text("base-url") === undefined) {
      throw new UsageError(
        "--cluster wants --base-url URL: references name the service, whichever node they come from",
      );
    }
    // Nothing else needs the client of the engine.
    return await (await import("../cluster/node.ts")).openNode(options, directory);
  }
  if (options.text("node-url") !== undefined) {
    throw new UsageError("--node-url goes with --cluster");
  }
  const catalog = new SqliteCatalog(catalogPath(directory));
  const storage = new FileStorage(directory);
  return {
    storage,
    catalog,
    async close() {
      await storage.close();
      await catalog.close();
    },
  };
}

/** Where a server listens. */
interface Listeners {
  main: ListenerOptions;
  step: ListenerOptions | null;
  scheme: string;
}

/**
 * Listens until there is a reason to end.
 * @returns The signal, or what is wrong with this server itself.
 */
async function listenUntilStopped(
  server: StreamServer,
  { main, step, scheme }: Listeners,
  log: Log,
  fault: Promise<{ message: string }> = new Promise(() => {}),
): Promise<string | { message: string }> {
  logUploads(server.resources, log);
  const stopped = Promise.race([stopSignal(scheme === "https"), fault]);
  const address = await listen(server, main, scheme);
  if (step !== null) {
    log.info("listening for Step clients", {
      address: await listen(server, step, scheme),
    });
  }
  // The work goes on whoever reads.
  await new Announcer().say(log.listening(address));
  return await stopped;
}

/** The address it listens on. */
async function listen(
  server: StreamServer,
  options: ListenerOptions,
  scheme: string,
): Promise<string> {
  const { hostname = "127.0.0.1" } = options;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const base = `${scheme}://${host}`;
  const { port } = await server.listen(options).catch((error) => {
    throw cannotListen(`${base}:${options.port}`, error);
  });
  return `${base}:${port}`;
}

/** A port whose connections are handled frame by frame, as the one-message uploads of Step clients need. */
async function stepListener(
  options: Options,
  secure: Tls | null,
): Promise<ListenerOptions | null> {
  const port = portOf(options, "step-port");
  const baseUrl = addressOf(options, "step-base-url");
  if (port === undefined) {
    if (baseUrl !== undefined) throw new UsageError("--step-base-url goes with --step-port");
    return null;
  }
  const runtime = secure?.runtime ?? (await import("../../runtime/frames.ts")).framesRuntime();
  return { hostname: hostOf(options), port, baseUrl, runtime, forStep: true };
}

const NO_ADDRESS = "this machine has no such address: give one of its own, 0.0.0.0 or ::";
/** Why nobody can listen, by the code of the system; each runtime has one of its own for a host that is none. */
const LISTEN_REASONS: Record<string, string> = {
  EADDRINUSE: "the port is taken: stop what listens there, or give another port",
  EACCES: "permission is denied: ports below 1024 are for root and CAP_NET_BIND_SERVICE",
  EADDRNOTAVAIL: NO_ADDRESS,
  EINVAL: NO_ADDRESS,
  ENOENT: NO_ADDRESS,
  ENOTFOUND: NO_ADDRESS,
};

/** The runtimes say neither where nor what to do. */
function cannotListen(address: string, error: unknown): unknown {
  if (error instanceof StreamError) return error;
  const { code = "", message } = error as Error & { code?: string };
  const reason = LISTEN_REASONS[code] ?? message;
  return new StreamError("CONFLICT", `cannot listen on ${address}: ${reason}`, { cause: error });
}

/** With a certificate, SIGHUP reads that again. */
function stopSignal(hasCertificate: boolean): Promise<string> {
  return new Promise((resolve) =>
    onEnd(resolve, hasCertificate ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGHUP"])
  );
}
