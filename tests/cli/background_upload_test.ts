/** Uploads beside something more important: when they are given up. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { startServer } from "../helpers/server.ts";
import { within } from "../helpers/frames/connection.ts";
import { push } from "../../mod.ts";
import { BackgroundUpload } from "../../src/cli/uploads/background_upload.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };

test("time in which the process does not run is not the server's silence", async () => {
  await using server = await startServer();
  const begun = Promise.withResolvers<void>();
  let looked = () => {};
  const looks = async (count: number) => {
    for (; count > 0; count--) {
      await within("a look", new Promise<void>((resolve) => looked = resolve));
    }
  };
  const output = new TransformStream<Uint8Array, Uint8Array>();
  const upload = new BackgroundUpload({
    filename: metadata.filename,
    bytes: output.readable,
    begin: (signal) => push(server.url, metadata, { signal }),
    begun: () => begun.resolve(),
    isAway: () => false,
    heldMs() {
      looked();
      return 0;
    },
    bestEffort: true,
  });
  await within("the beginning", begun.promise);
  await looks(2);
  upload.ends();
  const { now } = performance;
  try {
    // As after SIGSTOP and SIGCONT, or on a machine that is overloaded.
    performance.now = () => now.call(performance) + 60_000;
    await looks(2);
    await output.writable.getWriter().close();
    assertEquals(await within("the end", upload.over), null);
  } finally {
    performance.now = now;
  }
});
