/** The reference server of Durable Streams, with files: durable_server.mjs PACKAGES DIRECTORY */
import { createRequire } from "node:module";
import process from "node:process";

const [packages, dataDir] = process.argv.slice(2);
const { DurableStreamTestServer } = createRequire(`${packages}/`)("@durable-streams/server");
const server = new DurableStreamTestServer({ port: 0, dataDir, compression: false });
console.log(`listening on ${await server.start()}`);
