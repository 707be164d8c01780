#!/usr/bin/env bash
# Deno: `formData()` reads a form that breaks off as a whole one, without the file that it was to bring.
#
# A form (multipart/form-data) ends with a line of its own, so that a part can be told from the whole where HTTP does not
# tell: an upload over HTTP/2 that its client cancels ends in good order for `Deno.serve`, as one does behind a proxy that
# completes it. `request.formData()` of Node and of Bun rejects every form without that line. Deno's resolves with the fields
# that are whole and drops the one in which the form breaks off: no file, or one without the checksum that stood behind it.
# Handlers answer "nothing was sent" for an upload that failed, and where a field is optional, success.
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
import { connect } from "node:http2";

const name = globalThis.Deno ? "Deno" : globalThis.Bun ? "Bun" : "Node";
const headers = { "content-type": "multipart/form-data; boundary=a-line-between" };
const field = (head, content) => `--a-line-between\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
const log = field('name="log"; filename="build.log"', "a line of the log\n".repeat(3));
const whole = log + field('name="checksum"', "1234") + "--a-line-between--\r\n";
const told = (form) =>
  form.then(
    (form) => `a success with ${[...form].map(([name]) => name).join(" and ") || "nothing"}`,
    () => "an error",
  );
const texts = {
  "all of it": whole,
  "cut within the log": whole.slice(0, log.length / 2),
  "cut behind the log": whole.slice(0, log.length + 20),
};
for (const [what, text] of Object.entries(texts)) {
  console.log(`${name}, ${what}: ${await told(new Response(text, { headers }).formData())}`);
}
if (globalThis.Deno) {
  // The same by HTTP/2, given up by its client when the server reads it.
  const given = new AbortController();
  const [sent, read] = [Promise.withResolvers(), Promise.withResolvers()];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const form = request.formData();
    await sent.promise;
    given.abort();
    read.resolve(await told(form));
    return new Response();
  });
  const session = connect(`http://127.0.0.1:${server.addr.port}`).on("error", () => {});
  const upload = session.request(
    { ":method": "POST", ":path": "/", ...headers, "content-length": whole.length },
    { signal: given.signal },
  ).on("error", () => {});
  upload.write(whole.slice(0, log.length + 20), sent.resolve);
  console.log(`${name}, cut behind the log, by HTTP/2: ${await read.promise}`);
  Deno.exit();
}
PROBE
seen=$(timeout 30 node_modules/node/bin/node probe.mjs
  timeout 30 node_modules/deno/deno run -A probe.mjs
  timeout 30 node_modules/bun/bin/bun.exe probe.mjs)
echo "Node $node_version, Deno $deno_version, Bun $bun_version"
echo "guess: all but the whole form are errors"
echo "seen:"
echo "$seen"
[ "$seen" = "Node, all of it: a success with log and checksum
Node, cut within the log: an error
Node, cut behind the log: an error
Deno, all of it: a success with log and checksum
Deno, cut within the log: a success with nothing
Deno, cut behind the log: a success with log
Deno, cut behind the log, by HTTP/2: a success with log
Bun, all of it: a success with log and checksum
Bun, cut within the log: an error
Bun, cut behind the log: an error" ] || {
  echo "this has changed"
  exit 1
}
