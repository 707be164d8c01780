/** The client at frame level: what a server says right behind its 101 is heard. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertEquals } from "@std/assert";
import { connectFrames } from "../../mod.ts";
import { within } from "../helpers/frames/connection.ts";

const PROGRAM = fileURLToPath(new URL("../helpers/frames/eager_server.ts", import.meta.url));
/** What is lost depends on how packets fall: one of twenty was. */
const CONNECTIONS = 500;

/** All that was heard of a connection. */
async function heard(url: string): Promise<unknown[]> {
  const said: unknown[] = [];
  const over = Promise.withResolvers<void>();
  await connectFrames(url, {
    text: (text) => said.push(text),
    data() {},
    closed(code, reason) {
      said.push(code, reason);
      over.resolve();
    },
  });
  await within("the end", over.promise);
  return said;
}

for (const how of ["joined", "apart"]) {
  test(`a message and a close right behind the 101 are heard: ${how}`, async () => {
    const run = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const server = spawn(process.execPath, [...run, PROGRAM]);
    try {
      const [port] = await within("a server", once(server.stdout, "data"));
      for (let count = 0; count < CONNECTIONS; count++) {
        const said = await heard(`ws://127.0.0.1:${Number(port)}/${how}`);
        assertEquals(said, ["first", 1008, "refused"]);
      }
    } finally {
      server.kill();
    }
  });
}
