#!/usr/bin/env bash
# wget, curl, Deno: a POST whose answer is lost is sent again by itself, and what it appends is there twice, as a success.
#
# A server that was killed between storing and answering, or a proxy that gave up, ends a connection without an answer. For
# a POST nobody knows then whether it was done, so a client must not repeat it by itself (RFC 9110, 9.2.2) unless it knows
# that it was not. wget repeats whatever fails, 20 times by default, a POST as well, though its manual explains the tries
# for downloads. curl does so once, without `--retry`, where the connection had served a request before (`--next`, several
# URLs, a handle of libcurl that is kept), and so do `fetch` and node:http of Deno: they take the loss for a connection that
# was closed while it rested, and a test with one request never shows it. `fetch` of Node reports it. A line that is
# appended needs a number of its own, by which the other side can tell a repetition.
set -euo pipefail
curl_version=8.23.0-1 # Debian sid
wget_version=1.25.0-3
deno_version=2.9.6 # npm
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# Both with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
packages=("curl=$curl_version" "wget=$wget_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
npm init -y >/dev/null
npm install --silent "deno@$deno_version" >/dev/null

cat >fetch.mjs <<'FETCH'
const [url, warm] = process.argv.slice(2);
if (warm) await (await fetch(url)).text();
const answer = await fetch(url, { method: "POST", body: "a line" });
if (!answer.ok) process.exit(1);
FETCH
cat >http.mjs <<'HTTP'
import { Agent, request } from "node:http";
const [url, warm] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const ask = (method, body) =>
  new Promise((resolve, reject) => {
    request(url, { agent, method }, (answer) => answer.resume().on("end", resolve)).on("error", reject).end(body);
  });
if (warm) await ask("GET");
await ask("POST", "a line");
process.exit();
HTTP

cat >probe.mjs <<'PROBE'
// Stores each line; ends the connection in the place of the first answer.
import { spawn } from "node:child_process";
import { createServer } from "node:http";

const [root, loader] = process.argv.slice(2);
let lines;
const server = createServer((request, response) => {
  if (request.method === "GET") return response.end();
  request.resume().on("end", () => ++lines === 1 ? request.socket.destroy() : response.end());
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}/log`;
const debian = (name) => [loader, "--library-path", `${root}/usr/lib/x86_64-linux-gnu`, `${root}/usr/bin/${name}`];
const deno = ["node_modules/deno/deno", "run", "-A"];
const clients = {
  wget: () => [...debian("wget"), "-q", "-O", "got", "--waitretry=0", "--post-data=a line", url],
  curl: (warm) => [...debian("curl"), "-s", ...warm.flatMap(() => [url, "--next", "-s"]), "-d", "a line", url],
  "fetch of Deno": (warm) => [...deno, "fetch.mjs", url, ...warm],
  "node:http of Deno": (warm) => [...deno, "http.mjs", url, ...warm],
  "fetch of Node": (warm) => [process.execPath, "fetch.mjs", url, ...warm],
  "node:http of Node": (warm) => [process.execPath, "http.mjs", url, ...warm],
};
for (const [name, command] of Object.entries(clients)) {
  const outcomes = [];
  for (const warm of name === "wget" ? [[]] : [[], ["warm"]]) {
    lines = 0;
    const [program, ...args] = command(warm);
    const child = spawn(program, args, { stdio: "ignore", timeout: 20_000, killSignal: "SIGKILL" });
    const code = await new Promise((resolve) => child.on("close", resolve));
    outcomes.push(`${lines} (${code ? "failed" : code})`);
  }
  console.log(`${name}: ${outcomes.join(", on a connection that was used ")}`);
}
process.exit();
PROBE
seen=$(timeout 120 node probe.mjs root "$loader")
echo "curl $curl_version, wget $wget_version, Deno $deno_version, Node $(node --version)"
echo "how often a line is stored by a POST whose first answer is lost, and the exit code"
echo "guess: once, and the client fails"
echo "seen:"
echo "$seen"
[ "$seen" = "wget: 2 (0)
curl: 1 (failed), on a connection that was used 2 (0)
fetch of Deno: 1 (failed), on a connection that was used 2 (0)
node:http of Deno: 1 (failed), on a connection that was used 2 (0)
fetch of Node: 1 (failed), on a connection that was used 1 (failed)
node:http of Node: 1 (failed), on a connection that was used 1 (failed)" ] || {
  echo "this has changed"
  exit 1
}
