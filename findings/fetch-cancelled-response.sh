#!/usr/bin/env bash
# fetch of Node 26 and of Deno: half a response over HTTP/2 is a whole one if the server says that it was cancelled.
#
# HTTP/2 tells that a body is not whole by RST_STREAM, with a code for the reason. HAProxy passes on that its server broke
# off with the code CANCEL, nginx and Caddy with INTERNAL_ERROR. For both `fetch` CANCEL is the end of the body: the promise
# resolves with a part and status 200, even where Content-Length says otherwise. `fetch` of Node began to offer HTTP/2 by
# itself between 24 and 26: the same program, server and proxy told of the failure before. curl (92) and Bun tell it still.
set -euo pipefail
haproxy_version=3.2.26-1 # Debian sid, as all of it
curl_version=8.23.0-1
deno_version=2.9.6
bun_version=1.4.5
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "deno@$deno_version" "bun@$bun_version" node26@npm:node@26.10.0 node24@npm:node@24.9.0

# HAProxy and curl with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "haproxy=$haproxy_version" "curl=$curl_version" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "haproxy=$haproxy_version" "curl=$curl_version" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
curl=("$loader" --library-path root/usr/lib/x86_64-linux-gnu root/usr/bin/curl -s -o /dev/null --cacert certificate.pem)

cat >origin.cjs <<'ORIGIN'
// An origin whose answers break off in the middle, as of a process that was killed.
const heads = { "/chunks": "Transfer-Encoding: chunked\r\n\r\nb\r\n", "/length": "Content-Length: 22\r\n\r\n" };
require("node:net").createServer((socket) => {
  socket.on("data", (request) => {
    socket.write(`HTTP/1.1 200 OK\r\n${heads[String(request).split(" ")[1]]}half of it\n`);
    setTimeout(() => socket.destroy(), 300);
  });
  socket.on("error", () => {});
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
ORIGIN
node origin.cjs >origin.port &
pids+=($!)
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 2 -subj /CN=localhost \
  -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost 2>/dev/null
cat key.pem certificate.pem >both.pem
until [ -s origin.port ]; do sleep 0.1; done
cat >haproxy.cfg <<CONF
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend tls
  bind 127.0.0.1:24331 ssl crt $work/both.pem alpn h2,http/1.1
  default_backend origin
backend origin
  server origin 127.0.0.1:$(cat origin.port)
CONF
"$loader" --library-path root/usr/lib/x86_64-linux-gnu root/usr/sbin/haproxy -f haproxy.cfg >haproxy.log 2>&1 &
pids+=($!)
server=https://localhost:24331
until "${curl[@]}" -m 2 "$server/length" || [ $? -ne 7 ]; do sleep 0.1; done

cat >probe.mjs <<'PROBE'
const [name, server] = process.argv.slice(2);
const outcomes = [];
for (const path of ["chunks", "length"]) {
  const whole = fetch(`${server}/${path}`).then((response) => response.text());
  outcomes.push(`${path}: ${await whole.then((text) => `success with ${text.length} bytes`, () => "an error")}`);
}
console.log(`${name}, ${outcomes.join(", ")}`);
process.exit();
PROBE
curl_outcome() { # PATH
  local code=0
  "${curl[@]}" -m 20 --http2 "$server/$1" || code=$?
  echo "$1: code $code"
}
export NODE_EXTRA_CA_CERTS=$work/certificate.pem NO_COLOR=1
seen="curl, $(curl_outcome chunks), $(curl_outcome length)
$(timeout 60 node_modules/.bin/bun probe.mjs Bun "$server")
$(timeout 60 node_modules/node24/bin/node probe.mjs "Node 24" "$server")
$(timeout 60 node_modules/node26/bin/node probe.mjs "Node 26" "$server" 2>/dev/null)
$(timeout 60 node_modules/deno/deno run -A --cert certificate.pem probe.mjs Deno "$server")"
echo "HAProxy $haproxy_version, curl $curl_version, Bun $bun_version, Node 24.9.0 and 26.10.0, Deno $deno_version"
echo "guess: a response that broke off behind the proxy is an error for all, as it is for curl"
echo "seen:"
echo "$seen"
[ "$seen" = "curl, chunks: code 92, length: code 92
Bun, chunks: an error, length: an error
Node 24, chunks: an error, length: an error
Node 26, chunks: success with 11 bytes, length: success with 11 bytes
Deno, chunks: success with 11 bytes, length: success with 11 bytes" ] || {
  echo "this has changed"
  exit 1
}
