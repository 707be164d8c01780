#!/usr/bin/env bash
# node:sqlite: a text is read only up to its first NUL, although all of it is stored.
#
# A text of JavaScript may hold U+0000, and SQLite stores it: bound with its length, its bytes are all there. node:sqlite,
# of Node and of Deno, hands back what stands before the NUL, without an error; bun:sqlite hands back all. Who stores what
# users typed loses the end of it, and two texts that differ behind a NUL are read as equal. As a blob it comes whole.
set -euo pipefail
node_version=24.9.0
deno_version=2.9.6
bun_version=1.4.5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "deno@$deno_version" "bun@$bun_version"

cat >store.mjs <<'SCRIPT'
const text = "before\0behind";
const { DatabaseSync } = globalThis.Bun
  ? { DatabaseSync: (await import("bun:sqlite")).Database }
  : await import("node:sqlite");
const database = new DatabaseSync(":memory:");
database.exec("CREATE TABLE t (text TEXT)");
database.prepare("INSERT INTO t VALUES (?)").run(text);
const row = database.prepare("SELECT text, length(CAST(text AS BLOB)) AS bytes FROM t").get();
console.log(`${row.bytes} bytes stored, ${row.text.length} characters of ${text.length} read`);
SCRIPT

seen=$(
  for runtime in node deno bun; do
    run="node_modules/.bin/$runtime"
    [ $runtime != deno ] || run="$run run -A"
    NO_COLOR=1 $run store.mjs 2>/dev/null | sed "s/^/$runtime: /"
  done
)
echo "Node $node_version, Deno $deno_version, Bun $bun_version"
echo "guess: a text that was stored is read as it was"
echo "seen:"
echo "$seen"
[ "$seen" = "node: 13 bytes stored, 6 characters of 13 read
deno: 13 bytes stored, 6 characters of 13 read
bun: 13 bytes stored, 13 characters of 13 read" ] || {
  echo "this has changed"
  exit 1
}
