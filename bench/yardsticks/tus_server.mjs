/** The server of tus, with files: tus_server.mjs PACKAGES DIRECTORY */
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [packages, directory] = process.argv.slice(2);
const { resolve } = createRequire(`${packages}/`);
const load = (name) => import(pathToFileURL(resolve(name)).href);
const { Server } = await load("@tus/server");
const { FileStore } = await load("@tus/file-store");
const server = new Server({ path: "/files", datastore: new FileStore({ directory }) });
const listener = server.listen({ host: "127.0.0.1", port: 0 });
listener.once("listening", () => {
  console.log(`listening on http://127.0.0.1:${listener.address().port}`);
});
