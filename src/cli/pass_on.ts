/**
 * Output of others that is passed on as it is.
 * @module
 */
import process from "node:process";
import { StreamError } from "../protocol.ts";
import type { Watcher } from "../source/tee.ts";
import { ReaderGone } from "./output.ts";

/**
 * Writes chunks to stdout or stderr and waits until they are out.
 * @param stream One of the two.
 * @returns Fails with {@link ReaderGone} when nobody reads any more, with SOURCE_FAILED when it cannot be written.
 */
export function passOn(stream: NodeJS.WriteStream): Watcher {
  stream.on("error", () => {});
  return (chunk) =>
    new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException) => {
        if (error.code === "EPIPE") return reject(new ReaderGone());
        const name = stream === process.stdout ? "stdout" : "stderr";
        reject(new StreamError("SOURCE_FAILED", `cannot write to ${name}: ${error.message}`));
      };
      try {
        stream.write(chunk, (error) => error ? failed(error) : resolve());
      } catch (error) {
        // Deno throws where a file cannot be written.
        failed(error as NodeJS.ErrnoException);
      }
    });
}
