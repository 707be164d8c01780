#!/usr/bin/env bash
# NATS JetStream: a mirror of a stream that was made anew holds old messages with the rest of the new ones, and lags by 0.
#
# A mirror keeps the sequences of its origin, and knows the origin by its name. When that stream is deleted and made again
# (an import that starts over, a restored or re-provisioned server), the mirror keeps what it had and waits for the sequence
# behind it: of the new stream it skips as many messages as it had old ones, for good. All that an operator looks at is
# sound: lag 0, no error, and once the origin has passed the old number, the same count and the same last sequence on
# both. Who reads the mirror reads a history that never was. A stream that takes the same origin by `sources` gets all
# of the new messages within a minute. The mirror has to be deleted, too.
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

"$nats" -js -a 127.0.0.1 -p 24313 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24313", waitOnFirstConnect: true });
const manager = await jetstreamManager(nc);
const client = jetstream(nc);
const publish = async (text, count) => {
  for (let each = 0; each < count; each += 1) await client.publish("log.line", text);
};
const state = async (name) => (await manager.streams.info(name)).state;
const reached = async (name, sequence) => {
  while ((await state(name)).last_seq < sequence) await new Promise((resolve) => setTimeout(resolve, 100));
};
const tell = async (when) => {
  console.log(`${when}:`);
  for (const name of ["origin", "mirror", "sourced"]) {
    const { mirror, sources } = await manager.streams.info(name);
    const { last_seq, messages } = await state(name);
    const texts = [];
    for (let sequence = 1; sequence <= last_seq; sequence += 1) {
      texts.push((await manager.streams.getMessage(name, { seq: sequence })).string());
    }
    const count = (text) => texts.filter((each) => each === text).length;
    const [of] = mirror === undefined ? sources ?? [] : [mirror];
    const lag = of === undefined ? "" : `, lag ${of.lag}, error ${of.error?.description ?? "none"}`;
    console.log(`  ${name}: ${messages} messages, ${count("old")} old and ${count("new")} new${lag}`);
  }
};

await manager.streams.add({ name: "origin", subjects: ["log.>"] });
await manager.streams.add({ name: "mirror", mirror: { name: "origin" } });
await manager.streams.add({ name: "sourced", sources: [{ name: "origin" }] });
await publish("old", 100);
await Promise.all([reached("mirror", 100), reached("sourced", 100)]);
await manager.streams.delete("origin");
await manager.streams.add({ name: "origin", subjects: ["log.>"] });
await publish("new", 60);
await reached("sourced", 160);
await new Promise((resolve) => setTimeout(resolve, 10_000));
await tell("made anew, 60 messages");
await publish("new", 60);
await Promise.all([reached("mirror", 120), reached("sourced", 220)]);
await new Promise((resolve) => setTimeout(resolve, 10_000));
await tell("60 more");
process.exit();
PROBE
seen=$(timeout 150 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'); 100 messages, the stream deleted and made again, then 60 and 60"
echo "guess: a mirror with lag 0 holds what its origin holds, or tells an error"
echo "seen:"
echo "$seen"
[ "$seen" = "made anew, 60 messages:
  origin: 60 messages, 0 old and 60 new
  mirror: 100 messages, 100 old and 0 new, lag 0, error none
  sourced: 160 messages, 100 old and 60 new, lag 0, error none
60 more:
  origin: 120 messages, 0 old and 120 new
  mirror: 120 messages, 100 old and 20 new, lag 0, error none
  sourced: 220 messages, 100 old and 120 new, lag 0, error none" ] || {
  echo "this has changed"
  exit 1
}
