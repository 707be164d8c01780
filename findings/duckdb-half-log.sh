#!/usr/bin/env bash
# DuckDB: a compressed CSV or NDJSON file that breaks off is read as a whole one, and a wrong checksum is not looked at.
#
# `select … from 'log.csv.gz'` is how logs and exports are looked into, and `copy (from 'log.csv.gz') to 'log.parquet'` how
# they are kept. gzip ends with a checksum and a length, zstd with the end of its frame, so that whoever unpacks can tell a
# part: a writer that is still at work, an upload that broke off. DuckDB unpacks as far as it goes. Half of the rows are
# counted, and copied, without an error, with a last word of which half is missing; only a part that ends in the middle of
# another column, or of an object, is refused, for what stands in that line. A gzip file with a checksum that is wrong is
# read as well. `gzip -t` and `zstd -t` tell of all of them.
set -euo pipefail
duckdb_version=1.5.6
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@duckdb/node-api@$duckdb_version-r.1" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { writeFileSync } from "node:fs";
import zlib from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";

const duckdb = await (await DuckDBInstance.create(":memory:")).connect();
const ask = async (query) => {
  const result = await duckdb.runAndReadAll(query).catch(() => undefined);
  return result ? `${result.getRows()[0][0]}` : "an error";
};
const rows = Array.from({ length: 1000 }, (_, row) => row);
const formats = {
  csv: ["row,word\n", (row) => `${row},a word\n`],
  ndjson: ["", (row) => `${JSON.stringify({ row, word: "a word" })}\n`],
};
// What a compressor that is killed leaves behind: all blocks of a text, and no end.
const packs = {
  gz: [zlib.gzipSync, { finishFlush: zlib.constants.Z_SYNC_FLUSH }],
  zst: [zlib.zstdCompressSync, { finishFlush: zlib.constants.ZSTD_e_flush }],
};
for (const [format, [head, line]] of Object.entries(formats)) {
  const whole = head + rows.map(line).join("");
  const half = head + rows.slice(0, 500).map(line).join("");
  const word = half + line(500).replace(/rd.*\n/, "");
  for (const [ending, [pack, unfinished]] of Object.entries(packs)) {
    const files = {
      "whole": pack(whole),
      "to the end of a row": pack(half, unfinished),
      "to the middle of a word": pack(word, unfinished),
    };
    if (ending === "gz") {
      files["with a wrong checksum"] = Buffer.from(files.whole);
      files["with a wrong checksum"][files.whole.length - 8] ^= 1;
    }
    const seen = [];
    for (const [what, bytes] of Object.entries(files)) {
      const file = `log.${format}.${ending}`;
      writeFileSync(file, bytes);
      const counted = await ask(`select count(*) from '${file}'`);
      const copied = await ask(`copy (from '${file}') to 'copy.parquet'`);
      const last = await ask(`select word from '${file}' order by row desc limit 1`);
      seen.push(`${what}: ${counted === copied ? counted : `${counted} and ${copied}`}${last === "a word" || last === counted ? "" : ` ("${last}")`}`);
    }
    console.log(`${format}.${ending}, ${seen.join("; ")}`);
  }
}
PROBE
seen=$(timeout 50 node_modules/node/bin/node probe.mjs)
echo "DuckDB $duckdb_version; files of 1000 rows, and of the first 500, 501"
echo "guess: all but the whole ones are errors, as they are for gzip and zstd"
echo "seen:"
echo "$seen"
[ "$seen" = 'csv.gz, whole: 1000; to the end of a row: 500; to the middle of a word: 501 ("a wo"); with a wrong checksum: 1000
csv.zst, whole: 1000; to the end of a row: 500; to the middle of a word: 501 ("a wo")
ndjson.gz, whole: 1000; to the end of a row: 500; to the middle of a word: an error; with a wrong checksum: 1000
ndjson.zst, whole: 1000; to the end of a row: 500; to the middle of a word: an error' ] || {
  echo "this has changed"
  exit 1
}
