#!/usr/bin/env bash
# NATS KV from JavaScript: the clean-up of deleted keys deletes keys that exist, if they were deleted once before.
#
# `purgeDeletes()` of a bucket removes what deleted keys leave behind, in Go and Java as in JavaScript, where it stands in
# the class and not in the documented type. The others look at the last entry of each key, nats.js looks at the history:
# a key that was deleted, and put again since, has a deletion in it, and is purged with the value that everybody reads. It
# takes a bucket with a history (one entry for a key is the default) and, by default, a deletion that is older than half an
# hour, so that a test that deletes, puts and cleans up at once sees the key.
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

"$nats" -js -a 127.0.0.1 -p 24320 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

const nc = await connect({ servers: "127.0.0.1:24320", waitOnFirstConnect: true });
const kvm = new Kvm(jetstream(nc));
for (const history of [1, 5]) {
  const kv = await kvm.create(`history-${history}`, { history });
  await kv.put("kept", "1");
  await kv.put("deleted", "1");
  await kv.delete("deleted");
  await kv.put("again", "1");
  await kv.delete("again");
  await kv.put("again", "2");
  const keys = async () => {
    const found = [];
    for await (const key of await kv.keys()) found.push(key);
    return found.sort().join(" ");
  };
  const before = await keys();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await kv.purgeDeletes(10); // deletions older than 10 ms
  console.log(`history of ${history}: '${before}' before, '${await keys()}' after`);
}
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/kv $client_version"
echo "guess: a clean-up of what deleted keys leave behind takes no key that exists"
echo "seen:"
echo "$seen"
[ "$seen" = "history of 1: 'again kept' before, 'again kept' after
history of 5: 'again kept' before, 'kept' after" ] || {
  echo "this has changed"
  exit 1
}
