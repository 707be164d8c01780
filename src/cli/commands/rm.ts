/**
 * `stream rm`.
 * @module
 */
import { deleteResource, listResources } from "../../client.ts";
import { type Command, EXIT, type Options, SERVER_OPTION, UsageError } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { visible } from "../output/output.ts";
import { type NamedResource, REFERENCE_HELP, resourceOf } from "../references.ts";
import { notice } from "../output/stderr.ts";

/** Deletes resources. */
export const rm: Command = {
  name: "rm",
  summary: `delete resources with their data; ${REFERENCE_HELP}`,
  positionals: ["[REF…]"],
  options: {
    context: { kind: "text", value: "ID", help: "delete all that are in an upload context" },
    force: { kind: "flag", help: "end uploads that still run, too; their uploaders hear it" },
    ...SERVER_OPTION,
  },
  examples: [
    "stream rm 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 run-17/build.log",
    "stream rm --context run-17 --server https://logs.example.org",
  ],
  async run(references, options) {
    const context = options.text("context");
    if ((references.length === 0) === (context === undefined)) {
      throw new UsageError("rm wants either REF or --context ID");
    }
    const force = options.flag("force");
    let code: number = EXIT.ok;
    const failed = (what: string, error: unknown) => {
      notice(`${visible(what)}: ${described(error)}`);
      code ||= exitCodeOf(error);
    };
    for (const text of references) {
      await resourceOf(options, text).then((found) => remove(found, force)).catch((error) => {
        // One alone is told as everywhere.
        if (references.length === 1) throw error;
        failed(text, error);
      });
    }
    if (context !== undefined) await removeAll(context, options, failed);
    return code;
  },
};

async function remove(
  { reference, ...credentials }: NamedResource,
  force: boolean,
): Promise<void> {
  await deleteResource(reference, { ...credentials, force });
}

async function removeAll(
  contextId: string,
  options: Options,
  failed: (what: string, error: unknown) => void,
): Promise<void> {
  const credentials = await credentialsOf(options);
  for await (const info of listResources(credentials.server, { contextId, ...credentials })) {
    await remove({ reference: info.id, ...credentials }, options.flag("force"))
      .catch((error) => failed(`${info.id} ${info.filename}`, error));
  }
}
