#!/usr/bin/env bash
# @durable-streams/client: a producer that starts anew with its name loses what it appends, and is told of success.
#
# `new IdempotentProducer(stream, "worker-1", { autoClaim: true })` is the README's producer with exactly-once writes; its
# id is "a stable identifier". A producer counts its batches from 0 in an epoch, 0 unless it is told another one, and
# `autoClaim` takes a new epoch only when the server says that the old one is over. So the second run of the program sends
# epoch 0, batch 0 again, which the server knows: 204, a duplicate. Everything is dropped until the run has sent as many
# batches as the longest one before it; `flush()` resolves, `onError` stays silent. Each start needs an epoch of its own
# that is greater than the last (or an id of its own).
set -euo pipefail
client_version=0.2.7
server_version=0.3.7
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@durable-streams/client@$client_version" "@durable-streams/server@$server_version"

cat >probe.mjs <<'PROBE'
import { DurableStream, IdempotentProducer } from "@durable-streams/client";
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0 });
const base = await server.start();
const ways = {
  "by default": () => ({}),
  autoClaim: () => ({ autoClaim: true }),
  "an epoch for each run": (run) => ({ epoch: run }),
};
for (const [way, options] of Object.entries(ways)) {
  const url = `${base}/${encodeURIComponent(way)}`;
  let errors = 0;
  for (const run of [1, 2]) {
    const stream = await DurableStream.create({ url, contentType: "text/plain" });
    const producer = new IdempotentProducer(stream, "worker-1", { ...options(run), onError: () => errors++ });
    for (const message of ["a", "b"]) {
      producer.append(`${run}${message} `);
      await producer.flush();
    }
    await producer.detach();
  }
  const text = await (await fetch(`${url}?offset=-1`)).text();
  console.log(`${way}: '${text.trim()}', ${errors} errors`);
}
await server.stop();
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "@durable-streams/client $client_version, @durable-streams/server $server_version; two runs of one program, 1a 1b and 2a 2b"
echo "guess: what both runs appended and flushed is in the stream, once"
echo "seen:"
echo "$seen"
[ "$seen" = "by default: '1a 1b', 0 errors
autoClaim: '1a 1b', 0 errors
an epoch for each run: '1a 1b 2a 2b', 0 errors" ] || {
  echo "this has changed"
  exit 1
}
