#!/usr/bin/env bash
# node-ssh: a command whose connection is lost, or that is killed, ends as one that went well.
#
# `execCommand()` of node-ssh resolves with the exit code of a command and what it printed. A connection that goes away (the
# host restarts, a proxy closes it) resolves it, too, with the output so far: below, in ssh2, the channel is told "close"
# without a code. The code is null then, which `if (code)` and `code || 0` take for a success. It is null as well for a
# command that was killed, where `signal` is set; here nothing else tells. `exec()`, which hands over the output alone and
# rejects only for what stands on stderr, resolves. `ssh` exits with 255 for a lost connection. Only `code === 0` is a
# success.
set -euo pipefail
node_ssh=13.2.1
ssh2=1.17.0
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --omit=optional "node-ssh@$node_ssh" "ssh2@$ssh2" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { once } from "node:events";
import { NodeSSH } from "node-ssh";
import ssh2 from "ssh2";

// A server, of ssh2, whose commands print half of what they have to say and end as their name says.
const ends = {
  "fails": (channel) => (channel.exit(3), channel.end()),
  "is killed": (channel) => (channel.exit("KILL", false, ""), channel.end()),
  "loses its connection": (_, client) => client._sock.end(),
};
const hostKeys = [ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256 }).private];
const server = new ssh2.Server({ hostKeys }, (client) => {
  client.on("error", () => {});
  client.on("authentication", (request) => request.accept());
  client.on("session", (accept) => {
    accept().on("exec", (accept, _, { command }) => {
      const channel = accept();
      channel.write("half of the build\n", () => setImmediate(() => ends[command](channel, client)));
    });
  });
});
server.listen(0, "127.0.0.1");
await once(server._srv, "listening");

for (const command of Object.keys(ends)) {
  const outcomes = [];
  for (const method of ["execCommand", "exec"]) {
    const ssh = new NodeSSH();
    await ssh.connect({ host: "127.0.0.1", port: server.address().port, username: "u", password: "p" });

    const outcome = ssh[method](command, []).then((result) => `resolves ${JSON.stringify(result)}`, () => "rejects");
    outcomes.push(`${method} ${await outcome}`);
    ssh.dispose();
  }
  console.log(`a command that ${command}: ${outcomes.join(", ")}`);
}
process.exit();
PROBE
seen=$(timeout 40 node_modules/node/bin/node probe.mjs)
echo "node-ssh $node_ssh, ssh2 $ssh2, Node $node_version"
echo "guess: both reject where the connection is lost"
echo "seen:"
echo "$seen"
[ "$seen" = 'a command that fails: execCommand resolves {"code":3,"signal":null,"stdout":"half of the build","stderr":""}, exec resolves "half of the build"
a command that is killed: execCommand resolves {"code":null,"signal":"SIGKILL","stdout":"half of the build","stderr":""}, exec resolves "half of the build"
a command that loses its connection: execCommand resolves {"code":null,"signal":null,"stdout":"half of the build","stderr":""}, exec resolves "half of the build"' ] || {
  echo "this has changed"
  exit 1
}
