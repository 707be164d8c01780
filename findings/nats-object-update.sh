#!/usr/bin/env bash
# NATS object store from JavaScript: an update of an object's description takes its metadata, and a link its target.
#
# `update(name, meta)` takes some of the metadata of an object (`Partial` in the types), and objects and links alike may be
# updated (ADR-20). What is not named is lost all the same: metadata and options by a new description, the description by
# new metadata. What makes an object a link stands in its options: a link that is given a description is none any more, and
# as it has no content of its own, `get()` and `getBlob()` fail with a TypeError from then on. `update()` resolves.
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

"$nats" -js -a 127.0.0.1 -p 24317 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { Objm } from "@nats-io/obj";

const nc = await connect({ servers: "127.0.0.1:24317", waitOnFirstConnect: true });
const store = await new Objm(nc).create("logs");
const content = new TextEncoder().encode("the log\n");
await store.putBlob({ name: "log", description: "of a run", metadata: { run: "17" } }, content);
await store.link("latest", await store.info("log"));

const told = async (name) => {
  const info = await store.info(name);
  const read = await store.getBlob(name).then((bytes) => `${bytes.length} bytes`, (error) => error.name);
  return `'${info.description}', run ${info.metadata.run}, ${info.isLink() ? "link" : "no link"}, ${read}`;
};
const change = async (name, meta) => {
  const before = await told(name);
  const named = Object.keys(meta);
  await store.update(name, meta);
  console.log(`${name}: ${before}; after an update of the ${named}: ${await told(name)}`);
};
await change("latest", { description: "the newest" });
await change("log", { description: "of run 17" });
await change("log", { metadata: { run: "18" } });
await nc.close();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/obj $client_version"
echo "guess: an update changes what it names"
echo "seen:"
echo "$seen"
[ "$seen" = "latest: '', run undefined, link, 8 bytes; after an update of the description: 'the newest', run undefined, no link, TypeError
log: 'of a run', run 17, no link, 8 bytes; after an update of the description: 'of run 17', run undefined, no link, 8 bytes
log: 'of run 17', run undefined, no link, 8 bytes; after an update of the metadata: '', run 18, no link, 8 bytes" ] || {
  echo "this has changed"
  exit 1
}
