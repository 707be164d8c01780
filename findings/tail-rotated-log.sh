#!/usr/bin/env bash
# GNU tail: `tail -F` loses what is written to a log between its renaming and the new file, unless inotify is disabled.
#
# A rotation renames the log and tells its writer, which goes on in the old file until it opens the new one (logrotate with
# `postrotate`). `tail -F` is made for that, and polling (`---disable-inotify`, which it also does by itself on remote file
# systems) it reads on in the old file until the new one is there, if not more than a few seconds pass between two lines;
# so does busybox, however long it takes. With inotify, the default on a local disk, it lets go of the old file when the
# name is gone and never looks at it again: each rotation has a hole, and only "has become inaccessible" on stderr stands
# where polling says "has been replaced". The tail of uutils has it with both. A test in a container with busybox, or on a
# network share, shows all lines.
set -euo pipefail
coreutils_version=9.10-1 # Debian sid, as all of it
uutils_version=0.12.0-1
busybox_version=1:1.38.0-3+b1
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
packages=("coreutils=$coreutils_version" "rust-coreutils=$uutils_version" "busybox=$busybox_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$work/$(find root -name 'ld-linux*.so.2' | head -1)
library_path=$work/root/usr/lib/x86_64-linux-gnu
bin=$work/root/usr/bin

mkdir logs
cd logs
reads() { # COUNT WORD: until so many lines with the word were printed, or for 10 s
  for _ in $(seq 100); do
    [ "$(grep -c "$2" ../printed)" -ge "$1" ] && return
    sleep 0.1
  done
}
follow() { # NAME PROGRAM ARGUMENT…
  local name=$1
  shift
  rm -f log log.1
  seq -f "before %g" 100 >log
  "$loader" --library-path "$library_path" "$@" -n +1 -F log >../printed 2>../said &
  pid=$!
  reads 100 before
  sleep 1.5
  exec 3>>log # the writer, which has the log open
  mv log log.1
  sleep 1.5
  seq -f "between %g" 100 >&3
  sleep 1.5
  exec 3>&-
  seq -f "after %g" 100 >log
  reads 100 after
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  echo "$name: $(grep -c before ../printed) before, $(grep -c between ../printed || true) between, $(grep -c after ../printed) after"
}
seen=$(follow "GNU" "$bin/tail"
  follow "GNU, polling" "$bin/tail" ---disable-inotify
  follow "uutils" "$bin/coreutils" tail
  follow "uutils, polling" "$bin/coreutils" tail --use-polling
  follow "busybox" "$bin/busybox" tail)
echo "coreutils $coreutils_version, uutils $uutils_version, busybox $busybox_version"
echo "guess: tail -F prints 100 lines of each, as it follows a log over its rotation"
echo "seen:"
echo "$seen"
[ "$seen" = "GNU: 100 before, 0 between, 100 after
GNU, polling: 100 before, 100 between, 100 after
uutils: 100 before, 0 between, 100 after
uutils, polling: 100 before, 0 between, 100 after
busybox: 100 before, 100 between, 100 after" ] || {
  echo "this has changed"
  exit 1
}
