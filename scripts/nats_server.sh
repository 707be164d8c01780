#!/usr/bin/env bash
# nats_server.sh RELEASE DIRECTORY: puts nats-server of that release of Debian there, from the mirror this machine uses.
set -euo pipefail
release=$1 directory=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$directory" "$work/lists/partial" "$work/cache/archives/partial"
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' |
  awk -v own="$(. /etc/os-release && echo "$VERSION_CODENAME")" '$1 == own { print $2; exit }')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
"${apt[@]}" update
cd "$work"
"${apt[@]}" download nats-server
dpkg-deb -x nats-server_*.deb unpacked
# Moved in one step: several runners may start at the same time.
cp "$(find unpacked -type f -name nats-server -perm -u+x)" "$directory/nats-server.$$"
mv "$directory/nats-server.$$" "$directory/nats-server"
