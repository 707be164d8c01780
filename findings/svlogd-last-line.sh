#!/usr/bin/env bash
# svlogd (runit), s6-log: the last words of a service that dies in the middle of a line are dropped.
#
# Both keep what a service prints in files that they rotate. A process that is killed, or that writes "panic: " and then the
# reason and ends in between, leaves a line without its end: of all lines the one that is looked for. When the pipe ends
# both throw it away, without a word, and end with 0; the log stops before the line that explains the stop. multilog, whose
# ways they follow, gives it an end, cronolog writes every byte (its exit code is 3, always). As long as the service runs it
# is not there, either: a prompt, or a step that prints its name and then works for an hour, is seen an hour later.
set -euo pipefail
runit_version=2.3.1-6 # Debian sid, as all of it
s6_version=2.15.1.0-1
daemontools_version=1:0.76-15
cronolog_version=1.6.2+rpk-6
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# All of them with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
apt-get -qq "${options[@]}" download "runit=$runit_version" "s6=$s6_version" "daemontools=$daemontools_version" \
  "cronolog=$cronolog_version" libc6 libskarnet2.15 libs6-2.15 libexecline2.9
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
libraries=$work/root/usr/lib/x86_64-linux-gnu:$work/root/usr/lib

log() { # COMMAND…
  mkdir kept
  (echo "it begins"; printf "panic: out of memory") |
    timeout 20 "$loader" --library-path "$libraries" "root/usr/bin/$1" "${@:2}" 2>said && code=0 || code=$?
  echo "$1: code $code, said $(wc -c <said) bytes, kept: $(tr '\n' '|' <kept/current)"
  rm -r kept
}
seen=$(log svlogd kept
  log s6-log ./kept
  log multilog ./kept
  log cronolog kept/current)
echo "runit $runit_version, s6 $s6_version, daemontools $daemontools_version, cronolog $cronolog_version"
echo "guess: all of them keep the last line, in one way or another"
echo "seen:"
echo "$seen"
[ "$seen" = "svlogd: code 0, said 0 bytes, kept: it begins|
s6-log: code 0, said 0 bytes, kept: it begins|
multilog: code 0, said 0 bytes, kept: it begins|panic: out of memory|
cronolog: code 3, said 0 bytes, kept: it begins|panic: out of memory" ] || {
  echo "this has changed"
  exit 1
}
