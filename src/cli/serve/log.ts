/**
 * What a server says on stderr.
 * @module
 */
import type { AccessEntry, ServerLog, ServerResources } from "../../server.ts";
import type { Options } from "../command.ts";
import { visibleJson } from "../output/output.ts";
import { writeLine } from "../output/stderr.ts";

/** Logs what becomes of uploads and resources. */
export function logUploads(resources: ServerResources, log: ServerLog): void {
  resources.listen((event) => {
    switch (event.type) {
      case "created":
        return log.info("upload started", { id: event.id, filename: event.metadata.filename });
      case "refused":
        return log.info("upload refused", { code: event.error.code, reason: event.error.message });
      case "deleted":
        return log.info("resource deleted", { id: event.id });
      case "status": {
        const { transferStatus, currentSize, failure } = event.status;
        const reason = failure === null ? {} : { reason: failure };
        log.info("upload ended", { id: event.id, transferStatus, bytes: currentSize, ...reason });
      }
    }
  }, { transferStatuses: ["COMPLETED", "FAILED"] });
}

/** Logs finished requests and connections. */
export function toAccessLog(log: ServerLog): (entry: AccessEntry) => void {
  return (entry) => log.info("access", { ...entry });
}

/** A log, and the line on stdout that says where the server listens, in the same format. */
export interface Log extends ServerLog {
  listening(address: string): string;
}

/** A log on stderr, in the format of `--log-format`. */
export function serverLog(options: Options): Log {
  const format = options.text("log-format") ?? "human";
  if (format !== "human" && format !== "json") {
    throw options.wrong("log-format", "that is neither human nor json");
  }
  const lineOf = (level: string, event: string, fields: Record<string, unknown>) => {
    const time = new Date().toISOString();
    if (format === "json") return visibleJson({ time, level, event, ...fields });
    return [time, level.padEnd(5), event, ...Object.entries(fields).map(pair)].join(" ");
  };
  let lost = 0;
  const write = (level: string, event: string, fields: Record<string, unknown>) => {
    if (lost > 0 && writeLine(lineOf("error", "log lines were lost", { lines: lost }))) lost = 0;
    if (!writeLine(lineOf(level, event, fields))) lost++;
  };
  return {
    info: (event, fields) => write("info", event, fields),
    error: (event, fields) => write("error", event, fields),
    listening: (address) =>
      format === "json" ? lineOf("info", "listening", { address }) : `listening on ${address}`,
  };
}

/** Values are quoted, so that a name chosen by somebody else cannot forge a line. */
function pair([name, value]: [string, unknown]): string {
  return `${name}=${visibleJson(value)}`;
}
