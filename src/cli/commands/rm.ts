/**
 * `stream rm`.
 * @module
 */
import { deleteResource } from "../../client.ts";
import { type Command, EXIT, SERVER_OPTION } from "../command.ts";
import { credentialsOf } from "../credentials.ts";

/** Deletes a resource. */
export const rm: Command = {
  name: "rm",
  summary: "delete a finished resource with its data",
  positionals: ["REF"],
  options: SERVER_OPTION,
  examples: [
    "stream rm ws://127.0.0.1:8090/ws/streaming/download/0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11",
    "stream rm 0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11 --server https://logs.example.org",
  ],
  async run([reference], options) {
    await deleteResource(reference, await credentialsOf(options, reference));
    return EXIT.ok;
  },
};
