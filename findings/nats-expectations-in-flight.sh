#!/usr/bin/env bash
# NATS JetStream: appends whose expected sequences follow each other can be in flight together on one replica only.
#
# A writer of an append-only log knows which sequence each of its messages will get as long as nobody else writes to the
# stream, and sends several with rising expectations before the first is acknowledged. One server takes all of them; with
# three replicas all but the first are refused as long as that one is being agreed on, with a code (10164) of its own whose
# text is that of a writer who lost: throughput tests on one server promise what a cluster does not do.
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

routes=nats://127.0.0.1:26231,nats://127.0.0.1:26232,nats://127.0.0.1:26233
"$nats" -js -a 127.0.0.1 -p 24230 -sd "$work/one" >/dev/null 2>&1 &
pids+=($!)
for member in 1 2 3; do
  "$nats" -js -a 127.0.0.1 -p "2423$member" -sd "$work/member$member" -n "n$member" --cluster_name c \
    --cluster "nats://127.0.0.1:2623$member" --routes "$routes" >/dev/null 2>&1 &
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
const { seq } = await js.publish("log.a", "1", { expect: { lastSubjectSequence: 0 } });
const appends = [seq, seq + 1, seq + 2, seq + 3].map((lastSubjectSequence, index) =>
  js.publish("log.a", String(index + 2), { expect: { lastSubjectSequence } })
);
const results = await Promise.allSettled(appends);
console.log(results.map(({ reason }) => reason === undefined ? "stored" : reason.code).join(", "));
await nc.close();
PROBE
one=$(timeout 90 node probe.mjs 24230 1)
three=$(timeout 90 node probe.mjs 24231 3)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: four appends in flight, each expecting the one before, are stored or refused alike on 1 and on 3 replicas"
echo "seen:  1 replica: $one; 3 replicas: $three"
[ "$one" = "stored, stored, stored, stored" ] && [ "$three" = "stored, 10164, 10164, 10164" ] || {
  echo "this has changed"
  exit 1
}
