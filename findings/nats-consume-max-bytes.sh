#!/usr/bin/env bash
# NATS JetStream from JavaScript: one message longer than `max_bytes` stops a consumer for good, and `consume()` tells nobody.
#
# `consume({ max_bytes })` bounds what a client has on its way, as `fetch.max.bytes` does in Kafka, where a message that is
# longer comes all the same, alone. Here the limit takes the overhead of the message, too, and the server refuses the request
# (409) at the first message that does not fit, again and again: it and all behind it are never delivered, whatever else is
# in the stream. The loop over the messages waits, without an error or an end; only who reads `status()` sees
# "exceeded_limits". `fetch()` throws it. No message is refused when it is published, and the limit of the server for one is
# 1 MiB: every lower `max_bytes` works until a longer message comes.
set -euo pipefail
server_version=2.15.1-1 # Debian sid
client_version=3.4.0    # npm
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# The server, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$(. /etc/os-release && echo "$VERSION_CODENAME")" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download "nats-server=$server_version"
dpkg-deb -x nats-server_*.deb server
nats=$(find "$work/server" -type f -name nats-server -perm -u+x)

npm init -y >/dev/null
npm install --silent "@nats-io/jetstream@$client_version" "@nats-io/transport-node@$client_version" >/dev/null

"$nats" -js -a 127.0.0.1 -p 24341 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24341", waitOnFirstConnect: true });
const manager = await jetstreamManager(nc);
const client = jetstream(nc);
const LIMIT = 64 * 1024;

/** A consumer of ten messages of 10 bytes, but that the third is as long as is said. */
const consumerOf = async (name, length) => {
  await manager.streams.add({ name, subjects: [name] });
  for (let each = 1; each <= 10; each += 1) await client.publish(name, new Uint8Array(each === 3 ? length : 10));
  await manager.consumers.add(name, { durable_name: "reader", ack_policy: "explicit" });
  return client.consumers.get(name, "reader");
};
const outcome = async (name, length, way, max_bytes) => {
  const messages = await (await consumerOf(name, length))[way]({ max_bytes, expires: 2000 });
  const read = [], statuses = new Set();
  const watching = (async () => {
    for await (const { type } of messages.status()) statuses.add(type);
  })();
  const reading = (async () => {
    for await (const message of messages) {
      message.ack();
      if (read.push(message.seq) === 10) return "all are there";
    }
    return "the loop ended";
  })().catch(({ message }) => `error: ${message}`);
  const end = await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 10_000, "the loop waits"))]);
  await messages.close();
  await watching;
  const status = statuses.has("exceeded_limits") ? "status exceeded_limits" : "no such status";
  console.log(`${way}, max_bytes ${max_bytes}, the third of ${length} bytes: ${read.length} of 10 read, ${end}, ${status}`);
};
await outcome("short", LIMIT / 2, "consume", LIMIT);
await outcome("unlimited", 2 * LIMIT, "consume");
await outcome("long", 2 * LIMIT, "consume", LIMIT);
await outcome("equal", LIMIT, "consume", LIMIT);
await outcome("fetched", 2 * LIMIT, "fetch", LIMIT);
process.exit();
PROBE
seen=$(timeout 90 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version; 10 s each"
echo "guess: a message longer than max_bytes comes alone, as in Kafka, or the loop over the messages fails"
echo "seen:"
echo "$seen"
[ "$seen" = "consume, max_bytes 65536, the third of 32768 bytes: 10 of 10 read, all are there, no such status
consume, max_bytes undefined, the third of 131072 bytes: 10 of 10 read, all are there, no such status
consume, max_bytes 65536, the third of 131072 bytes: 2 of 10 read, the loop waits, status exceeded_limits
consume, max_bytes 65536, the third of 65536 bytes: 2 of 10 read, the loop waits, status exceeded_limits
fetch, max_bytes 65536, the third of 131072 bytes: 2 of 10 read, error: message size exceeds maxbytes, status exceeded_limits" ] || {
  echo "this has changed"
  exit 1
}
