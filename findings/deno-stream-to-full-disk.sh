#!/usr/bin/env bash
# Deno: a stream that is written to a file on a full disk ends as a success, without its last bytes.
#
# `response.body.pipeTo(file.writable)` and `Deno.writeFile(path, response.body)` are how Deno saves a download. Both collect
# up to 64 KiB before they write, and write the rest when they close, without looking at how that ended: a file that does
# not fit (no space, a quota, a limit of its size as here) is cut off and the promise resolves. node:fs reports it in the
# same Deno, as Node and Bun do. What `writer.write()` resolved for is not in the file yet, either: a log that is written
# so loses its last lines, and a short one all of them, when the process ends before the writer is closed.
set -euo pipefail
deno_version=2.9.6
bun_version=1.4.5
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { rmSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";

const source = () => ReadableStream.from(Array.from({ length: 120 }, () => new Uint8Array(1000).fill(65)));
const ways = { "node:fs": () => writeFile("file", source()) };
if (globalThis.Bun) ways["Bun.write"] = () => Bun.write("file", new Response(source()));
if (globalThis.Deno) {
  ways["Deno.writeFile"] = () => Deno.writeFile("file", source());
  ways["file.writable"] = async () => source().pipeTo((await Deno.create("file")).writable);
}
const outcomes = [];
for (const [way, write] of Object.entries(ways)) {
  rmSync("file", { force: true });
  const success = () => `success with ${statSync("file").size} bytes`;
  outcomes.push(`${way}: ${await write().then(success, (error) => error.code ?? error.name)}`);
}
console.log(outcomes.join(", "));
PROBE
cat >log.mjs <<'LOG'
const writer = (await Deno.create("log")).writable.getWriter();
await writer.write(new TextEncoder().encode("a line of a log\n"));
Deno.exit(1);
LOG

limited() { # COMMAND…
  (
    trap '' XFSZ # an error of write() instead of a signal
    ulimit -f 100
    timeout 30 "$@"
  )
}
seen="node, $(limited node_modules/node/bin/node probe.mjs)
bun, $(limited node_modules/.bin/bun probe.mjs)
deno, $(limited node_modules/deno/deno run -A probe.mjs)
deno, a line that was written before the process ended: $(
  node_modules/deno/deno run -A log.mjs || true
  wc -c <log
) bytes"
echo "Deno $deno_version, Bun $bun_version, Node $node_version; 120000 bytes where 102400 fit"
echo "guess: who writes a file that does not fit is told, and what write() resolved for is in the file"
echo "seen:"
echo "$seen"
[ "$seen" = "node, node:fs: EFBIG
bun, node:fs: EFBIG, Bun.write: EFBIG
deno, node:fs: EFBIG, Deno.writeFile: success with 102400 bytes, file.writable: success with 102400 bytes
deno, a line that was written before the process ended: 0 bytes" ] || {
  echo "this has changed"
  exit 1
}
