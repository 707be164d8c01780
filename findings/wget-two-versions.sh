#!/usr/bin/env bash
# wget: a download that breaks off is continued in another file, and told as a success.
#
# wget tries again by itself, without an option, and asks for the bytes behind those that it has. It does not say of what:
# no If-Range, though the first answer had an ETag and a date, and it does not look at those of the second, nor at the
# length in its Content-Range. A log that is rotated meanwhile is put together from the old file and the middle of the new
# one, where that is longer; where it is shorter (416) half of the old file counts as all of it. wget exits with 0. `curl
# --retry` begins anew; `wget --tries=1` tells that the file is not whole.
set -euo pipefail
wget_version=1.25.0-3 # Debian sid, as all of it
curl_version=8.23.0-1
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
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "curl=$curl_version" "wget=$wget_version" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "curl=$curl_version" "wget=$wget_version" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
run() { # PROGRAM ARGUMENT…
  local program=$1
  shift
  "$loader" --library-path root/usr/lib/x86_64-linux-gnu "root/usr/bin/$program" "$@"
}

cat >server.cjs <<'SERVER'
// A log with ETag, date and ranges. The first answer for each path breaks off, and then the log is rotated.
const old = Buffer.from("old line\n".repeat(20000));
const rotated = { longer: Buffer.from("new line\n".repeat(30000)), shorter: Buffer.from("new line\n".repeat(100)) };
const begun = new Set();
require("node:http").createServer(({ url, headers }, response) => {
  const isRotated = begun.has(url);
  const body = isRotated ? rotated[url.split("/").at(-1)] : old;
  response.setHeader("Accept-Ranges", "bytes").setHeader("ETag", isRotated ? '"new"' : '"old"');
  response.setHeader("Last-Modified", new Date(isRotated ? 1.7e12 : 1.6e12).toUTCString());
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range)?.[1] ?? 0);
  if (from >= body.length) {
    response.writeHead(416, { "Content-Range": `bytes */${body.length}`, "Content-Length": 0 }).end();
    return;
  }
  const range = from > 0 ? { "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` } : {};
  response.writeHead(from > 0 ? 206 : 200, { ...range, "Content-Length": body.length - from });
  if (isRotated) {
    response.end(body.subarray(from));
    return;
  }
  begun.add(url);
  response.write(body.subarray(0, body.length / 2));
  setTimeout(() => response.destroy(), 300);
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
SERVER
node server.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done
origin=http://127.0.0.1:$(cat port)

outcome() { # FILE COMMAND…
  local code=0 file=$1
  shift
  "$@" || code=$?
  echo "exit code $code, $(grep -c old "$file" || true) old and $(grep -c new "$file" || true) new lines"
}
seen=""
for which in longer shorter; do
  seen+="$which, wget: $(outcome 1 run wget -q --no-proxy -O 1 "$origin/1/$which")
$which, wget --tries=1: $(outcome 2 run wget -q --no-proxy --tries=1 -O 2 "$origin/2/$which")
$which, curl --retry: $(outcome 3 run curl -sf --retry 1 --retry-delay 1 --retry-all-errors -o 3 "$origin/3/$which")
"
done
echo "wget $wget_version, curl $curl_version; 20000 old lines, then 30000 or 100 new ones"
echo "guess: after a success the file is one of the two, whole"
echo "seen:"
printf %s "$seen"
[ "$seen" = "longer, wget: exit code 0, 10000 old and 20000 new lines
longer, wget --tries=1: exit code 4, 10000 old and 0 new lines
longer, curl --retry: exit code 0, 0 old and 30000 new lines
shorter, wget: exit code 0, 10000 old and 0 new lines
shorter, wget --tries=1: exit code 4, 10000 old and 0 new lines
shorter, curl --retry: exit code 0, 0 old and 100 new lines
" ] || {
  echo "this has changed"
  exit 1
}
