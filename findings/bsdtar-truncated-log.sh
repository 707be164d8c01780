#!/usr/bin/env bash
# bsdtar, cpio: a log that is truncated while it is packed is stored with NULs for what is gone, and told as a success.
#
# Artefacts and logs are packed while something runs, and a rotation by `copytruncate` makes a log shorter meanwhile. An
# archive has told the length by then and needs as many bytes. GNU tar fills up with NULs, says so, and exits with 1, by which
# a script knows that the archive is not what it should be. bsdtar, the tar of macOS, FreeBSD and Windows, and its cpio fill
# up without a word and exit with 0: of a log of 20 MB 19 MB are NULs, and nothing tells them from what was logged. cpio of
# GNU warns on stderr and exits with 0. The file is dated and long as if it were whole, and zeros compress well, so that
# neither the size of the archive nor a listing shows it.
set -euo pipefail
libarchive_version=3.8.10-2 # Debian sid, as all of it
cpio_version=2.15+dfsg-2.1
tar_version=1.35+dfsg-7
own=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The three with the libraries that they want, unpacked here and not installed.
mkdir -p lists/partial cache/archives/partial root
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk -v own="$own" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >sources.list
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get -qq "${options[@]}" update
packages=("libarchive-tools=$libarchive_version" "cpio=$cpio_version" "tar=$tar_version")
libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
  --no-replaces --no-enhances "${packages[@]%=*}" | grep -E '^lib|^zlib' | sort -u)
apt-get -qq "${options[@]}" download "${packages[@]}" $libraries
for package in *.deb; do dpkg-deb -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.2' | head -1)
run() { # PROGRAM ARGUMENT…
  local program
  program=$(find root/usr/bin root/bin -name "$1" 2>/dev/null | head -1)
  shift
  LC_ALL=C timeout 30 "$loader" --library-path "$work/root/usr/lib/x86_64-linux-gnu" "$program" "$@"
}

# Packs a log of 20 MB into a pipe, and truncates it to 1 MB when the first bytes have come.
pack() { # NAME PROGRAM ARGUMENT…
  local name=$1
  shift
  rm -rf logs out && mkdir logs out
  yes "a line of the log" | head -c 20000000 >logs/log || true
  { echo logs/log | run "$@" 2>told || echo failed >>told; } | {
    head -c 100000
    truncate -s 1000000 logs/log
    cat
  } >archive
  run bsdtar -C out -xf archive
  echo "$name: $(grep -q failed told && echo failed || echo 0), $(grep -ci shr told || true) lines told of it;" \
    "the log in the archive: $(wc -c <out/logs/log) bytes, $(tr -cd '\0' <out/logs/log | wc -c) of them NUL"
}
seen=$(pack bsdtar bsdtar -cf - logs/log
  pack bsdcpio bsdcpio -o -H newc
  pack cpio cpio -o -H newc
  pack "GNU tar" tar -cf - logs/log)
echo "libarchive-tools $libarchive_version, cpio $cpio_version, tar $tar_version"
echo "guess: a failure, or a log of 1 MB"
echo "seen:"
echo "$seen"
[ "$seen" = "bsdtar: 0, 0 lines told of it; the log in the archive: 20000000 bytes, 19000000 of them NUL
bsdcpio: 0, 0 lines told of it; the log in the archive: 20000000 bytes, 19000000 of them NUL
cpio: 0, 1 lines told of it; the log in the archive: 20000000 bytes, 19000000 of them NUL
GNU tar: failed, 1 lines told of it; the log in the archive: 20000000 bytes, 19000000 of them NUL" ] || {
  echo "this has changed"
  exit 1
}
