#!/usr/bin/env bash
# NATS JetStream: a message that was deleted is still a duplicate, until the server starts anew.
#
# Who empties a stream to import it again, or deletes one wrong message to send it again, is told "stored, duplicate" with
# a sequence for each as long as the duplicate window (2 minutes by default) lasts, and the stream stays empty: ids are
# kept apart from messages, and neither a purge nor a deletion takes them. A restart makes the list of ids anew from the
# messages that are there, and the same import is stored. So the duplicate that was acknowledged is no proof that the
# message is there, and what a test sees depends on whether it restarted the server.
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

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24240", waitOnFirstConnect: true });
const jsm = await jetstreamManager(nc);
const js = jetstream(nc);
const again = async (subject, msgID) => {
  const { duplicate } = await js.publish(subject, "content", { msgID });
  return duplicate ? "duplicate" : "stored";
};
if (process.argv[2] === "first") {
  await jsm.streams.add({ name: "logs", subjects: ["log.*"] });
  const { seq } = await js.publish("log.deleted", "content", { msgID: "1" });
  await jsm.streams.deleteMessage("logs", seq);
  await js.publish("log.purged", "content", { msgID: "2" });
  await jsm.streams.purge("logs", { filter: "log.purged" });
}
const outcomes = [`deleted: ${await again("log.deleted", "1")}`, `purged: ${await again("log.purged", "2")}`];
const { state } = await jsm.streams.info("logs");
console.log(`${outcomes.join(", ")}, messages in the stream: ${state.messages}`);
await nc.close();
PROBE
run() { # STEP
  "$nats" -js -a 127.0.0.1 -p 24240 -sd "$work/store" >/dev/null 2>&1 &
  pids=($!)
  timeout 60 node probe.mjs "$1"
  kill "${pids[@]}"
  wait
  pids=()
}
run first >first
run later >later
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: what is acknowledged is in the stream; a message that is not there is no duplicate"
echo "seen:"
echo "sent again: $(cat first)"
echo "sent again after a restart: $(cat later)"
[ "$(cat first)" = "deleted: duplicate, purged: duplicate, messages in the stream: 0" ] &&
  [ "$(cat later)" = "deleted: stored, purged: stored, messages in the stream: 2" ] || {
  echo "this has changed"
  exit 1
}
