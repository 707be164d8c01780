#!/usr/bin/env bash
# Ruby, Perl, aiohttp: a streamed PUT whose connection breaks is sent again by itself, empty, and told as a success.
#
# PUT is idempotent, so a client may repeat it when a connection ends without an answer (RFC 9110, 9.2.2). Ruby's net/http,
# Perl's HTTP::Tiny (both of the standard library) and aiohttp (on a connection that was used before) do so once without
# being asked. None of them looks at the source of the body: a pipe, a generator, even a file has been read to its end, and
# what is sent again is nothing. The server replaces what it had stored whole by an empty file, and the caller sees 201. In
# Ruby an answer that takes longer than `read_timeout`, a minute, is enough: a server that checks a large upload before
# it answers. httpx and `fetch` of Node report the break. None of the three repeats a POST, nor does Ruby any request with
# `max_retries = 0`; a body that is a string is repeated whole.
set -euo pipefail
ruby_version=3.3.8-2.2 # Debian sid, as all but Node
perl_version=5.42.3-1
aiohttp_version=3.14.3-1+b1
httpx_version=0.28.1-2
node_version=26.10.0
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version"

# The others with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
packages=("ruby3.3=$ruby_version" "libruby3.3=$ruby_version" "perl-base=$perl_version" "perl-modules-5.42=$perl_version"
  "libperl5.42=$perl_version" "python3-aiohttp=$aiohttp_version" "python3-httpx=$httpx_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib|^python3' | grep -vxF "$(printf '%s\n' "${packages[@]%=*}")" | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
shared=$work/root/usr/lib/x86_64-linux-gnu
run() { # PROGRAM ARGUMENT…
  local program=$1
  shift
  "$loader" --library-path "$shared" "root/usr/bin/$program" "$@"
}

cat >server.cjs <<'SERVER'
// PUT stores the content. The first answer for a path never comes: the connection ends (/break) or it takes 2 s (/slow).
const stored = new Map();
const begun = new Set();
const server = require("node:http").createServer((request, response) => {
  const { url, method } = request;
  if (method === "GET") return response.end(`${stored.get(url)}`);
  const first = !begun.has(url) && url !== "/warm";
  begun.add(url);
  let length = 0;
  request.on("data", (bytes) => length += bytes.length);
  request.on("end", () => {
    stored.set(url, length);
    if (first && url.startsWith("/break")) return request.socket.destroy();
    setTimeout(() => response.writeHead(201).end(), first ? 2000 : 0);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
SERVER
node_modules/node/bin/node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done
export ORIGIN=http://127.0.0.1:$(cat port) no_proxy=127.0.0.1
yes "a line of the log" | head -1000 >log || true

cat >put.rb <<'PROBE'
require "net/http"
uri = URI("#{ENV["ORIGIN"]}#{ARGV[0]}")
Net::HTTP.start(uri.host, uri.port, read_timeout: 1) do |http|
  put = Net::HTTP::Put.new(uri)
  put["Transfer-Encoding"] = "chunked"
  put.body_stream = ARGV[1] == "pipe" ? IO.popen(["cat", "log"]) : File.open("log")
  puts "status #{http.request(put).code}"
end
PROBE
cat >put.pl <<'PROBE'
use HTTP::Tiny;
open my $source, "<", "log" or die;
my $next = sub { read $source, my $bytes, 8192; $bytes };
my $answer = HTTP::Tiny->new->put($ENV{ORIGIN} . $ARGV[0], { content => $next });
print "status $answer->{status}\n";
PROBE
cat >put_aiohttp.py <<'PROBE'
import asyncio, os, sys, aiohttp
async def lines():
    for line in open("log", "rb"):
        yield line
async def main():
    async with aiohttp.ClientSession(os.environ["ORIGIN"]) as session:
        async with session.put("/warm", data=b"") as answer:
            await answer.read()
        async with session.put(sys.argv[1], data=lines() if sys.argv[2] == "generator" else open("log", "rb")) as answer:
            print("status", answer.status)
asyncio.run(main())
PROBE
cat >put_httpx.py <<'PROBE'
import os, sys, httpx
with httpx.Client() as client:
    client.put(os.environ["ORIGIN"] + "/warm")
    try:
        print("status", client.put(os.environ["ORIGIN"] + sys.argv[1], content=open("log", "rb")).status_code)
    except httpx.TransportError:
        print("an error")
PROBE
cat >put.mjs <<'PROBE'
import { openAsBlob } from "node:fs";
const body = (await openAsBlob("log")).stream();
await (await fetch(`${process.env.ORIGIN}/warm`, { method: "PUT" })).text();
await fetch(process.env.ORIGIN + process.argv[2], { method: "PUT", body, duplex: "half" })
  .then(({ status }) => console.log("status", status), () => console.log("an error"));
PROBE

export RUBYLIB=$work/root/usr/lib/ruby/3.3.0:$shared/ruby/3.3.0
export PERL5LIB=$work/root/usr/share/perl/5.42:$shared/perl/5.42:$shared/perl-base
export PYTHONPATH=$work/root/usr/lib/python3/dist-packages PYTHONHOME=$work/root/usr
put() { # NAME PATH COMMAND…
  local name=$1 path=$2
  shift 2
  echo "$name: $("$@"), stored $(node_modules/node/bin/node -e "fetch('$ORIGIN$path').then((a) => a.text()).then(console.log)")"
}
python=$(basename "$(find root/usr/bin -name 'python3.*' -type f | head -1)")
seen=$(put "Ruby, a pipe" /break/1 run ruby3.3 --disable-gems put.rb /break/1 pipe
  put "Ruby, a file" /break/2 run ruby3.3 --disable-gems put.rb /break/2 file
  put "Ruby, a slow answer" /slow/3 run ruby3.3 --disable-gems put.rb /slow/3 file
  put "HTTP::Tiny, a file" /break/4 run perl put.pl /break/4
  put "aiohttp, a generator" /break/5 run "$python" put_aiohttp.py /break/5 generator
  put "aiohttp, a file" /break/6 run "$python" put_aiohttp.py /break/6 file
  put "httpx, a file" /break/7 run "$python" put_httpx.py /break/7
  put "fetch, a file" /break/8 node_modules/node/bin/node put.mjs /break/8)
echo "Ruby $ruby_version, Perl $perl_version, aiohttp $aiohttp_version, httpx $httpx_version, Node $node_version"
echo "guess: after a status of 201 the 18000 bytes are stored; otherwise there is an error"
echo "seen:"
echo "$seen"
[ "$seen" = "Ruby, a pipe: status 201, stored 0
Ruby, a file: status 201, stored 0
Ruby, a slow answer: status 201, stored 0
HTTP::Tiny, a file: status 201, stored 0
aiohttp, a generator: status 201, stored 0
aiohttp, a file: status 201, stored 0
httpx, a file: an error, stored 18000
fetch, a file: an error, stored 18000" ] || {
  echo "this has changed"
  exit 1
}
