#!/usr/bin/env bash
# @durable-streams/client: who reads a closed stream slower than it comes never gets its last bytes, and is told that it has all.
#
# `bodyStream()` and `textStream()` ask for the next answer while the last one is read. Behind each answer they look
# whether the stream is closed, but at what the client knows by then: what the next answer said, which nobody has read yet.
# A writer that closes with its last append, as the protocol proposes, is answered together: bytes and `Stream-Closed`. So
# a reader that had something left to read ends there, in good order, without an error; `streamClosed` is true, `upToDate`
# too, and `offset` is that of the end. Who reads as fast as it comes has everything, so that tests with short texts pass.
# `jsonStream()` and subscribers have all.
set -euo pipefail
client_version=0.2.7
server_version=0.3.7
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@durable-streams/client@$client_version" "@durable-streams/server@$server_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { DurableStream, stream } from "@durable-streams/client";
import { DurableStreamTestServer } from "@durable-streams/server";

const server = new DurableStreamTestServer({ host: "127.0.0.1", port: 0 });
const origin = await server.start();
const FIRST = "first ".repeat(300_000);

/** Reads a stream that is closed with its last append while the reader has read nothing yet, or everything. */
async function outcome(how, isBehind) {
  const url = `${origin}/${how}-${isBehind}`;
  const json = how === "jsonStream" && { contentType: "application/json", body: JSON.stringify([FIRST]) };
  const writer = await DurableStream.create({ url, contentType: "text/plain", body: FIRST, ...json });
  const closed = Promise.withResolvers(), answered = Promise.withResolvers();
  const tail = await stream({
    url,
    offset: "-1",
    live: "long-poll",
    fetch: async (input, init) => {
      if (!String(input).includes("live=")) return await fetch(input, init);
      await closed.promise;
      const answer = await fetch(input, init);
      answered.resolve();
      return answer;
    },
  });
  const close = async () => {
    await writer.close({ body: json ? JSON.stringify("last") : "last" });
    closed.resolve();
    await answered.promise;
  };
  const reader = tail[how]().getReader(); // asks for what comes from now on
  if (isBehind) await close();
  let text = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    text += typeof read.value === "string" ? read.value : new TextDecoder().decode(read.value);
    if (!isBehind && text.length === FIRST.length) await close();
  }
  const { streamClosed, upToDate, offset } = tail;
  const isEnd = offset === (await writer.head()).offset;
  console.log(
    `${how}, ${isBehind ? "behind" : "as fast as it comes"}: ${text.endsWith("last") ? "everything" : "without 'last'"};`,
    `closed ${streamClosed}, up to date ${upToDate}, offset ${isEnd ? "of the end" : "before it"}`,
  );
}

for (const isBehind of [false, true]) {
  for (const how of ["bodyStream", "textStream", "jsonStream"]) {
    await outcome(how, isBehind);
  }
}
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node probe.mjs)
echo "@durable-streams/client $client_version, @durable-streams/server $server_version, Node $node_version"
echo "guess: whoever reads until the stream ends has every byte of it"
echo "seen:"
echo "$seen"
[ "$seen" = "bodyStream, as fast as it comes: everything; closed true, up to date true, offset of the end
textStream, as fast as it comes: everything; closed true, up to date true, offset of the end
jsonStream, as fast as it comes: everything; closed true, up to date true, offset of the end
bodyStream, behind: without 'last'; closed true, up to date true, offset of the end
textStream, behind: without 'last'; closed true, up to date true, offset of the end
jsonStream, behind: everything; closed true, up to date true, offset of the end" ] || {
  echo "this has changed"
  exit 1
}
