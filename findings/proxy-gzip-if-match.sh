#!/usr/bin/env bash
# nginx and Caddy: a conditional write behind a proxy that compresses is refused for ever, although nobody else wrote.
#
# Optimistic concurrency over HTTP: GET tells an ETag, PUT sends it in If-Match, the origin answers 412 if another writer
# was faster. A proxy that compresses marks the ETag of what it compressed, nginx as weak (W/"v1", which If-Match must not
# accept), Caddy by a suffix ("v1-gzip"). Both take their mark into account for If-None-Match (304 here: Caddy takes it off,
# the weak comparison ignores that of nginx), so that caching works and the ETags seem sound; neither does for If-Match.
# curl, which asks for no compression, shows nothing; every `fetch` does, and reading again after the 412 does not help.
set -euo pipefail
nginx_version=1.30.6-2 # Debian sid, as all of it
caddy_version=2.11.4-1
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# Both proxies with the libraries that nginx wants, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" download "caddy=$caddy_version" "nginx=$nginx_version" \
  libc6 libcrypt1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)

cat >origin.cjs <<'ORIGIN'
// A document that is read and written, with a strong ETag: v1, v2, …
let version = 1;
require("node:http").createServer((request, response) => {
  const etag = `"v${version}"`;
  response.setHeader("ETag", etag).setHeader("Content-Type", "text/plain");
  if (request.method === "PUT") {
    response.statusCode = request.headers["if-match"] === etag ? 204 : 412;
    if (response.statusCode === 204) version += 1;
    response.removeHeader("ETag");
    request.resume().on("end", () => response.end());
    return;
  }
  response.statusCode = request.headers["if-none-match"]?.replace(/^W\//, "") === etag ? 304 : 200;
  response.end(response.statusCode === 304 ? "" : "a line of the document\n".repeat(1000));
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
  access_log off; gzip on; gzip_types text/plain;
  client_body_temp_path $work/body; proxy_temp_path $work/proxy; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi;
  server {
    listen 127.0.0.1:24301;
    location / { proxy_pass http://127.0.0.1:$origin; }
  }
}
CONF
"$loader" --library-path "$(dirname "$loader"):root/usr/lib/x86_64-linux-gnu" root/usr/sbin/nginx \
  -p "$work" -e stderr -c "$work/nginx.conf" 2>nginx.log &
pids+=($!)
cat >caddyfile <<CONF
{
  admin off
  auto_https off
}
http://127.0.0.1:24302 {
  encode gzip
  reverse_proxy 127.0.0.1:$origin
}
CONF
XDG_DATA_HOME="$work" XDG_CONFIG_HOME="$work" root/usr/bin/caddy run --config caddyfile --adapter caddyfile >caddy.log 2>&1 &
pids+=($!)
for port in 24301 24302; do
  until curl -s -o /dev/null -m 2 "http://127.0.0.1:$port/" || [ $? -ne 7 ]; do sleep 0.1; done
done

cat >probe.mjs <<'PROBE'
const [name, port] = process.argv.slice(2);
for (const encoding of ["identity", "gzip"]) {
  const url = `http://127.0.0.1:${port}/`;
  const read = await fetch(url, { headers: { "Accept-Encoding": encoding } });
  await read.text();
  const etag = read.headers.get("ETag");
  const again = await fetch(url, { headers: { "Accept-Encoding": encoding, "If-None-Match": etag } });
  await again.text();
  const write = await fetch(url, { method: "PUT", body: "new", headers: { "If-Match": etag } });
  console.log(`${name}, ${encoding}: If-None-Match ${again.status}, If-Match ${write.status}`);
}
PROBE
seen=$(node probe.mjs direct "$origin" && node probe.mjs nginx 24301 && node probe.mjs caddy 24302)
echo "nginx $nginx_version, Caddy $caddy_version"
echo "guess: the ETag of a GET is good for the next PUT, behind a proxy that compresses as without (204)"
echo "seen:"
echo "$seen"
[ "$seen" = "direct, identity: If-None-Match 304, If-Match 204
direct, gzip: If-None-Match 304, If-Match 204
nginx, identity: If-None-Match 304, If-Match 204
nginx, gzip: If-None-Match 304, If-Match 412
caddy, identity: If-None-Match 304, If-Match 204
caddy, gzip: If-None-Match 304, If-Match 412" ] || {
  echo "this has changed"
  exit 1
}
