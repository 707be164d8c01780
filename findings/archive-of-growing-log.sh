#!/usr/bin/env bash
# node-tar, yazl: one log that is still written makes the archive of the whole directory fail.
#
# Artefacts are packed while something runs: a server that logs, a test that is not over. GNU tar stores such a file as long
# as it was when it looked, tells of it (1, "file changed as we read it"), and the archive is sound. In JavaScript it depends
# on the package: tar-fs stores as much as it promised, archiver's zip as much as there is; node-tar, on which `npm pack`
# stands, and yazl (and archiver's tar) fail for a line that was added between their look at the size and the end of the
# file. What was written until then stays as an archive that breaks off, and no test with files that rest shows it. What may
# be written to has to be copied first, or packed by one of the others.
set -euo pipefail
tar_version=7.5.23
archiver_version=8.0.0
yazl_version=3.3.1
tar_fs_version=3.1.3
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "tar@$tar_version" "archiver@$archiver_version" "yazl@$yazl_version" "tar-fs@$tar_fs_version" \
  "node@$node_version"

cat >probe.mjs <<'PROBE'
import { spawnSync } from "node:child_process";
import { appendFileSync, createWriteStream, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { ZipArchive } from "archiver";
import { create } from "tar";
import tarFs from "tar-fs";
import yazl from "yazl";

const files = ["a.txt", "build.log", "z.txt"];
const ways = {
  "node-tar": (to) => create({ file: to }, ["logs"]),
  "archiver, zip": async (to) => {
    const zip = new ZipArchive();
    const written = pipeline(zip, createWriteStream(to));
    await zip.directory("logs", "logs").finalize();
    await written;
  },
  "yazl": (to) => {
    const zip = new yazl.ZipFile();
    const failed = new Promise((_resolve, reject) => zip.on("error", reject));
    for (const name of files) zip.addFile(`logs/${name}`, `logs/${name}`);
    zip.end();
    return Promise.race([pipeline(zip.outputStream, createWriteStream(to)), failed]);
  },
  "tar-fs": (to) => pipeline(tarFs.pack(".", { entries: ["logs"] }), createWriteStream(to)),
};
const [way, isGrowing] = process.argv.slice(2);
mkdirSync("logs");
for (const name of files) writeFileSync(`logs/${name}`, "a line\n".repeat(1000));
// The process that writes the log: a line whenever the packing waits for something.
const grow = () => {
  appendFileSync("logs/build.log", "a line\n");
  setImmediate(grow);
};
if (isGrowing) setImmediate(grow);
const told = await ways[way]("archive").then(() => "success", ({ message }) => `"${message.trim()}"`);
console.log(told);
process.exit();
PROBE
outcome() { # WAY GROWING
  rm -rf logs archive
  timeout 30 node_modules/node/bin/node probe.mjs "$1" "$2"
}
seen=""
for way in "node-tar" "yazl" "archiver, zip" "tar-fs"; do
  seen+="$way: at rest $(outcome "$way" ""), growing $(outcome "$way" 1)"$'\n'
done
echo "tar $tar_version, archiver $archiver_version, yazl $yazl_version, tar-fs $tar_fs_version, Node $node_version;" \
  "three files of 7000 bytes, one of which grows"
echo "guess: a file that grows is stored as it was at some time, as by GNU tar"
echo "seen:"
printf %s "$seen"
[ "$seen" = 'node-tar: at rest success, growing "did not encounter expected EOF"
yazl: at rest success, growing "file data stream has unexpected number of bytes"
archiver, zip: at rest success, growing success
tar-fs: at rest success, growing success
' ] || {
  echo "this has changed"
  exit 1
}
