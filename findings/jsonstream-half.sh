#!/usr/bin/env bash
# JSONStream: half of a JSON document is read as a whole one.
#
# An export of a million rows is one array, and JSONStream reads it as it comes, a row at a time. A server that dies in the
# middle leaves an array without its end, and where something between ends the response in good order (a proxy, a cached
# half file, a log that was rotated while it was written) the missing bracket is what tells. JSONStream emits the rows that
# are whole and then "end", wherever the text breaks off, and whoever copies them is done. A text that is wrong, not short,
# is an error. stream-json, @streamparser/json and bfj say of each of them that it is not whole.
set -euo pipefail
jsonstream=1.3.5
stream_json=3.8.0
streamparser=0.0.26
bfj=9.1.4
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "JSONStream@$jsonstream" "stream-json@$stream_json" "@streamparser/json@$streamparser" "bfj@$bfj" \
  "node@$node_version"

cat >probe.mjs <<'PROBE'
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { JSONParser } from "@streamparser/json";
import bfj from "bfj";
import JSONStream from "JSONStream";
import { parser } from "stream-json";
import { streamArray } from "stream-json/streamers/stream-array.js";

// Each hands the rows of a text to `onRow`, and fails if it knows better.
const libraries = {
  "JSONStream": (text, onRow) =>
    new Promise((resolve, reject) =>
      Readable.from([text]).pipe(JSONStream.parse("*")).on("data", onRow).on("error", reject).on("end", resolve)
    ),
  "stream-json": (text, onRow) =>
    pipeline(Readable.from([text]), parser.asStream(), streamArray.asStream(), async (rows) => {
      for await (const row of rows) onRow(row);
    }),
  "@streamparser/json": async (text, onRow) => {
    const rows = new JSONParser({ paths: ["$.*"] });
    rows.onValue = onRow;
    rows.write(text);
    if (!rows.isEnded) rows.end();
  },
  "bfj": (text, onRow) =>
    new Promise((resolve, reject) =>
      bfj.match(Readable.from([text]), (_, __, depth) => depth === 1, { minDepth: 1 })
        .on("data", onRow).on("dataError", reject).on("error", reject).on("end", resolve)
    ),
};
const texts = {
  "all of it": '[{"row":1},{"row":2},{"row":3}]',
  "without its end": '[{"row":1},{"row":2}',
  "cut within a row": '[{"row":1},{"row":2},{"ro',
  "a wrong one": '[{"row":1},{"row":2}}',
};
for (const [name, read] of Object.entries(libraries)) {
  const seen = [];
  for (const [what, text] of Object.entries(texts)) {
    let rows = 0;
    const end = await read(text, () => rows++).then(() => "a success", () => "an error");
    seen.push(end === "a success" ? `${what} ${end} of ${rows}` : `${what} ${end}`);
  }
  console.log(`${name}: ${seen.join(", ")}`);
}
PROBE
seen=$(timeout 30 node_modules/node/bin/node probe.mjs)
echo "JSONStream $jsonstream, stream-json $stream_json, @streamparser/json $streamparser, bfj $bfj, Node $node_version"
echo "guess: all but the first are errors"
echo "seen:"
echo "$seen"
[ "$seen" = "JSONStream: all of it a success of 3, without its end a success of 2, cut within a row a success of 2, a wrong one an error
stream-json: all of it a success of 3, without its end an error, cut within a row an error, a wrong one an error
@streamparser/json: all of it a success of 3, without its end an error, cut within a row an error, a wrong one an error
bfj: all of it a success of 3, without its end an error, cut within a row an error, a wrong one an error" ] || {
  echo "this has changed"
  exit 1
}
