#!/usr/bin/env bash
# NATS JetStream: a message id is looked up before or after the expected sequence, depending on the number of replicas.
#
# Who fences writers by expectations (compare-and-set on the last sequence) and also sets Nats-Msg-Id, so that a lost
# acknowledgement can be sent again, tests on one server that a writer which was shut out is refused. With three
# replicas the same request is answered "stored, duplicate": the writer that lost the log believes that it owns it.
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

routes=nats://127.0.0.1:26221,nats://127.0.0.1:26222,nats://127.0.0.1:26223
"$nats" -js -a 127.0.0.1 -p 24220 -sd "$work/one" >/dev/null 2>&1 &
pids+=($!)
for member in 1 2 3; do
  "$nats" -js -a 127.0.0.1 -p "2422$member" -sd "$work/member$member" -n "n$member" --cluster_name c \
    --cluster "nats://127.0.0.1:2622$member" --routes "$routes" >/dev/null 2>&1 &
  pids+=($!)
done

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const [port, replicas] = process.argv.slice(2).map(Number);
const nc = await connect({ servers: `127.0.0.1:${port}`, waitOnFirstConnect: true });
const deadline = Date.now() + 60_000;
for (;;) {
  try {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name: "logs", subjects: ["log.*"], num_replicas: replicas });
    break;
  } catch (error) {
    if (Date.now() > deadline) throw error;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
const js = jetstream(nc);
const asFirst = { msgID: "append 1 of writer A", expect: { lastSubjectSequence: 0 } };
const { seq } = await js.publish("log.a", "from A", asFirst);
await js.publish("log.a", "B owns the log now", { expect: { lastSubjectSequence: seq } });
// A never saw its acknowledgement, and sends the same message with the same expectation again.
try {
  const { duplicate } = await js.publish("log.a", "from A", asFirst);
  console.log(duplicate ? "stored, duplicate" : "stored");
} catch (error) {
  console.log(`refused with ${error.code}`);
}
await nc.close();
PROBE
one=$(timeout 90 node probe.mjs 24220 1)
three=$(timeout 90 node probe.mjs 24221 3)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: a writer whose expectation is out of date is refused, whatever the number of replicas"
echo "seen:  1 replica: $one; 3 replicas: $three"
[ "$one" = "refused with 10071" ] && [ "$three" = "stored, duplicate" ] || {
  echo "this has changed"
  exit 1
}
