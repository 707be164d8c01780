#!/usr/bin/env bash
# @kubernetes/client-node: `await cpFromPod()` is over before a byte was copied; a lost connection is told to nobody.
#
# `Cp.cpFromPod()` and `cpToPod()` return a promise, and do not wait for what they begin: the line behind `await` finds no
# file, or the old one, and works with that. What goes wrong later is nobody's: half a file is left where the connection to
# the server breaks, as it does when an API server is updated. `Exec.exec()` below them calls back with the status of a
# command and says nothing at all if the connection ends before that; its output streams do not end, either. A script that
# waits for the status has nothing left that could happen, and Node ends it with 0, in the middle of `await`. The socket
# that `exec()` resolves with has a "close" event, and that is where to listen.
set -euo pipefail
client=2.0.1
ws_version=8.23.0
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --omit=optional "@kubernetes/client-node@$client" "ws@$ws_version" "node@$node_version"

cat >script.cjs <<'SCRIPT'
// A script that runs a command in a pod, or copies a log from one, and a server that does what the API server does.
const { execFileSync } = require("node:child_process");
const { existsSync, mkdirSync, rmSync, statSync, writeFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { PassThrough } = require("node:stream");
const { WebSocketServer } = require("ws");

const [what, breaks] = [process.argv[2], process.argv[3] === "breaks"];
const log = "a line of the log\n".repeat(5000);
mkdirSync("pod", { recursive: true });
writeFileSync("pod/log", log);
const archive = execFileSync("tar", ["-cf", "-", "-C", "pod", "log"]);
rmSync("copy", { recursive: true, force: true });
mkdirSync("copy");

const sockets = new WebSocketServer({ noServer: true, handleProtocols: ([protocol]) => protocol });
const server = createServer().on("upgrade", (request, connection, head) =>
  sockets.handleUpgrade(request, connection, head, (socket) => {
    socket.on("error", () => {});
    const output = request.url.includes("command=tar") ? archive : Buffer.from("all of the build\n");
    const sent = breaks ? output.subarray(0, output.length / 2) : output;
    socket.send(Buffer.concat([Buffer.from([1]), sent]), () => {
      if (breaks) return connection.end();
      socket.send(Buffer.concat([Buffer.from([3]), Buffer.from(JSON.stringify({ status: "Success" }))]));
      socket.close();
    });
  }));
server.listen(0, "127.0.0.1", async () => {
  const { Cp, Exec, KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  const cluster = { name: "here", server: `http://127.0.0.1:${server.address().port}`, skipTLSVerify: true };
  config.loadFromClusterAndUser(cluster, { name: "somebody" });
  server.unref();
  if (what === "exec") {
    const status = await new Promise((resolve, reject) =>
      new Exec(config).exec("space", "pod", "box", ["make"], new PassThrough().resume(), null, null, false, resolve)
        .catch(reject)
    );
    console.log(`the status is ${status.status}`);
  } else {
    process.on("exit", () => console.log(`at the end ${statSync("copy/log").size === log.length ? "all" : "a part"} of it`));
    await new Cp(config).cpFromPod("space", "pod", "box", "log", "copy");
    console.log(`behind await ${existsSync("copy/log") ? "a file" : "no file"}`);
  }
});
SCRIPT
seen=$(for what in exec copy; do
  for how in stays breaks; do
    said=$(timeout 30 node_modules/node/bin/node --no-deprecation script.cjs $what $how 2>/dev/null) && code=0 || code=$?
    echo "$what, the connection $how: $(tr '\n' ',' <<<"${said:-not a word}") exit code $code"
  done
done)
echo "@kubernetes/client-node $client, Node $node_version"
echo "guess: behind await there is the file, and a connection that breaks is an error"
echo "seen:"
echo "$seen"
[ "$seen" = "exec, the connection stays: the status is Success, exit code 0
exec, the connection breaks: not a word, exit code 0
copy, the connection stays: behind await no file,at the end all of it, exit code 0
copy, the connection breaks: behind await no file,at the end a part of it, exit code 0" ] || {
  echo "this has changed"
  exit 1
}
