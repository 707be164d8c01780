#!/usr/bin/env bash
# rclone serve webdav: an upload that breaks off replaces the file it was to replace by its first part, as a success.
#
# A client that is killed, a network that goes away: a PUT ends before the bytes that its Content-Length promises. nginx
# keeps what it had until the upload is whole, and throws the part away. rclone hands the part to its storage as the file:
# "size OK, md5 OK" says its log of debugging (the part is stored as it came), "PUT" that of information, and by default
# there is not a line. The good file is gone, the next reader has a half one with status 200, and with `--vfs-cache-mode`
# and a remote behind it the half is uploaded there. It is the same with chunks whose last one never comes.
set -euo pipefail
rclone_version=1.75.2-2 # Debian sid, as all of it
nginx_version=1.30.6-2
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
packages=("rclone=$rclone_version" "nginx=$nginx_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
start() { # PROGRAM ARGUMENT…
  local program=$1
  shift
  "$loader" --library-path "$work/root/usr/lib/x86_64-linux-gnu" "root/usr/$program" "$@" >/dev/null 2>&1 &
  pids+=($!)
}

mkdir -p webdav/logs cached/logs nginx/logs
export HOME=$work XDG_CACHE_HOME=$work/cache
start bin/rclone serve webdav webdav --addr 127.0.0.1:24401 --config /dev/null
start bin/rclone serve webdav cached --addr 127.0.0.1:24402 --config /dev/null --vfs-cache-mode full --vfs-write-back 100ms
cat >nginx.conf <<NGINX
daemon off;
error_log /dev/null;
pid $work/pid;
events {}
http {
  access_log off;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  server {
    listen 127.0.0.1:24403;
    root $work/nginx;
    location / {
      dav_methods PUT;
    }
  }
}
NGINX
sed -i "1i user $(id -un);" nginx.conf
start sbin/nginx -e /dev/null -c "$work/nginx.conf"
for port in 24401 24402 24403; do until (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done; done

cat >put.cjs <<'PUT'
// Sends 4000 bytes after a head, and ends the connection, or waits for the answer.
const [port, length] = process.argv.slice(2).map(Number);
const framing = length ? `Content-Length: ${length}\r\n\r\n` : "Transfer-Encoding: chunked\r\n\r\nfa0\r\n";
const socket = require("node:net").connect(port, "127.0.0.1", () => {
  socket.write(`PUT /logs/log HTTP/1.1\r\nHost: localhost\r\n${framing}${"b".repeat(4000)}${length ? "" : "\r\n"}`);
  if (length !== 4000) setTimeout(() => socket.end(), 500);
});
socket.on("data", () => socket.end()).on("error", () => {});
PUT
put() { # NAME PORT FOLDER
  local length outcomes=()
  for length in 4000 100000 0; do
    yes "the good file" | head -c 50000 >good || true
    [ "$length" -eq 4000 ] || cp good "$3/logs/log"
    [ "$length" -eq 4000 ] || sleep 1.5 # until a cache of the folder would have noticed
    node put.cjs "$2" "$length"
    sleep 1.5
    outcomes+=("$(wc -c <"$3/logs/log")")
  done
  echo "$1: whole ${outcomes[0]}, of 100000 ${outcomes[1]}, of chunks ${outcomes[2]}"
}
seen=$(put "rclone serve webdav" 24401 webdav
  put "rclone serve webdav, cached" 24402 cached
  put "nginx" 24403 nginx)
echo "rclone $rclone_version, nginx $nginx_version; PUTs of 4000 bytes, whole and broken off, over a file of 50000"
echo "guess: the whole one is stored, the others leave the file of 50000 bytes"
echo "seen:"
echo "$seen"
[ "$seen" = "rclone serve webdav: whole 4000, of 100000 4000, of chunks 4000
rclone serve webdav, cached: whole 4000, of 100000 4000, of chunks 4000
nginx: whole 4000, of 100000 50000, of chunks 50000" ] || {
  echo "this has changed"
  exit 1
}
