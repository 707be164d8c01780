#!/usr/bin/env bash
# curl: a compressed download that broke off and is continued counts as complete, with a part of the file.
#
# `--compressed` unpacks what it stores, `-C -` asks for what lies behind the length of the stored file, and the server
# answers for what it sends, which is the compressed form: an object that is kept with Content-Encoding: gzip, as logs of CI
# are. What was stored before the connection broke is longer than all of that, so the answer is 416, and curl takes 416
# after `-C -` for a file that is complete: it exits with 0, with `--fail` as without. One command does it alone, when
# `--retry` continues its own download. Without `--compressed` both are whole; a retry without `-C -` begins anew.
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
// A log, plain or in gzip as the client wants it, with ranges. The first answer for each path breaks off.
const plain = Buffer.from(Array.from({ length: 20000 }, (_, line) => `line ${line} of the log\n`).join(""));
const packed = require("node:zlib").gzipSync(plain);
const begun = new Set();
require("node:http").createServer(({ url, headers }, response) => {
  const isPacked = /gzip/.test(headers["accept-encoding"]);
  const body = isPacked ? packed : plain;
  response.setHeader("Accept-Ranges", "bytes").setHeader("Vary", "Accept-Encoding");
  response.setHeader("ETag", isPacked ? '"gzip"' : '"plain"');
  if (isPacked) response.setHeader("Content-Encoding", "gzip");
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range)?.[1] ?? 0);
  if (from >= body.length) {
    response.writeHead(416, { "Content-Range": `bytes */${body.length}`, "Content-Length": 0 }).end();
    return;
  }
  const range = from > 0 ? { "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` } : {};
  response.writeHead(from > 0 ? 206 : 200, { ...range, "Content-Length": body.length - from });
  if (begun.has(url)) {
    response.end(body.subarray(from));
    return;
  }
  begun.add(url);
  response.write(body.subarray(0, body.length * 0.8));
  setTimeout(() => response.destroy(), 300);
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
SERVER
node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done
origin=http://127.0.0.1:$(cat port)

outcome() { # FILE OPTION…
  local code=0 file=$1
  shift
  "${curl[@]}" -s -f -m 20 -o "$file" "$@" || code=$?
  echo "curl ends with $code and $([ "$(wc -c <"$file")" = 428890 ] && echo all || echo a part)"
}
again=(--retry 1 --retry-delay 1 --retry-all-errors)
seen="-C - twice: $(outcome 1 -C - "$origin/1"), $(outcome 1 -C - "$origin/1")
--compressed -C - twice: $(outcome 2 --compressed -C - "$origin/2"), $(outcome 2 --compressed -C - "$origin/2")
-C - --retry: $(outcome 3 -C - "${again[@]}" "$origin/3")
--compressed --retry: $(outcome 4 --compressed "${again[@]}" "$origin/4")
--compressed -C - --retry: $(outcome 5 --compressed -C - "${again[@]}" "$origin/5")"
echo "curl $version; 428890 bytes, 51900 in gzip"
echo "guess: a download that is continued is whole when curl ends with 0, or else it says that it cannot be continued"
echo "seen:"
echo "$seen"
[ "$seen" = "-C - twice: curl ends with 18 and a part, curl ends with 0 and all
--compressed -C - twice: curl ends with 18 and a part, curl ends with 0 and a part
-C - --retry: curl ends with 0 and all
--compressed --retry: curl ends with 0 and all
--compressed -C - --retry: curl ends with 0 and a part" ] || {
  echo "this has changed"
  exit 1
}
