/**
 * `stream rm`.
 * @module
 */
import { deleteResource } from "../../client.ts";
import { toStreamError } from "../../protocol.ts";
import { type Command, EXIT, type Options, SERVER_OPTION, UsageError } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { described, exitCodeOf } from "../exit_codes.ts";
import { Announcer, visible } from "../output/output.ts";
import { type NamedResource, resourceOf, resourcesIn } from "../references.ts";
import { complain } from "../output/stderr.ts";

/** Deletes resources. */
export const rm: Command = {
  name: "rm",
  summary: "delete resources with their data",
  positionals: ["[REF…]"],
  options: {
    context: { kind: "text", value: "ID", help: "delete all that are in an upload context" },
    force: { kind: "flag", help: "end uploads that still run, too; their uploaders hear it" },
    json: { kind: "flag", help: "print a JSON object a line for each, deleted or not" },
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
    const announcer = new Announcer(options.flag("json"));
    let code: number = EXIT.ok;
    const one = async (told: Told, removal: Promise<void>, isAlone: boolean) => {
      try {
        await removal;
        await announcer.tell({ ...told, deleted: true });
      } catch (error) {
        const { code: reason, message } = toStreamError(error);
        await announcer.tell({ ...told, deleted: false, code: reason, message });
        // One alone is told as everywhere.
        if (isAlone) throw error;
        complain(`${visible(told.filename ?? told.reference)}: ${described(error)}`);
        code ||= exitCodeOf(error);
      }
    };
    for (const reference of references) {
      await one({ reference }, named(reference, options), references.length === 1);
    }
    if (context !== undefined) {
      const credentials = await credentialsOf(options);
      for await (const info of resourcesIn(context, credentials)) {
        const { id, filename } = info;
        await one(
          { reference: id, filename },
          remove({ reference: id, ...credentials }, options),
          false,
        );
      }
    }
    announcer.done();
    return code;
  },
};

/** What is told of a resource that was to be deleted. */
interface Told {
  /** As it was typed; an id when its context was. */
  reference: string;
  filename?: string;
  [name: string]: unknown;
}

async function named(text: string, options: Options): Promise<void> {
  await remove(await resourceOf(options, text), options);
}

async function remove(
  { reference, ...credentials }: NamedResource,
  options: Options,
): Promise<void> {
  await deleteResource(reference, { ...credentials, force: options.flag("force") });
}
