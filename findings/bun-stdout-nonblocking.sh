#!/usr/bin/env bash
# Bun: the next program that writes into the same pipe loses its output, after Bun has ended.
#
# A step of CI is a shell whose commands share one pipe, read by the runner. Whether a write to it waits for a slow reader is
# a property of that pipe and not of a process. `process.stdout.write()` in Bun makes it one that does not wait, and leaves
# it so at the end of the process: what runs next (make, seq, a compiler) gets "Resource temporarily unavailable" as soon as
# the pipe is full, and most programs give up there, with the rest of their output lost. A step fails after a script that
# was fine, at a time that depends on how fast somebody reads. Node and Deno put the pipe back; `console.log()` in Bun does
# not touch it. `bun script | cat` keeps the pipe of the step out of it.
set -euo pipefail
bun_version=1.4.5
deno_version=2.9.6
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "bun@$bun_version" "deno@$deno_version" "node@$node_version"
export PATH=$work/node_modules/.bin:$PATH DENO_NO_UPDATE_CHECK=1

echo 'process.stdout.write("begun\n");' >write.mjs
echo 'console.log("begun");' >log.mjs
mkfifo pipe
step() { # NAME COMMAND…: a step whose output is read only when the step has filled the pipe
  local name=$1 lines
  shift
  sh -c '"$@"; seq 200000; echo $? >code' sh "$@" >pipe 2>/dev/null &
  exec 3<pipe
  sleep 3
  lines=$(grep -c '^[0-9]' <&3)
  exec 3<&-
  wait $!
  echo "$name, then seq: exit code $(cat code), $([ "$lines" -eq 200000 ] && echo all || echo "not all") of its lines"
}
seen=$(step "Bun, process.stdout.write()" bun write.mjs
  step "Bun, console.log()" bun log.mjs
  step "Bun, process.stdout.write() into cat" sh -c "bun write.mjs | cat"
  step "Node, process.stdout.write()" node write.mjs
  step "Deno, process.stdout.write()" deno run write.mjs)
echo "Bun $bun_version, Node $node_version, Deno $deno_version"
echo "guess: what a program left behind does not change how the next one writes: 0, and all of its lines"
echo "seen:"
echo "$seen"
[ "$seen" = "Bun, process.stdout.write(), then seq: exit code 1, not all of its lines
Bun, console.log(), then seq: exit code 0, all of its lines
Bun, process.stdout.write() into cat, then seq: exit code 0, all of its lines
Node, process.stdout.write(), then seq: exit code 0, all of its lines
Deno, process.stdout.write(), then seq: exit code 0, all of its lines" ] || {
  echo "this has changed"
  exit 1
}
