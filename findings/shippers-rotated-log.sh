#!/usr/bin/env bash
# rsyslog, syslog-ng: what a program writes to its log after `logrotate` made the new file, and before it heard of it, is lost.
#
# logrotate renames a log, makes the new file (`create`, as Debian sets it), and only then tells the program (`postrotate`),
# which goes on in the old file until it opens the new one: between two requests, or when its buffer is full. imfile of
# rsyslog and the file source of syslog-ng read the old file to its end when they see the new one, and never look again:
# each rotation may have a hole, and neither says a word. A line that was half written at that moment is gone as a whole.
# Other shippers read a renamed file for some seconds more. With `copytruncate` instead syslog-ng begins anew; rsyslog, with
# `reopenOnTruncate` off by default, waits until the file is as long as it was and goes on from there: as many bytes as the
# file ever had are lost.
set -euo pipefail
rsyslog_version=8.2610.0-1 # Debian sid, as all of it
syslog_ng_version=4.12.0-2
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
pid=""
trap 'kill $pid 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# Both with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
apt-get -qq "${options[@]}" download "rsyslog=$rsyslog_version" "syslog-ng-core=$syslog_ng_version" libatomic1 libc6 \
  libcap2 libestr0 libfastjson4 libglib2.0-0t64 libivykis0t64 libpcre2-8-0 libssl3t64 libsystemd0 libuuid1 libyaml-0-2 \
  libzstd1 zlib1g
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$work/$(find root -name 'ld-linux*.so.2' | head -1)
shared=$work/root/usr/lib/x86_64-linux-gnu
modules=$(dirname "$(find "$work/root" -name libaffile.so)")

mkdir rsyslog syslog-ng
cat >rsyslog/conf <<CONF
global(workDirectory="$work/rsyslog")
module(load="imfile")
template(name="line" type="string" string="%msg%\n")
input(type="imfile" file="$work/rsyslog/app.log" tag="app" ruleset="out")
ruleset(name="out") { action(type="omfile" file="$work/rsyslog/out" template="line") }
CONF
cat >syslog-ng/conf <<CONF
@version: 4.12
source app { file("$work/syslog-ng/app.log" flags(no-parse) follow-freq(0.2)); };
destination out { file("$work/syslog-ng/out" template("\$MSG\n")); };
log { source(app); destination(out); };
CONF
rsyslog() {
  exec "$loader" --library-path "$shared" "$work/root/usr/sbin/rsyslogd" -n -M "$shared/rsyslog" -f "$PWD/conf" -i "$PWD/pid"
}
syslog-ng() {
  exec "$loader" --library-path "$shared:$(dirname "$modules")" "$work/root/usr/sbin/syslog-ng" -F --no-caps \
    -f "$PWD/conf" --module-path="$modules" -R "$PWD/persist" -c "$PWD/ctl" -p "$PWD/pid"
}
until_out() { # LINE TENTHS: it has come out, or does not come in this time
  for _ in $(seq "$2"); do
    ! grep -qx "$1" out 2>/dev/null || return 0
    sleep 0.1
  done
}

outcome() { # SHIPPER
  cd "$work/$1"
  exec 7>>app.log # the program
  echo "the first line" >&7
  "$1" >said 2>&1 7>&- &
  pid=$!
  until_out "the first line" 200
  mv app.log app.log.1 # logrotate
  echo "of the new file" >app.log # another program, or the same one anew
  until_out "of the new file" 200
  echo "before it was told" >&7
  exec 7>>app.log # it was told
  echo "after it was told" >&7
  until_out "after it was told" 200
  echo "$1, create: $(tr '\n' ';' <out)"
  : >out
  cp app.log app.log.2 # logrotate again
  : >app.log
  echo "behind the cut" >&7
  until_out "behind the cut" 30
  echo "as long as it was before the cut" >&7
  echo "the last line" >&7
  until_out "the last line" 200
  echo "$1, copytruncate: $(tr '\n' ';' <out)"
  exec 7>&-
  kill "$pid"
  wait "$pid" || true
}
seen=$(outcome rsyslog
  outcome syslog-ng)
echo "rsyslog $rsyslog_version, syslog-ng $syslog_ng_version"
echo "guess: every line that was written comes out once"
echo "seen:"
echo "$seen"
[ "$seen" = "rsyslog, create: the first line;of the new file;after it was told;
rsyslog, copytruncate: efore the cut;the last line;
syslog-ng, create: the first line;of the new file;after it was told;
syslog-ng, copytruncate: behind the cut;as long as it was before the cut;the last line;" ] || {
  echo "this has changed"
  exit 1
}
