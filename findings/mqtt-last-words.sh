#!/usr/bin/env bash
# MQTT.js: what is published while the client connects, or while its connection is gone, is dropped by `end()`.
#
# A job that tells how it went publishes one message and ends: `connect()`, `publish()`, `end()`. MQTT.js keeps what is
# published until it is connected, and `end()` waits for what is on its way, unless it is forced to. It does not wait for
# what it keeps: the message is never sent. For QoS 0 `endAsync()` resolves, as after a success; for QoS 1, "at least once",
# neither it nor `publishAsync()` is ever settled, so that Node ends the script with 0 in the middle of `await`. It is so when
# the broker restarts while the job says its last words, and at a start, where `end()` besides leaves the connection open and
# the script goes on for ever. With `await publishAsync()` in front of `end()` each of them arrives once it is connected.
set -euo pipefail
mqtt_version=5.16.0
aedes_version=1.2.0 # the broker
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --omit=optional "mqtt@$mqtt_version" "aedes@$aedes_version" "node@$node_version"

cat >job.cjs <<'JOB'
const { once } = require("node:events");
const mqtt = require("mqtt");
const [port, when, how, qos] = process.argv.slice(2);
(async () => {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`);
  await once(client, "connect");
  if (when === "disconnected") {
    client.stream.destroy();
    await once(client, "close");
  }
  const published = client.publishAsync("job", "it went well", { qos: Number(qos) });
  published.then(() => console.log("published"), () => console.log("not published"));
  if (how === "awaited") await published;
  await client.endAsync();
  console.log("ended");
})();
JOB
cat >probe.mjs <<'PROBE'
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Aedes } from "aedes";

const broker = await Aedes.createBroker();
let arrived = 0;
broker.on("publish", (_, client) => client && arrived++);
const server = createServer(broker.handle).listen(0, "127.0.0.1");
await once(server, "listening");
for (const when of ["connected", "disconnected"]) {
  for (const [how, qos] of [["at once", 0], ["at once", 1], ["awaited", 1]]) {
    arrived = 0;
    const [end, said] = await new Promise((resolve) =>
      execFile(process.execPath, ["job.cjs", server.address().port, when, how, qos], (error, stdout) =>
        resolve([`exit code ${error?.code ?? 0}`, stdout.trim().split("\n").join(", ")]))
    );
    console.log(`${when}, QoS ${qos}, end() ${how}: ${said || "not a word"}, ${end}; ${arrived} arrived`);
  }
}
process.exit();
PROBE
seen=$(timeout 55 node_modules/node/bin/node probe.mjs)
echo "MQTT.js $mqtt_version, Node $node_version, aedes $aedes_version"
echo "guess: 1 arrived, ended, exit code 0"
echo "seen:"
echo "$seen"
[ "$seen" = "connected, QoS 0, end() at once: published, ended, exit code 0; 1 arrived
connected, QoS 1, end() at once: published, ended, exit code 0; 1 arrived
connected, QoS 1, end() awaited: published, ended, exit code 0; 1 arrived
disconnected, QoS 0, end() at once: ended, exit code 0; 0 arrived
disconnected, QoS 1, end() at once: not a word, exit code 0; 0 arrived
disconnected, QoS 1, end() awaited: published, ended, exit code 0; 1 arrived" ] || {
  echo "this has changed"
  exit 1
}
