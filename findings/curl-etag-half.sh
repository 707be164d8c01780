#!/usr/bin/env bash
# curl, wget: a download that broke off is never completed, and told as a success, by a job that fetches what has changed.
#
# `curl --etag-save log.etag --etag-compare log.etag -o log URL` fetches a file only if it is another one, and the manual
# recommends one file for both. curl saves the ETag when it reads the head of the answer, the content comes later: if the
# connection breaks in it, curl fails (18) once. From then on the server is told that the file is there, answers 304, and
# every run exits with 0 and leaves the part, until the file changes. So it is with dates, `curl -z log -o log` and `wget -N`:
# the part is newer than what it is a part of, and `-R` gives it the date of the whole. wget's manual says that -N compares
# lengths, too; since it sends If-Modified-Since it cannot, and does so only with `--no-if-modified-since`. What is retried
# within one run ends whole. `--remove-on-error` takes the part away, but not the ETag: then there is no file, with 0.
set -euo pipefail
curl_version=8.23.0-1 # Debian sid, as all of it
wget_version=1.25.0-3
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
run() { # PROGRAM ARGUMENT…
  local program=$1
  shift
  timeout 20 "$loader" --library-path "$work/root/usr/lib/x86_64-linux-gnu" "root/usr/bin/$program" "$@"
}

cat >server.cjs <<'SERVER'
// A file of 100000 bytes with an ETag and a date; the first answer for each path breaks off in its middle.
const file = Buffer.alloc(100_000, "line\n");
const date = "Sun, 29 Nov 2026 00:00:00 GMT";
const asked = new Set();
require("node:http").createServer(({ headers, socket, url }, response) => {
  const same = headers["if-none-match"] === '"v1"' || Date.parse(headers["if-modified-since"]) >= Date.parse(date);
  if (same) return response.writeHead(304, { ETag: '"v1"' }).end();
  response.writeHead(200, { ETag: '"v1"', "Last-Modified": date, "Content-Length": file.length });
  if (asked.has(url)) return response.end(file);
  asked.add(url);
  response.write(file.subarray(0, 50_000));
  setTimeout(() => socket.destroy(), 200);
}).listen(24501, "127.0.0.1");
SERVER
node server.cjs &
pids+=($!)
until (echo >/dev/tcp/127.0.0.1/24501) 2>/dev/null; do sleep 0.1; done

mkdir of
thrice() { # NAME COMMAND…
  local name=$1 outcomes=() status
  shift
  for _ in 1 2 3; do
    status=0
    "$@" 2>/dev/null || status=$?
    outcomes+=("$status with $(cat "of/$name" 2>/dev/null | wc -c)")
  done
  echo "$name: $(IFS=,; echo "${outcomes[*]}" | sed 's/,/, /g')"
}
fetch() { # NAME OPTION…
  thrice "$1" run curl -sS "${@:2}" -o "of/$1" "http://127.0.0.1:24501/$1"
}
seen=$(fetch etag --etag-save e1 --etag-compare e1
  fetch date -z of/date
  fetch date-R -R -z of/date-R
  fetch etag-removed --remove-on-error --etag-save e2 --etag-compare e2
  fetch etag-retried --retry 2 --retry-all-errors --retry-delay 1 --etag-save e3 --etag-compare e3
  thrice wget run wget -q --tries=1 -N -P of http://127.0.0.1:24501/wget
  thrice wget-length run wget -q --tries=1 -N --no-if-modified-since -P of http://127.0.0.1:24501/wget-length)
echo "curl $curl_version, wget $wget_version; the same command three times, the first answer breaks off"
echo "guess: 18 with a part, then 0 with 100000 bytes"
echo "seen:"
echo "$seen"
[ "$seen" = "etag: 18 with 50000, 0 with 50000, 0 with 50000
date: 18 with 50000, 0 with 50000, 0 with 50000
date-R: 18 with 50000, 0 with 50000, 0 with 50000
etag-removed: 18 with 0, 0 with 0, 0 with 0
etag-retried: 0 with 100000, 0 with 100000, 0 with 100000
wget: 4 with 50000, 0 with 50000, 0 with 50000
wget-length: 4 with 50000, 0 with 100000, 0 with 100000" ] || {
  echo "this has changed"
  exit 1
}
