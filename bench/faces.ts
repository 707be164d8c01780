/** Part 9: clients of other protocols, against our server and against their own. */
import { type Bench, type Part, temporaryPath } from "./helpers/bench.ts";
import { makeFile } from "./helpers/content.ts";
import {
  type File,
  install,
  measureAppends,
  measureClient,
  measureScript,
} from "./yardsticks/peers.ts";

const MIB = 1024 * 1024;

export const faces: Part = {
  name: "faces",
  title: "clients of tus and of Durable Streams",
  async run(bench) {
    const server = await bench.startServer();
    try {
      const streams = `${server.url}/streams`;
      await bench.attempt("small appends", () => measureAppends(bench, streams));
      // A smoke run installs nothing.
      if (bench.extent === "smoke") return;
      await bench.attempt("install", install);
      const file = await fileOf(bench);
      const repeats = repeatsOf(bench);
      for (const protocol of ["tus", "tusByCurl"] as const) {
        const work = () => measureClient(bench, protocol, `${server.url}/tus`, file);
        await bench.repeat(repeats, protocol, work);
      }
      await bench.repeat(repeats, "durable", () => measureClient(bench, "durable", streams, file));
    } finally {
      await server.stop();
    }
  },
  async others(bench) {
    if (bench.extent === "smoke") return;
    const file = await fileOf(bench);
    for (const protocol of ["tus", "tusByCurl", "durable"] as const) {
      await bench.repeat(repeatsOf(bench), protocol, () => measureScript(bench, protocol, file));
    }
  },
};

function repeatsOf(bench: Bench): number {
  return bench.size(3, 2, 1);
}

function fileOf(bench: Bench): Promise<File> {
  return makeFile(temporaryPath(), bench.size(1024, 1024, 4) * MIB);
}
