#!/usr/bin/env bash
# nginx: an interim response that it does not know (104 of resumable uploads) becomes the answer, and the answer is lost.
#
# RFC 9110 (15.2): a client must be able to parse interim responses before the final one, and a proxy passes them on or
# drops them. nginx hands `104 Upload Resumption Supported` (draft-ietf-httpbis-resumable-upload) to its client as the final
# response and takes what follows for a body without a length: with a connection kept alive to the server the upload that
# succeeded hangs until `proxy_read_timeout`, over HTTP/1.1 and HTTP/2. A server that sends 104 must know that no such
# proxy is between.
set -euo pipefail
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# nginx of Debian sid with the libraries it wants, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download nginx=1.30.6-2 libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)

cat >origin.cjs <<'ORIGIN'
// An origin that sends an interim response and, a moment later, the final one; the connection stays.
require("node:net").createServer((socket) => {
  socket.on("data", () => {
    socket.write("HTTP/1.1 104 Upload Resumption Supported\r\nLocation: /u/1\r\n\r\n");
    setTimeout(() => socket.write("HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nok\n"), 200);
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

cat >nginx.conf <<CONF
daemon off; pid $work/nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
  upstream origin { server 127.0.0.1:$origin; keepalive 2; }
  server {
    listen 127.0.0.1:24281; http2 on;
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 3s; }
  }
}
CONF
"$loader" --library-path "$(dirname "$loader"):root/usr/lib/x86_64-linux-gnu" root/usr/sbin/nginx \
  -p "$work" -e stderr -c "$work/nginx.conf" 2>nginx.log &
pids+=($!)
until curl -s -o /dev/null -m 1 http://127.0.0.1:24281/ || [ $? -ne 7 ]; do sleep 0.1; done

seen=""
for way in http1.1 http2-prior-knowledge; do
  code=0
  status=$(curl -s -o /dev/null -m 10 "--$way" -d x -w '%{http_code}' http://127.0.0.1:24281/) || code=$?
  seen+="$way: status $status, curl ends with $code"$'\n'
done
direct=$(curl -s -o /dev/null -m 10 -d x -w '%{http_code}' "http://127.0.0.1:$origin/")

echo "nginx 1.30.6"
echo "guess: as without the proxy, the client is told 201 ($direct)"
echo "seen:"
printf %s "$seen"
[ "$direct" = 201 ] && [ "$seen" = "http1.1: status 104, curl ends with 52
http2-prior-knowledge: status 104, curl ends with 92
" ] || {
  echo "this has changed"
  exit 1
}
