#!/usr/bin/env bash
# NATS object store from JavaScript: who reads an object while it is replaced, or deleted, waits for ever.
#
# An object is stored in chunks, and `put()` of the same name, once the new chunks are there, purges the old ones, under
# those who are still reading them. `get()` ends its stream at the chunk that has none behind it, and a chunk that was
# purged never comes: the stream neither ends nor fails, and the promise `error`, which is to tell whether the object was
# whole, never settles. The connection is sound, and `get()` has no option for a timeout. `getBlob()` is the
# same. It takes an object that is longer than what the client reads in one go: tests with small ones do not show it.
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
npm install --silent "@nats-io/obj@$client_version" "@nats-io/jetstream@$client_version" \
  "@nats-io/transport-node@$client_version" >/dev/null

"$nats" -js -a 127.0.0.1 -p 24311 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { Objm } from "@nats-io/obj";

const nc = await connect({ servers: "127.0.0.1:24311", waitOnFirstConnect: true });
const store = await new Objm(nc).create("images");
const whole = new Uint8Array(64e6).fill(97);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms, "waits"));

const outcome = async (change) => {
  const { data, error } = await store.get("disk");
  const reader = data.getReader();
  await reader.read();
  const end = async () => {
    while (!(await reader.read()).done);
    return "ends";
  };
  const read = await Promise.race([end().catch(() => "fails"), change().then(() => pause(10_000))]);
  const settled = error.then(() => "settles", () => "settles");
  return `the stream ${read}, the promise ${await Promise.race([settled, pause(1000)])}`;
};
await store.putBlob({ name: "disk" }, whole);
console.log("untouched:", await outcome(() => new Promise(() => {})));
console.log("replaced:", await outcome(() => store.putBlob({ name: "disk" }, new Uint8Array(10))));
await store.putBlob({ name: "disk" }, whole);
console.log("deleted:", await outcome(() => store.delete("disk")));
process.exit();
PROBE
seen=$(timeout 100 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/obj $client_version; 10 s after the change"
echo "guess: who has begun to read an object reads it to its end, or is told that it is gone"
echo "seen:"
echo "$seen"
[ "$seen" = "untouched: the stream ends, the promise settles
replaced: the stream waits, the promise waits
deleted: the stream waits, the promise waits" ] || {
  echo "this has changed"
  exit 1
}
