#!/usr/bin/env bash
# Java, PHP: the usual ways to save a URL take a download that breaks off for a whole one.
#
# A server that dies half way closes the connection before the bytes that Content-Length promised, or before the last chunk,
# and a client has to tell (RFC 9112, 8). Java's streams do: `Files.copy(url.openStream(), path)` ends with "Premature EOF".
# `channel.transferFrom(Channels.newChannel(url.openStream()), 0, Long.MAX_VALUE)`, which is taught as the quick way, is
# between the two: once it has written something it takes the exception of its source for the end and returns a count. PHP's
# `copy()`, `file()` and `file_get_contents()` of a URL do not count at all: no warning, no false. curl exits with 18. Both
# times half a file is stored under the name of the file.
set -euo pipefail
java_version=25.0.5.0.3+1-1 # Debian sid, as all of it
beanshell_version=2.0b4-22
php_version=8.4.27-1
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pid=""
trap 'kill $pid 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# All of them with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
apt-get -qq "${options[@]}" download "openjdk-25-jre-headless=$java_version" "libbsh-java=$beanshell_version" \
  "php8.4-cli=$php_version" libargon2-1 libc6 libgcc-s1 libpcre2-8-0 libsodium26 libssl3t64 libstdc++6 libxml2-16 \
  libzstd1 zlib1g
for package in *.deb; do dpkg-deb -x "$package" root; done
java=root/usr/lib/jvm/java-25-openjdk-amd64
find $java -type l -lname '/etc/*' | while read -r link; do
  target=root$(readlink "$link")
  rm "$link"
  [ ! -e "$target" ] || cp -r "$target" "$link"
done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
run() { timeout 30 "$loader" --library-path "$work/root/usr/lib/x86_64-linux-gnu" "$@"; }

cat >half.cjs <<'HALF'
// Half of a file of 36 bytes, and the end of the connection.
const half = "one half of the file\n";
require("node:net").createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (request) => {
    const chunked = String(request).startsWith("GET /chunks");
    const head = `HTTP/1.1 200 OK\r\n${chunked ? "Transfer-Encoding: chunked" : "Content-Length: 36"}\r\n\r\n`;
    socket.write(head + (chunked ? `${half.length.toString(16)}\r\n${half}\r\n` : half), () => socket.end());
  });
}).listen(0, "127.0.0.1", function () {
  console.log(this.address().port);
});
HALF
node half.cjs >port &
pid=$!
until [ -s port ]; do sleep 0.1; done

# BeanShell, so that no compiler is wanted.
cat >save.bsh <<'JAVA'
import java.net.*; import java.net.http.*; import java.nio.channels.*; import java.nio.file.*;
file = Paths.get("saved", new String[0]);
for (path : bsh.args) {
  url = new URL(path);
  System.out.print("Java" + url.getPath() + ":");
  for (way : new String[] { "Files.copy", "transferFrom", "HttpClient" }) {
    try {
      if (way.equals("Files.copy")) {
        Files.copy(url.openStream(), file, new CopyOption[] { StandardCopyOption.REPLACE_EXISTING });
      } else if (way.equals("transferFrom")) {
        new FileOutputStream("saved").getChannel().transferFrom(Channels.newChannel(url.openStream()), 0L, 1L << 40);
      } else {
        request = HttpRequest.newBuilder(url.toURI()).build();
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofFile(file));
      }
      System.out.print(" " + way + " a success with " + Files.size(file) + " bytes");
    } catch (IOException e) {
      System.out.print(" " + way + " an error");
    }
  }
  System.out.println();
}
System.exit(0);
JAVA
cat >save.php <<'PHP'
<?php
error_reporting(E_ALL);
set_error_handler(function () { throw new Exception(); });
$ways = [
  "copy" => fn($url) => copy($url, "saved") ? filesize("saved") : false,
  "file_get_contents" => fn($url) => strlen(file_get_contents($url)),
  "file" => fn($url) => strlen(implode("", file($url))),
];
foreach (array_slice($argv, 1) as $url) {
  echo "PHP", parse_url($url, PHP_URL_PATH), ":";
  foreach ($ways as $name => $way) {
    try { echo " $name ", ($bytes = $way($url)) === false ? "an error" : "a success with $bytes bytes"; }
    catch (Exception $e) { echo " $name an error"; }
  }
  echo "\n";
}
PHP
urls=("http://127.0.0.1:$(cat port)/length" "http://127.0.0.1:$(cat port)/chunks")
seen=$(run $java/bin/java -cp root/usr/share/java/bsh.jar bsh.Interpreter save.bsh "${urls[@]}"
  run root/usr/bin/php8.4 -n save.php "${urls[@]}")
echo "Java $java_version, PHP $php_version; half of a file of 36 bytes"
echo "guess: errors"
echo "seen:"
echo "$seen"
[ "$seen" = "Java/length: Files.copy an error transferFrom a success with 21 bytes HttpClient an error
Java/chunks: Files.copy an error transferFrom a success with 21 bytes HttpClient an error
PHP/length: copy a success with 21 bytes file_get_contents a success with 21 bytes file a success with 21 bytes
PHP/chunks: copy a success with 21 bytes file_get_contents a success with 21 bytes file a success with 21 bytes" ] || {
  echo "this has changed"
  exit 1
}
