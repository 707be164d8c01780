/**
 * `stream ls`.
 * @module
 */
import { listResources } from "../../client.ts";
import type { ResourceInfo } from "../../protocol.ts";
import { type Command, EXIT, SERVER_OPTION } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { printLine, visible, visibleJson } from "../output.ts";

/** Lists resources. */
export const ls: Command = {
  name: "ls",
  summary: "list resources, newest first",
  positionals: [],
  options: {
    context: { kind: "text", value: "ID", help: "only those of one upload context" },
    limit: { kind: "count", value: "N", help: "at most so many resources (default: all)" },
    json: { kind: "flag", help: "print one JSON array" },
    ...SERVER_OPTION,
  },
  examples: ["stream ls --limit 20", "stream ls --context run-17 --json"],
  async run(_args, options) {
    const limit = options.number("limit") ?? Infinity;
    const json = options.flag("json");
    const { server, token } = await credentialsOf(options);
    const resources = listResources(server, { contextId: options.text("context"), token });
    let shown = 0;
    for await (const info of resources) {
      if (shown >= limit) break;
      await printLine(json ? (shown === 0 ? "[" : ",") + visibleJson(info) : describe(info));
      shown++;
    }
    if (json) await printLine(shown === 0 ? "[]" : "]");
    return EXIT.ok;
  },
};

function describe(info: ResourceInfo): string {
  const { id, transferStatus, currentSize, numberOfLines, createdAt, filename } = info;
  const lines = numberOfLines === null ? "-" : String(numberOfLines);
  const columns = [
    id,
    transferStatus.padEnd(11),
    String(currentSize).padStart(14),
    lines.padStart(10),
    createdAt,
    filename,
  ];
  return visible(columns.join("  "));
}
