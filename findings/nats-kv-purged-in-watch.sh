#!/usr/bin/env bash
# NATS KV from JavaScript: a watch that ignores deletes still delivers purged keys, with an empty value.
#
# A key of a bucket ends by `delete`, which keeps its history, or by `purge`, which does not; `keys()` and `get()` take
# both for gone. `watch({ ignoreDeletes: true })` leaves out the first kind only (the client for Go leaves out both). Who
# parses the values of such a watch fails at its start, long after the purge, at each restart, until the marker goes.
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
npm install --silent "@nats-io/jetstream@$client_version" "@nats-io/kv@$client_version" \
  "@nats-io/transport-node@$client_version" >/dev/null

"$nats" -js -a 127.0.0.1 -p 24270 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

const nc = await connect({ servers: "127.0.0.1:24270", waitOnFirstConnect: true });
const kv = await new Kvm(jetstream(nc)).create("settings");
for (const key of ["kept", "deleted", "purged"]) await kv.put(key, "{}");
await kv.delete("deleted");
await kv.purge("purged");

const keys = [];
for await (const key of await kv.keys()) keys.push(key);
console.log(`keys: ${keys.join(", ")}`);
const entries = [];
const watch = await kv.watch({ ignoreDeletes: true });
await kv.put("last", "{}");
for await (const entry of watch) {
  if (entry.key === "last") break;
  entries.push(`${entry.key} '${entry.string()}'`);
}
console.log(`watch: ${entries.join(", ")}`);
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/kv $client_version"
echo "guess: what is gone for keys() is gone for a watch that ignores deletes"
echo "seen:"
echo "$seen"
[ "$seen" = "keys: kept
watch: kept '{}', purged ''" ] || {
  echo "this has changed"
  exit 1
}
