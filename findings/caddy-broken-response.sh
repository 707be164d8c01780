#!/usr/bin/env bash
# Caddy of Debian 12: a response that breaks off behind the proxy reaches its client as a whole one.
#
# An origin that sends chunks and fails closes the connection without the last chunk, which is how HTTP/1.1 tells that a
# body is not whole (RFC 9112, 8). Caddy 2.6.2 ends its own response to the client in good order all the same: curl exits
# with 0, fetch resolves, and half a file is taken for the file. 2.11.4 passes the failure on.
set -euo pipefail
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# Both, unpacked here and not installed.
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
unpack() { # FOLDER RELEASE VERSION
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/root"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $2 main" >"$1/sources.list"
  local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/$1/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$work/$1/lists" -o "Dir::Cache=$work/$1/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$1" && "${apt[@]}" download "caddy=$3")
  dpkg-deb -x "$1"/caddy_*.deb "$1/root"
}
unpack old bookworm 2.6.2-5
unpack new sid 2.11.4-1

cat >origin.cjs <<'ORIGIN'
// An origin whose answer breaks off: a chunk, and no last one.
require("node:net").createServer((socket) => {
  socket.on("data", () => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhalf of it\n\r\n");
    setTimeout(() => socket.end(), 200);
  });
  socket.on("error", () => {});
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
ORIGIN
node origin.cjs >origin.port &
pids+=($!)
until [ -s origin.port ]; do sleep 0.1; done
origin=$(cat origin.port)

outcome() { # URL
  local code=0
  curl -s -o /dev/null -m 10 "$1" || code=$?
  echo "curl ends with $code"
}

seen="direct: $(outcome "http://127.0.0.1:$origin/")"$'\n'
port=24291
for which in old new; do
  cat >"$which.caddyfile" <<CONF
{
  admin off
  auto_https off
}
http://127.0.0.1:$port {
  reverse_proxy 127.0.0.1:$origin
}
CONF
  XDG_DATA_HOME="$work" XDG_CONFIG_HOME="$work" "$which/root/usr/bin/caddy" run \
    --config "$which.caddyfile" --adapter caddyfile >"$which.log" 2>&1 &
  pids+=($!)
  until curl -s -o /dev/null -m 2 "http://127.0.0.1:$port/" || [ $? -ne 7 ]; do sleep 0.1; done
  seen+="$which: $(outcome "http://127.0.0.1:$port/")"$'\n'
  port=$((port + 1))
done

echo "Caddy 2.6.2 (old, Debian 12), 2.11.4 (new)"
echo "guess: the client of the proxy learns that the response is not whole, as it does without (18)"
echo "seen:"
printf %s "$seen"
[ "$seen" = "direct: curl ends with 18
old: curl ends with 0
new: curl ends with 18
" ] || {
  echo "this has changed"
  exit 1
}
