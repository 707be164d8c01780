#!/usr/bin/env bash
# NATS from JavaScript: what is published while the connection is gone is neither refused nor sent after it is back.
#
# The clients for Go and Java keep what is published while they reconnect and send it then. nats.js takes the call, too,
# and forgets it: a JetStream publish ends with its timeout, long after the connection is back, as if the server had not
# answered, and `nc.publish()`, which returns nothing, loses its message without a word. A server that is restarted within
# a second costs every publish of that second its whole timeout.
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
import { spawn } from "node:child_process";
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const [nats, store] = process.argv.slice(2);
const start = () => spawn(nats, ["-js", "-a", "127.0.0.1", "-p", "24250", "-sd", store], { stdio: "ignore" });
let server = start();
const nc = await connect({
  servers: "127.0.0.1:24250",
  waitOnFirstConnect: true,
  reconnectTimeWait: 100,
  maxReconnectAttempts: -1,
});
const jsm = await jetstreamManager(nc);
const js = jetstream(nc, { timeout: 10_000 });
await jsm.streams.add({ name: "logs", subjects: ["log.*"] });

const seen = (type) =>
  new Promise((resolve) => {
    (async () => {
      for await (const status of nc.status()) if (status.type === type) return resolve();
    })();
  });
const [gone, back] = [seen("disconnect"), seen("reconnect")];
const exited = new Promise((resolve) => server.once("exit", resolve));
server.kill();
await Promise.all([gone, exited]);

const publishes = ["1", "2", "3"].map((text) =>
  js.publish("log.jetstream", text).then(() => "stored", (error) => error.message)
);
nc.publish("log.core", "4");
const began = Date.now();
server = start();
await back;
console.error(`back after ${Date.now() - began} ms`);
await nc.flush();
console.log(`JetStream: ${(await Promise.all(publishes)).join(", ")}`);
console.error(`told after ${Date.now() - began} ms`);
console.log(`messages in the stream: ${(await jsm.streams.info("logs")).state.messages} of 4`);
await nc.close();
server.kill();
PROBE
seen=$(timeout 60 node probe.mjs "$nats" "$work/store" 2>times)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version"
echo "guess: four messages are stored when the connection is back, or each publish is refused at once"
echo "seen:"
echo "$seen"
cat times
[ "$seen" = "JetStream: timeout, timeout, timeout
messages in the stream: 0 of 4" ] || {
  echo "this has changed"
  exit 1
}
