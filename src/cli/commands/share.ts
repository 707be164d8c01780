/**
 * `stream share`.
 * @module
 */
import { shareResource } from "../../client.ts";
import { StreamError } from "../../protocol.ts";
import { type Command, EXIT, SERVER_OPTION, UsageError } from "../command.ts";
import { printLine, visibleJson } from "../output/output.ts";
import { resourceOf } from "../references.ts";

/** No server makes a link that holds longer (PROTOCOL.md 8.3), in ms. */
const MAX_EXPIRES_MS = 604_800_000;

/** Makes a link. */
export const share: Command = {
  name: "share",
  summary: "print a link with which others can read a resource for a while, without a token",
  positionals: ["REF"],
  options: {
    expires: {
      kind: "duration",
      value: "TIME",
      help: "the link holds so long, at most 7d (default 1h)",
    },
    view: { kind: "flag", help: "a link to the page that shows it in a browser" },
    json: { kind: "flag", help: "print one JSON object, with the end of the link" },
    ...SERVER_OPTION,
  },
  examples: [
    "stream share 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 --expires 1d --view",
    "curl $(stream share 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11)",
  ],
  async run([text], options) {
    const expiresMs = options.number("expires") ?? 3_600_000;
    if (expiresMs < 1000 || expiresMs > MAX_EXPIRES_MS) {
      throw new UsageError("--expires is from 1s to 7d");
    }
    const { reference, ...credentials } = await resourceOf(options, text);
    const expiresInS = Math.floor(expiresMs / 1000);
    const link = await shareResource(reference, { ...credentials, expiresInS });
    if (options.flag("view") && !link.view) {
      throw new StreamError(
        "NOT_FOUND",
        "this server shows no pages: it runs with --no-viewer, or is an older one",
      );
    }
    const address = options.flag("view") ? link.view! : link.url;
    await printLine(options.flag("json") ? visibleJson(link) : address);
    return EXIT.ok;
  },
};
