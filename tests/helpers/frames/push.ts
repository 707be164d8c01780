/** Pushes three bytes as a Step client over `connectFrames`, in a process that was told of an authority. */
import { createHash } from "node:crypto";
import process from "node:process";
import { connectFrames } from "../../../mod.ts";
import type { Message } from "../../../src/protocol.ts";

const [server] = process.argv.slice(2);
const metadata = { filename: "a", mimeType: "text/plain", supportsLineAccess: true };
const bytes = new TextEncoder().encode("abc");
const checksum = createHash("md5").update(bytes).digest("hex");

const ended = Promise.withResolvers<void>();
const connection = await connectFrames(`${server.replace("http", "ws")}/ws/streaming/upload`, {
  text(text) {
    const message: Message = JSON.parse(text);
    if (message["@"] === "ReadyForUpload") {
      void connection.send(bytes);
      void connection.send(JSON.stringify({ "@": "FinishUpload", checksum }));
    }
    if (message["@"] === "UploadAcknowledged") {
      console.log(message["@"], message.size);
      connection.close(1000, "Upload completed");
    }
  },
  data() {},
  closed: () => ended.resolve(),
});
await connection.send(JSON.stringify({ "@": "StartUpload", metadata }));
await ended.promise;
