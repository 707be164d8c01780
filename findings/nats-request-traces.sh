#!/usr/bin/env bash
# NATS from JavaScript: half of what a request costs the client is a note of where it was made, for an error that never comes.
#
# Every request makes two error objects before it is sent, so that a failure can show the caller's stack; a publish to
# JetStream is a request, too. Whoever makes thousands a second pays for that with each one that succeeds, and the more the
# deeper the call stands. The option `noAsyncTraces` of the connection leaves them out.
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
npm install --silent "@nats-io/transport-node@$client_version" "@nats-io/jetstream@$client_version" >/dev/null

cat >probe.mjs <<'PROBE'
import { spawn } from "node:child_process";
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const [nats, directory] = process.argv.slice(2);
const server = spawn(nats, ["-a", "127.0.0.1", "-p", "24252", "-js", "-sd", directory], { stdio: "ignore" });
const where = { servers: "127.0.0.1:24252", waitOnFirstConnect: true, reconnectTimeWait: 100 };
const asItComes = await connect(where);
const withoutTraces = await connect({ ...where, noAsyncTraces: true });
const { streams } = await jetstreamManager(asItComes);
await streams.add({ name: "log", subjects: ["log"], storage: "memory", max_msgs: 1000 });

/** Publishes from a function that ten others have called. */
async function publish(js, depth = 10) {
  if (depth > 0) return await publish(js, depth - 1);
  await js.publish("log", "a line");
}

/** Processor time of a publish, in microseconds. */
async function cost(connection, count = 20_000) {
  const js = jetstream(connection);
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: 50 }, async () => {
    for (let sent = 0; sent < count / 50; sent++) await publish(js);
  }));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const costs = { asItComes: [], withoutTraces: [] };
for (let round = 0; round < 6; round++) {
  costs.asItComes.push(await cost(asItComes));
  costs.withoutTraces.push(await cost(withoutTraces));
}
// The first round warms up.
const [usual, bare] = [costs.asItComes, costs.withoutTraces].map((all) => median(all.slice(1)));
console.error(`a publish takes ${usual.toFixed(0)} us of processor time, ${bare.toFixed(0)} us without traces`);
console.log(`a publish costs more than 1.2 times what it costs without traces: ${usual > 1.2 * bare}`);
await asItComes.close();
await withoutTraces.close();
server.kill();
PROBE
seen=$(timeout 120 node probe.mjs "$nats" "$work/data" 2>figures)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/transport-node and jetstream $client_version"
echo "guess: what is kept for errors costs nothing where none comes"
echo "seen:"
echo "$seen"
cat figures
[ "$seen" = "a publish costs more than 1.2 times what it costs without traces: true" ] || {
  echo "this has changed"
  exit 1
}
