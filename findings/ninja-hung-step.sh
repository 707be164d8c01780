#!/usr/bin/env bash
# ninja, GNU parallel: what a step that hangs has printed is nowhere, when a deadline ends the build.
#
# CI ends a job that takes too long, and the log is to say where it stood. Tools that run steps side by side hold back what
# each prints until it is over, so that lines do not mix. Ended by a signal (TERM, as `timeout` and runners send), ninja
# and parallel throw away what they hold: the steps that were over are in the log, and of the one that everybody looks for
# there is not a word, its last line ("waiting for the lock of …") included. `make -O`, which holds back alike, prints it at
# the end. parallel prints it, too, with `--line-buffer`, or where its own `--timeout` ended the step; ninja prints at once
# only what runs in its console pool, one step at a time.
set -euo pipefail
ninja_version=1.13.2-1 # Debian sid, as all of it
make_version=4.4.1-3
parallel_version=20240222+ds-4
perl_version=5.42.3-1
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
packages=("ninja-build=$ninja_version" "make=$make_version" "parallel=$parallel_version" "perl-base=$perl_version"
  "perl-modules-5.42=$perl_version" "libperl5.42=$perl_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib' | grep -vxF libperl5.42 | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$work/$(find root -name 'ld-linux*.so.2' | head -1)
shared=$work/root/usr/lib/x86_64-linux-gnu
bin=$work/root/usr/bin
# parallel starts Perl again by its name.
mkdir wrapped
cat >wrapped/perl <<PERL
#!/bin/sh
export PERL5LIB=$work/root/usr/share/perl/5.42:$shared/perl/5.42:$shared/perl-base LC_ALL=C
exec $loader --library-path $shared $bin/perl "\$@"
PERL
chmod +x wrapped/perl
export PATH=$work/wrapped:$PATH PARALLEL_HOME=$work/parallel
mkdir parallel && touch parallel/will-cite

# One step is over; the other says what it does, and hangs.
cat >steps <<'STEPS'
echo the step that is over; touch over
echo the step that hangs; touch hangs; exec sleep 60
STEPS
printf 'all: one two\n.PHONY: one two\none:\n\t@%s\ntwo:\n\t@%s\n' "$(sed -n 1p steps)" "$(sed -n 2p steps)" >Makefile
printf 'rule step\n  command = $steps\nbuild one: step\n  steps = %s\nbuild two: step\n  steps = %s\n' \
  "$(sed -n 1p steps)" "$(sed -n 2p steps)" >build.ninja
end() { # NAME SIGNAL COMMAND…
  local name=$1 signal=$2 pid
  shift 2
  rm -f over hangs
  "$@" >printed 2>/dev/null &
  pid=$!
  until [ -e over ] && [ -e hangs ]; do sleep 0.1; done
  sleep 2
  [ "$signal" = none ] || kill -"$signal" "$pid"
  wait "$pid" 2>/dev/null || true
  echo "$name: $(grep -c '^the step that is over' printed || true) over, $(grep -c '^the step that hangs' printed || true) hung"
}
parallel=(perl "$bin/parallel" -j2)
seen=$(end "make -O" TERM "$loader" --library-path "$shared" "$bin/make" -j2 -O
  end "ninja" TERM "$loader" --library-path "$shared" "$bin/ninja" -j2
  end "parallel" TERM "${parallel[@]}" -a steps
  end "parallel --line-buffer" TERM "${parallel[@]}" --line-buffer -a steps
  end "parallel --timeout" none "${parallel[@]}" --timeout 3 -a steps)
echo "ninja $ninja_version, make $make_version, parallel $parallel_version"
echo "guess: the log of a build that was ended has what its steps had printed"
echo "seen:"
echo "$seen"
[ "$seen" = "make -O: 1 over, 1 hung
ninja: 1 over, 0 hung
parallel: 1 over, 0 hung
parallel --line-buffer: 1 over, 1 hung
parallel --timeout: 1 over, 1 hung" ] || {
  echo "this has changed"
  exit 1
}
