#!/usr/bin/env bash
# unbuffer (expect): a command that was killed is a success, with the exit code 0.
#
# `unbuffer make | tee log` gives a command a terminal, so that its output comes line by line and in colour: the usual cure
# for logs of CI that come in blocks. It passes the exit code of its command on, 3 as 3, so that `pipefail` works. A command
# that a signal ended has none, and for that one unbuffer exits with 0: a compiler that the kernel killed as memory ran
# out, a test that broke off with a segmentation fault, a deadline of a supervisor count as done. `script -e`, which does
# the same job, says 137, as shells do; a shell between the two (`unbuffer sh -c 'make; exit $?'`) brings the code back.
set -euo pipefail
expect_version=5.45.4-10 # Debian sid, as all of it
script_version=2.42.4-1
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Both with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
packages=("expect=$expect_version" "bsdutils=1:$script_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib|^tcl' | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
shared=$work/root/usr/lib/x86_64-linux-gnu
TCL_LIBRARY=$(dirname "$(find "$work/root" -name init.tcl | head -1)")
export TCL_LIBRARY
unbuffer() { timeout 30 "$loader" --library-path "$shared" root/usr/bin/expect root/usr/bin/unbuffer "$@"; }
script() { timeout 30 "$loader" --library-path "$shared" root/usr/bin/script -qec "$1" /dev/null </dev/null; }

code() { # COMMAND…
  "$@" >/dev/null 2>&1 && echo 0 || echo $?
}
seen="exit 3: unbuffer $(code unbuffer sh -c 'exit 3'), script $(code script 'exit 3')
killed: unbuffer $(code unbuffer sh -c 'kill -KILL $$'), script $(code script 'kill -KILL $$')
terminated: unbuffer $(code unbuffer sh -c 'kill -TERM $$'), script $(code script 'kill -TERM $$')
killed below a shell: unbuffer $(code unbuffer sh -c "sh -c 'kill -KILL \$\$'; exit \$?")"
echo "expect $expect_version, script of util-linux $script_version"
echo "guess: the exit codes are those of a shell: 3, 137, 143, 137"
echo "seen:"
echo "$seen"
[ "$seen" = "exit 3: unbuffer 3, script 3
killed: unbuffer 0, script 137
terminated: unbuffer 0, script 143
killed below a shell: unbuffer 137" ] || {
  echo "this has changed"
  exit 1
}
