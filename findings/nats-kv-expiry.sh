#!/usr/bin/env bash
# NATS KV from JavaScript: a key that expires does so late, by the history of its bucket, and `keys()` names it after that.
#
# Leases and presence are keys with a time of their own: `create(key, value, "1s")`, in a bucket with `markerTTL`, which
# keeps a marker of each key that expired for those who watch. Where the bucket has a history, the server raises the time
# of the key to that of the markers, without a word: a lease of a second is held for the minute that somebody chose for
# markers. With a history of 1, the default, it is not raised. When the key has expired `get()` knows that (PURGE), and
# `keys()`, which looks for the mark of `delete` and `purge` only, names it as long as the marker lasts.
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
npm install --silent "@nats-io/kv@$client_version" "@nats-io/jetstream@$client_version" \
  "@nats-io/transport-node@$client_version" >/dev/null

"$nats" -js -a 127.0.0.1 -p 24312 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { Kvm } from "@nats-io/kv";

const nc = await connect({ servers: "127.0.0.1:24312", waitOnFirstConnect: true });
const buckets = [];
for (const history of [1, 5]) {
  const bucket = await new Kvm(nc).create(`history-${history}`, { history, markerTTL: 30_000 });
  await bucket.create("lease", "held", "1s");
  await bucket.create("purged", "there");
  await bucket.purge("purged");
  buckets.push({ history, bucket });
}
await new Promise((resolve) => setTimeout(resolve, 5000));
for (const { history, bucket } of buckets) {
  const { operation } = await bucket.get("lease");
  const keys = [];
  for await (const key of await bucket.keys()) keys.push(key);
  console.log(`history of ${history}: get() finds ${operation}, keys(): ${keys.join(" ")}`);
}
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/kv $client_version; a lease of 1 s, after 5 s, markers of 30 s"
echo "guess: the lease is over with any history, and no key is named that is gone for get()"
echo "seen:"
echo "$seen"
[ "$seen" = "history of 1: get() finds PURGE, keys(): lease
history of 5: get() finds PUT, keys(): lease" ] || {
  echo "this has changed"
  exit 1
}
