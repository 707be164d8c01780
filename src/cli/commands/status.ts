/**
 * `stream status`.
 * @module
 */
import { getResource } from "../../client.ts";
import type { ResourceInfo } from "../../protocol.ts";
import { type Command, EXIT, SERVER_OPTION, table } from "../command.ts";
import { printLine, visible, visibleJson } from "../output/output.ts";
import { outcomeText } from "../uploads/outcome.ts";
import { resourceOf } from "../references.ts";

/** Shows one resource. */
export const status: Command = {
  name: "status",
  summary: "show what the server knows of a resource",
  positionals: ["REF"],
  options: {
    json: { kind: "flag", help: "print one JSON object" },
    ...SERVER_OPTION,
  },
  examples: [
    "stream status ws://127.0.0.1:8090/ws/streaming/download/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11",
    "stream status run-17/build.log --server https://logs.example.org --json",
  ],
  async run([text], options) {
    const { reference, ...credentials } = await resourceOf(options, text);
    const info = await getResource(reference, credentials);
    await printLine(options.flag("json") ? visibleJson(info) : describe(info));
    return EXIT.ok;
  },
};

function describe(info: ResourceInfo): string {
  const rows = [
    ["status", info.transferStatus],
    ...(info.outcome === undefined ? [] : [["ended", outcomeText(info.outcome)]]),
    ["name", info.filename],
    ["type", info.mimeType],
    ["size", `${info.currentSize} bytes`],
    ["durable", `${info.durableSize} bytes`],
    ...(info.numberOfLines === null ? [] : [["lines", String(info.numberOfLines)]]),
    ...(info.contextId === null ? [] : [["context", info.contextId]]),
    ...(info.digest === null ? [] : [["digest", `${info.digest.algorithm} ${info.digest.value}`]]),
    ...(info.failure === null ? [] : [["failure", info.failure]]),
    ["created", info.createdAt],
    ["updated", info.updatedAt],
    ["reference", info.reference],
    ...(info.stepReference === undefined ? [] : [["for Step", info.stepReference]]),
    ...(info.view ? [["view", info.view]] : []),
  ];
  return table(rows).map(visible).join("\n");
}
