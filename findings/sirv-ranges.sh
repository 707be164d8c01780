#!/usr/bin/env bash
# sirv: who asks for the last bytes of a file is answered 206 with the first ones, and who asks for one byte gets all.
#
# `Range: bytes=-90` asks for the last 90 bytes (RFC 9110, 14.1.2). Readers of formats with their index at the end begin so
# (zip, Parquet), as does whoever wants the end of a log. sirv reads the missing first position as 0: bytes 0 to 90, with
# 206 and a Content-Range that only those notice who check it. A last position of 0 is none for it, so that `bytes=0-0`,
# by which downloaders ask for the length and for ranges at all, sends the whole file, and a unit other than bytes, which
# has to be ignored, is taken for bytes. `express.static` does all of it right.
set -euo pipefail
sirv=3.0.2
express=5.3.0
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "sirv@$sirv" "express@$express" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import express from "express";
import sirv from "sirv";

mkdirSync("public");
const file = Array.from({ length: 10_000 }, (_, line) => `line ${String(line).padStart(4, "0")}\n`).join("");
writeFileSync("public/build.log", file);
const servers = { sirv: sirv("public"), express: express().use(express.static("public")) };
for (const [name, handler] of Object.entries(servers)) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  for (const Range of ["bytes=10-19", "bytes=-90", "bytes=0-0", "lines=0-9"]) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/build.log`, { headers: { Range } });
    const text = await answer.text();
    const from = file.indexOf(text);
    console.log(`${name}, ${Range}: ${answer.status}, bytes ${from} to ${from + text.length - 1} of ${file.length}`);
  }
}
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs)
echo "sirv $sirv, express $express, Node $node_version"
echo "guess: bytes=-90 is the end of the file, bytes=0-0 its first byte, and an unknown unit is ignored (200)"
echo "seen:"
echo "$seen"
[ "$seen" = "sirv, bytes=10-19: 206, bytes 10 to 19 of 100000
sirv, bytes=-90: 206, bytes 0 to 90 of 100000
sirv, bytes=0-0: 206, bytes 0 to 99999 of 100000
sirv, lines=0-9: 206, bytes 0 to 9 of 100000
express, bytes=10-19: 206, bytes 10 to 19 of 100000
express, bytes=-90: 206, bytes 99910 to 99999 of 100000
express, bytes=0-0: 206, bytes 0 to 0 of 100000
express, lines=0-9: 200, bytes 0 to 99999 of 100000" ] || {
  echo "this has changed"
  exit 1
}
