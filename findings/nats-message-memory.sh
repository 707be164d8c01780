#!/usr/bin/env bash
# NATS from JavaScript: the data of a message keeps up to twice its own length in memory, or that of all its neighbours.
#
# A message that comes in several reads of the socket is put together in a buffer that doubles: `msg.data` is a part of
# it, and so much is kept as long as the data is. One that comes within a read is a part of what was read: who keeps a
# message of 100 bytes keeps tens of kilobytes. A cache that counts `data.length` holds a multiple of its limit; what is
# kept for long has to be copied (`data.slice()`).
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
npm install --silent "@nats-io/transport-node@$client_version" >/dev/null

cat >probe.mjs <<'PROBE'
import { spawn } from "node:child_process";
import { connect } from "@nats-io/transport-node";

const [nats] = process.argv.slice(2);
const server = spawn(nats, ["-a", "127.0.0.1", "-p", "24251"], { stdio: "ignore" });
const options = { servers: "127.0.0.1:24251", waitOnFirstConnect: true, reconnectTimeWait: 100 };
const [sender, receiver] = [await connect(options), await connect(options)];

/** What is kept by all messages of some length, and the length of all of them. */
async function kept(count, length, keep) {
  const messages = [];
  const subscription = receiver.subscribe("log", { max: count });
  await receiver.flush();
  for (let sent = 0; sent < count; sent++) sender.publish("log", new Uint8Array(length));
  for await (const { data } of subscription) messages.push(data);
  const some = messages.filter((_, index) => index % keep === 0);
  const buffers = new Set(some.map(({ buffer }) => buffer));
  const held = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
  return held / (some.length * length);
}

const long = await kept(64, 512 * 1024, 1);
const short = await kept(6400, 100, 640);
console.error(`64 messages of 512 KiB keep ${long.toFixed(2)} times their length, every 640th of 100 bytes ${short.toFixed(0)} times`);
console.log(`long messages keep more than 1.3 times their length: ${long > 1.3}`);
console.log(`short messages keep more than 50 times theirs: ${short > 50}`);
await sender.close();
await receiver.close();
server.kill();
PROBE
seen=$(timeout 60 node probe.mjs "$nats" 2>figures)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/transport-node $client_version"
echo "guess: data that is kept keeps about its own length in memory"
echo "seen:"
echo "$seen"
cat figures
[ "$seen" = "long messages keep more than 1.3 times their length: true
short messages keep more than 50 times theirs: true" ] || {
  echo "this has changed"
  exit 1
}
