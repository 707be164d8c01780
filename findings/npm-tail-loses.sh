#!/usr/bin/env bash
# tail, always-tail (npm): letters outside ASCII are altered while a log is followed, and tail is lost at a rotation.
#
# Both hand over the lines of a growing file as they come, as `tail -F` does. They read what is new as text, each time for
# itself: a letter of two bytes of which a program, or its full buffer, has written one so far becomes two replacement
# characters, in a line that is whole. Whether it does depends on the moment of the look, so that tests with whole lines
# pass. With `follow: true` tail is to try again after a second when its file was renamed; where the rotation makes the new
# file at once, as logrotate does, nothing of the new file ever comes, without an error or an end. @logdna/tail-file and
# GNU tail do both right.
set -euo pipefail
tail_version=2.2.6
always_version=0.2.0
logdna_version=4.0.2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "tail@$tail_version" "always-tail@$always_version" "@logdna/tail-file@$logdna_version"

cat >probe.cjs <<'PROBE'
const { appendFileSync, renameSync, writeFileSync } = require("node:fs");
const { spawn } = require("node:child_process");
const { createInterface } = require("node:readline");
const { setTimeout } = require("node:timers/promises");
const { Tail } = require("tail");
const AlwaysTail = require("always-tail");
const TailFile = require("@logdna/tail-file");

const followers = {
  "tail": (file, line) => new Tail(file, { follow: true }).on("line", line).on("error", () => line("error")),
  "always-tail": (file, line) => new AlwaysTail(file, "\n", { interval: 100 }).on("line", line).watch(),
  "@logdna/tail-file": (file, line) => {
    const tail = new TailFile(file, { pollFileIntervalMs: 100 });
    createInterface({ input: tail }).on("line", line);
    return tail.start();
  },
  "GNU tail": (file, line) => {
    const child = spawn("tail", ["-n0", "-F", file], { stdio: ["ignore", "pipe", "ignore"] });
    createInterface({ input: child.stdout }).on("line", line);
    process.on("exit", () => child.kill());
  },
};
const probe = async ([name, follow]) => {
  const file = `${name.replace("/", "-")}.log`;
  writeFileSync(file, "begin\n");
  const lines = [];
  await follow(file, (line) => lines.push(line));
  await setTimeout(2000);
  const letters = Buffer.from("grün\n");
  appendFileSync(file, letters.subarray(0, 3)); // in the middle of the ü
  await setTimeout(1500);
  appendFileSync(file, letters.subarray(3));
  await setTimeout(1500);
  renameSync(file, `${file}.1`);
  writeFileSync(file, "");
  for (let n = 1; n <= 6; n++) {
    await setTimeout(1000);
    appendFileSync(file, `new ${n}\n`);
  }
  await setTimeout(2000);
  return `${name}: ${lines.join(", ")}`;
};
Promise.all(Object.entries(followers).map(probe)).then((told) => {
  console.log(told.join("\n"));
  process.exit();
});
PROBE
seen=$(timeout 60 node probe.cjs)
echo "tail $tail_version, always-tail $always_version, @logdna/tail-file $logdna_version, $(tail --version | head -1), Node $(node --version)"
echo "a line in two pieces, then a rotation with a new file at once, and a line each second"
echo "guess: grün, new 1, new 2, new 3, new 4, new 5, new 6"
echo "seen:"
echo "$seen"
[ "$seen" = "tail: gr��n
always-tail: gr��n, new 1, new 2, new 3, new 4, new 5, new 6
@logdna/tail-file: grün, new 1, new 2, new 3, new 4, new 5, new 6
GNU tail: grün, new 1, new 2, new 3, new 4, new 5, new 6" ] || {
  echo "this has changed"
  exit 1
}
