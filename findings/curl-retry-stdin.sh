#!/usr/bin/env bash
# curl: an upload from standard input that is tried again after a 503 is sent empty, and told as a success.
#
# `make | curl -f -T - --retry 3 URL` is how a log leaves CI. The first try reads the pipe to its end. If the server, or a
# proxy that starts anew, answers 503, curl sends the same request again, with what the pipe still holds: nothing. The
# server stores an empty file, perhaps in the place of a good one, and curl exits with 0. That curl knows it cannot rewind
# shows a redirect (307), at which it gives up with 65; `--data-binary @-` keeps the content in memory and sends it whole.
set -euo pipefail
version=8.23.0-1 # Debian sid
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# curl with the libraries it wants, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "curl=$version" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "curl=$version" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
curl=("$loader" --library-path root/usr/lib/x86_64-linux-gnu root/usr/bin/curl)

cat >server.cjs <<'SERVER'
// A server that is not ready for the first upload to a path, and takes the next one; /moved is a redirect.
const { createServer } = require("node:http");
const { appendFileSync } = require("node:fs");
const tried = new Set();
createServer((request, response) => {
  let length = 0;
  request.on("data", (chunk) => length += chunk.length);
  request.on("end", () => {
    response.statusCode = request.url === "/moved" ? 307 : tried.has(request.url) ? 201 : 503;
    if (response.statusCode === 307) response.setHeader("Location", "/elsewhere");
    tried.add(request.url);
    appendFileSync("requests", `${response.statusCode} for ${length} bytes; `);
    response.end();
  });
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
SERVER
node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done
origin=http://127.0.0.1:$(cat port)

outcome() { # OPTION…
  local code=0
  rm -f requests
  seq 1000 | "${curl[@]}" -s -f -L -m 20 --retry 2 --retry-delay 1 "$@" || code=$?
  echo "$(cat requests)curl ends with $code"
}
seen="-T -: $(outcome -T - "$origin/stdin")
-T -, redirect: $(outcome -T - "$origin/moved")
--data-binary @-: $(outcome --data-binary @- "$origin/data")"
echo "curl $version, 3893 bytes by a pipe, --retry 2"
echo "guess: the second try is whole, or curl says that it cannot repeat what it has read"
echo "seen:"
echo "$seen"
[ "$seen" = "-T -: 503 for 3893 bytes; 201 for 0 bytes; curl ends with 0
-T -, redirect: 307 for 3893 bytes; curl ends with 65
--data-binary @-: 503 for 3893 bytes; 201 for 3893 bytes; curl ends with 0" ] || {
  echo "this has changed"
  exit 1
}
