/**
 * What the options of `stream serve` say to a server.
 * @module
 */
import { hostname } from "node:os";
import { httpBase } from "../../protocol.ts";
import type { StepContexts } from "../../server.ts";
import type { Options } from "../command.ts";

/** Disk space that stays free: what a system needs to go on, logs of its own included. */
const MIN_FREE_BYTES = 1_000_000_000;

/** Settings of the server, but for where it listens and keeps its data. */
export function settingsOf(options: Options) {
  return {
    baseUrl: addressOf(options, "base-url"),
    checkpointIntervalMs: options.number("checkpoint-interval"),
    durability: durabilityOf(options),
    resumeWindowMs: options.number("resume-window"),
    requireContext: options.flag("require-context"),
    stepContexts: stepContextsOf(options),
    allowOrigins: originsOf(options),
    allowHosts: hostsOf(options),
    trustProxy: options.flag("trust-proxy"),
    viewer: !options.flag("no-viewer"),
    tus: !options.flag("no-tus"),
    durableStreams: !options.flag("no-durable-streams"),
    maxUploads: options.number("max-uploads"),
    maxClientUploads: options.number("max-client-uploads"),
    uploadSilenceMs: options.number("upload-silence"),
    maxConnections: options.number("max-connections"),
    maxClientConnections: options.number("max-client-connections"),
    maxFollowers: options.number("max-followers"),
    maxTotalBytes: options.number("max-total"),
    maxContextBytes: options.number("max-context-size"),
    minFreeBytes: options.number("min-free") ?? MIN_FREE_BYTES,
    retentionMs: options.number("retention"),
    maxResourceBytes: options.number("max-resource-size"),
  };
}

/** The interface to listen on. */
export function hostOf(options: Options): string {
  return options.text("host") ?? "127.0.0.1";
}

/** An origin as browsers write it: anything else would let nobody in. */
const ORIGIN = /^(\*|null|[a-z][\w+.-]*:\/\/[^/?#@\s]+)$/;

function originsOf(options: Options): string[] {
  const origins = options.list("allow-origin");
  if (origins.every((origin) => ORIGIN.test(origin))) return origins;
  throw options.wrong("allow-origin", "that is no origin such as https://app.example.org, nor *");
}

/** Names of the server besides those that it knows; undefined leaves requests with credentials unchecked. */
function hostsOf(options: Options): string[] | undefined {
  const allowed = options.list("allow-host");
  const hasCredentials = options.text("auth") !== undefined;
  if (hasCredentials && allowed.length === 0) return undefined;
  const node = addressOf(options, "node-url");
  const given = node === undefined ? allowed : [...allowed, new URL(node).host];
  if (hasCredentials) return given;
  // Where every interface is listened on, others of the network ask by the name of the machine.
  return ["0.0.0.0", "::"].includes(hostOf(options)) ? [...given, hostname()] : given;
}

/** A port, if it was given. */
export function portOf(options: Options, name: string): number | undefined {
  const port = options.number(name);
  if (port === undefined || port <= 65_535) return port;
  throw options.wrong(name, "there is no such port");
}

/** The address that an option has, if it was given. */
export function addressOf(options: Options, name: string): string | undefined {
  const url = options.text(name);
  try {
    return url === undefined ? undefined : httpBase(url);
  } catch {
    throw options.wrong(name, "that is no address such as https://logs.example.org");
  }
}

function durabilityOf(options: Options): "os" | "disk" | undefined {
  const durability = options.text("durability");
  if (durability === undefined || durability === "os" || durability === "disk") return durability;
  throw options.wrong("durability", "that is neither os nor disk");
}

function stepContextsOf(options: Options): StepContexts | undefined {
  const which = options.text("step-contexts");
  if (which === undefined || which === "known" || which === "make") return which;
  throw options.wrong("step-contexts", "that is neither known nor make");
}
