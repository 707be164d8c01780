#!/usr/bin/env bash
# Python: a download that breaks off is an error for `read()`, and a success for who copies it, or reads it line by line.
#
# `urllib.request.urlopen()` and http.client know how much has to come, and `read()` raises IncompleteRead if it does not.
# `read(n)` does not look: `shutil.copyfileobj(response, file)`, which the documentation uses to save a URL, and every loop
# over pieces store a part as the file. `for line in response` ends in good order even where the server sent chunks and
# the last one is missing, which is how a server says that what it streams has failed: who follows a log by lines takes the
# failure for the end. So the same break is told or not by the way the body is read; tests with small files use `read()`.
# `urlretrieve()` tells of both.
set -euo pipefail
python_version=3.14.10-1 # Debian sid, as all of it
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# Python with the libraries that it wants, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "python3.14=$python_version" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "python3.14-minimal=$python_version" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)

cat >origin.cjs <<'ORIGIN'
// Two lines, and a connection that ends before the rest: by length, and in chunks.
const text = "line one\nline two\n";
const answers = {
  "/length": `Content-Length: 100\r\n\r\n${text}`,
  "/chunks": `Transfer-Encoding: chunked\r\n\r\n12\r\n${text}\r\n`,
};
require("node:net").createServer((socket) => {
  socket.on("data", (request) => {
    socket.write(`HTTP/1.1 200 OK\r\n${answers[String(request).split(" ")[1]]}`);
    setTimeout(() => socket.end(), 300);
  });
  socket.on("error", () => {});
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
ORIGIN
node origin.cjs >port &
pids+=($!)
until [ -s port ]; do sleep 0.1; done

cat >probe.py <<'PROBE'
import io, shutil, sys
from urllib.request import ProxyHandler, build_opener, install_opener, urlopen, urlretrieve

install_opener(build_opener(ProxyHandler({})))


def copied(url):
    file = io.BytesIO()
    shutil.copyfileobj(urlopen(url), file)
    return file.getvalue()


ways = {
    "read()": lambda url: urlopen(url).read(),
    "urlretrieve()": lambda url: open(urlretrieve(url)[0], "rb").read(),
    "copyfileobj()": copied,
    "for line in": lambda url: b"".join(line for line in urlopen(url)),
}
print(sys.version.split()[0], file=sys.stderr)
for path in ("length", "chunks"):
    for name, way in ways.items():
        try:
            print(f"{path}, {name}: success with {len(way(f'{sys.argv[1]}/{path}').splitlines())} lines")
        except Exception as error:
            print(f"{path}, {name}: {type(error).__name__}")
PROBE
seen=$(PYTHONHOME=$work/root/usr timeout 60 "$loader" --library-path root/usr/lib/x86_64-linux-gnu \
  root/usr/bin/python3.14 probe.py "http://127.0.0.1:$(cat port)" 2>version)
echo "Python $(cat version); two lines, then the connection ends"
echo "guess: a part of what was announced is an error, however it is read"
echo "seen:"
echo "$seen"
[ "$seen" = "length, read(): IncompleteRead
length, urlretrieve(): ContentTooShortError
length, copyfileobj(): success with 2 lines
length, for line in: success with 2 lines
chunks, read(): IncompleteRead
chunks, urlretrieve(): IncompleteRead
chunks, copyfileobj(): IncompleteRead
chunks, for line in: success with 2 lines" ] || {
  echo "this has changed"
  exit 1
}
