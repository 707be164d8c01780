#!/usr/bin/env bash
# NATS JetStream: a message that is to be delivered later is acknowledged, and never comes, in streams of several kinds.
#
# A publish with a schedule (`Nats-Schedule: @at …`, `schedule` in nats.js) is stored under its own subject and delivered to
# its target when it is due. Until then it is a message like any other: whatever removes one removes the delivery, and the
# publisher, who was acknowledged, hears nothing of it. With retention by interest it is gone at once, stored nowhere, as
# nobody consumes the subject of schedules, though a consumer waits for the target. `max_age` has to be longer than the
# longest delay, and a second schedule to one subject takes the place of the first, so that each needs a subject of its
# own. Trying it with one message in a plain stream shows none of this.
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

"$nats" -js -a 127.0.0.1 -p 24316 -sd "$work/store" >/dev/null 2>&1 &
pids+=($!)

cat >probe.mjs <<'PROBE'
import { connect } from "@nats-io/transport-node";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({ servers: "127.0.0.1:24316", waitOnFirstConnect: true });
const manager = await jetstreamManager(nc);
const client = jetstream(nc);

const deliver = async ([name, config, subject = (at) => `later.${at}`], at) => {
  const stream = `S${at}`;
  await manager.streams.add({
    name: stream,
    subjects: [`${stream}.>`],
    allow_msg_schedules: true,
    allow_rollup_hdrs: true,
    ...config,
  });
  const filter_subject = `${stream}.due`;
  await manager.consumers.add(stream, { durable_name: "worker", ack_policy: "explicit", filter_subject });
  const specification = new Date(Date.now() + 8000);
  const publish = (each) =>
    client.publish(`${stream}.${subject(each)}`, `${each}`, { schedule: { specification, target: filter_subject } });
  let acknowledged = 0;
  for (const each of [1, 2, 3]) acknowledged += (await publish(each)).seq > 0 ? 1 : 0;
  const { messages } = (await manager.streams.info(stream)).state;
  let delivered = 0;
  const due = await (await client.consumers.get(stream, "worker")).fetch({ max_messages: 3, expires: 20_000 });
  for await (const message of due) {
    message.ack();
    delivered += 1;
  }
  return `${name}: ${acknowledged} acknowledged, ${messages} stored, ${delivered} delivered`;
};
const cases = [
  ["limits, the default", {}],
  ["work queue", { retention: "workqueue" }],
  ["interest", { retention: "interest" }],
  ["max_age of 3 s", { max_age: 3e9 }],
  ["one subject for all", {}, () => "later"],
];
for (const line of await Promise.all(cases.map(deliver))) console.log(line);
process.exit();
PROBE
seen=$(timeout 100 node probe.mjs)
echo "nats-server $("$nats" --version | sed 's/.*v//'), @nats-io/jetstream $client_version; three messages, due after 8 s"
echo "guess: what was acknowledged with a schedule is delivered when it is due"
echo "seen:"
echo "$seen"
[ "$seen" = "limits, the default: 3 acknowledged, 3 stored, 3 delivered
work queue: 3 acknowledged, 3 stored, 3 delivered
interest: 3 acknowledged, 0 stored, 0 delivered
max_age of 3 s: 3 acknowledged, 3 stored, 0 delivered
one subject for all: 3 acknowledged, 1 stored, 1 delivered" ] || {
  echo "this has changed"
  exit 1
}
