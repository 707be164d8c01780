#!/usr/bin/env bash
# NATS from JavaScript: an expectation of a message that is added to an atomic batch never reaches the server.
#
# An atomic batch that writes to several subjects states for each what it expects there, and is stored as a whole or not at
# all. The types of nats.js take `expect` (and `ttl`) for `batch.add()` as for `startBatch()` and `publish()`; only the
# latter two send it, `add()` sends the headers it was given and drops the rest without a word. So the batch is stored over
# the message of another writer that it should have lost to, and a test with one subject, whose expectation stands at the
# first message, does not show it. The header itself, set by hand, is heeded.
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

"$nats" -js -a 127.0.0.1 -p 24310 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect, headers } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24310", waitOnFirstConnect: true });
const js = jetstream(nc);
await (await jetstreamManager(nc)).streams.add({ name: "accounts", subjects: ["account.*"], allow_atomic: true });
await js.publish("account.b", "of another writer");
const fresh = () => ({ expect: { lastSubjectSequence: 0 } });
const byHand = headers();
byHand.set("Nats-Expected-Last-Subject-Sequence", "0");

const attempts = {
  "publish()": () => js.publish("account.b", "1", fresh()),
  "startBatch()": async () => (await js.startBatch("account.b", "2", fresh())).commit("account.c", "2"),
  "batch.add() with the header": async () => {
    const batch = await js.startBatch("account.a", "3");
    batch.add("account.b", "3", { headers: byHand });
    return batch.commit("account.c", "3");
  },
  "batch.add()": async () => {
    const batch = await js.startBatch("account.a", "4");
    batch.add("account.b", "4", fresh());
    return batch.commit("account.c", "4");
  },
};
for (const [way, attempt] of Object.entries(attempts)) {
  console.log(`${way}: ${await attempt().then(() => "stored", () => "refused")}`);
}
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: each is refused, as the subject account.b has a message that the writer does not expect"
echo "seen:"
echo "$seen"
[ "$seen" = "publish(): refused
startBatch(): refused
batch.add() with the header: refused
batch.add(): stored" ] || {
  echo "this has changed"
  exit 1
}
