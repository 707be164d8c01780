#!/usr/bin/env bash
# Deno, Bun: `node:zlib` unpacks a zstd file that breaks off as far as it goes, and calls that a success.
#
# A frame of zstd tells where it ends, and a file whose compressor was killed, or whose upload was, has a last frame without
# an end. `zstd -d` fails for it, and so do `zstdDecompressSync()` and `createZstdDecompress()` of Node. Those of Deno and
# of Bun hand over the blocks that are whole and end in good order; of a file that lacks its last three bytes Bun drops
# tens of kilobytes. Deno does the same with brotli. gzip, which everybody tests, is an error for all of them, as are
# `DecompressionStream`, `fetch` and `Bun.zstdDecompress()` of Bun: the same data is whole or not by the API that reads it.
# Frames that were appended to each other, as logs are, Deno's stream reads only if they come in one piece.
set -euo pipefail
node_version=26.10.0
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "deno@$deno_version" "bun@$bun_version"

cat >probe.mjs <<'PROBE'
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";

const log = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i} ${i * 7919 % 10007}\n`).join(""));
const outcome = async (unpack) => {
  try {
    const { length } = await unpack();
    return length === log.length ? "all of it" : length === 2 * log.length ? "both" : "a part, as a success";
  } catch {
    return "an error";
  }
};
const name = globalThis.Deno ? "Deno" : globalThis.Bun ? "Bun" : "Node";
const formats = {
  gzip: [zlib.gzipSync, zlib.gunzipSync, zlib.createGunzip],
  brotli: [zlib.brotliCompressSync, zlib.brotliDecompressSync, zlib.createBrotliDecompress],
  zstd: [zlib.zstdCompressSync, zlib.zstdDecompressSync, zlib.createZstdDecompress],
};
for (const [format, [pack, unpack, createUnpack]] of Object.entries(formats)) {
  const packed = pack(log);
  const streamed = (...pieces) => {
    let whole;
    return pipeline(Readable.from(pieces), createUnpack(), async (unpacked) => (whole = await buffer(unpacked))).then(() => whole);
  };
  const half = packed.subarray(0, packed.length / 2);
  const cut = packed.subarray(0, -3);
  const seen = [
    `half of it ${await outcome(() => unpack(half))}`,
    `streamed ${await outcome(() => streamed(half))}`,
    `without 3 bytes ${await outcome(() => unpack(cut))}`,
  ];
  if (format === "zstd") seen.push(`two frames ${await outcome(() => streamed(packed, packed))}`);
  console.log(`${name}, ${format}: ${seen.join("; ")}`);
}
PROBE
seen=$(timeout 30 node_modules/node/bin/node probe.mjs
  timeout 30 node_modules/deno/deno run -A probe.mjs
  timeout 30 node_modules/bun/bin/bun.exe probe.mjs)
echo "Node $node_version, Deno $deno_version, Bun $bun_version"
echo "guess: what breaks off is an error, whatever it is packed with, and two frames are both"
echo "seen:"
echo "$seen"
[ "$seen" = "Node, gzip: half of it an error; streamed an error; without 3 bytes an error
Node, brotli: half of it an error; streamed an error; without 3 bytes an error
Node, zstd: half of it an error; streamed an error; without 3 bytes an error; two frames both
Deno, gzip: half of it an error; streamed an error; without 3 bytes an error
Deno, brotli: half of it a part, as a success; streamed a part, as a success; without 3 bytes a part, as a success
Deno, zstd: half of it a part, as a success; streamed a part, as a success; without 3 bytes all of it; two frames an error
Bun, gzip: half of it an error; streamed an error; without 3 bytes an error
Bun, brotli: half of it an error; streamed an error; without 3 bytes an error
Bun, zstd: half of it a part, as a success; streamed a part, as a success; without 3 bytes a part, as a success; two frames both" ] || {
  echo "this has changed"
  exit 1
}
