#!/usr/bin/env bash
# NATS from JavaScript: an atomic batch that another writer overtook fails with an error about its number of messages.
#
# An atomic batch with an expectation is compare-and-set for several messages: on a conflict (10071) one reads again and
# tries again, on anything else one gives up. For one message nats.js hands the server's code over. For a batch the server
# answers with the same code, and `commit()` throws it away: a plain Error without a code, which says that the batch did
# not contain the messages that were published. Retries never happen, and the search begins at the wrong end.
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

"$nats" -js -a 127.0.0.1 -p 24260 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect, headers } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24260", waitOnFirstConnect: true });
const js = jetstream(nc);
await (await jetstreamManager(nc)).streams.add({ name: "logs", subjects: ["log.*"], allow_atomic: true });
await js.publish("log.a", "of another writer");
const expect = { lastSubjectSequence: 0 };
const told = (error) => `${error.name}, code ${error.code}`;

console.log("one message:", await js.publish("log.a", "1", { expect }).catch(told));
const batch = await js.startBatch("log.a", "1", { expect });
batch.add("log.a", "2");
console.log("batch:", await batch.commit("log.a", "3").catch(told));

// The same without the library's batch: what the server answers.
const raw = headers();
raw.set("Nats-Batch-Id", "raw");
raw.set("Nats-Batch-Sequence", "1");
raw.set("Nats-Batch-Commit", "1");
raw.set("Nats-Expected-Last-Subject-Sequence", "0");
const answer = (await nc.request("log.a", "1", { headers: raw, timeout: 5000 })).json();
console.log("batch, the server's answer: code", answer.error?.err_code);
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: a conflict has the code 10071, for a batch as for one message"
echo "seen:"
echo "$seen"
[ "$seen" = "one message: JetStreamApiError, code 10071
batch: Error, code undefined
batch, the server's answer: code 10071" ] || {
  echo "this has changed"
  exit 1
}
