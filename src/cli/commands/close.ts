/**
 * `stream close`.
 * @module
 */
import { closeContext } from "../../client.ts";
import { type Command, EXIT, SERVER_OPTION } from "../command.ts";
import { printLine, visibleJson } from "../output/output.ts";
import { credentialsOf } from "../credentials.ts";

/** Closes an upload context. */
export const close: Command = {
  name: "close",
  summary: "close an upload context: it takes no more uploads, and its followers end",
  positionals: ["CONTEXT"],
  options: {
    json: { kind: "flag", help: "print one JSON object when it is closed" },
    ...SERVER_OPTION,
  },
  examples: ["stream close run-17", "stream close run-17 --server https://logs.example.org"],
  async run([contextId], options) {
    const { server, token } = await credentialsOf(options);
    await closeContext(server, contextId, { token });
    if (options.flag("json")) await printLine(visibleJson({ contextId, closed: true }));
    return EXIT.ok;
  },
};
