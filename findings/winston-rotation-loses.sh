#!/usr/bin/env bash
# winston: each time a log is rotated by its size, up to 16 KiB of lines are lost.
#
# `new transports.File({ filename, maxsize })` begins a new file when one is full, and the documentation says nothing of a
# price. Lines go through a stream with a buffer to the file; a rotation lets go of the old file and waits for the new one,
# and what stood in the buffer at that moment is in neither: of a program that logs as fast as the disk takes it, a hole of
# 16 KiB for each file, 163 lines of 100 bytes here, in the middle of the log and without an error. `tailable`, which keeps
# the newest lines in the file of the given name, loses as many. A program that logs slowly loses none, and neither does
# one file without `maxsize`, so that a test of a rotation passes, and a busy server has a hole where most happened.
# winston-daily-rotate-file and log4js lose nothing in the same place.
set -euo pipefail
winston_version=3.19.0
daily_version=5.0.0
log4js_version=6.9.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "winston@$winston_version" "winston-daily-rotate-file@$daily_version" "log4js@$log4js_version"

cat >probe.cjs <<'PROBE'
const { mkdirSync, readdirSync, readFileSync, statSync } = require("node:fs");
const { setImmediate, setTimeout } = require("node:timers/promises");
const winston = require("winston");
const DailyRotateFile = require("winston-daily-rotate-file");
const log4js = require("log4js");

const format = winston.format.printf(({ message }) => message);
const logger = (transport) => {
  const log = winston.createLogger({ format, transports: [transport] });
  return (line) => log.info(line);
};
const file = (options) => (folder) => logger(new winston.transports.File({ filename: `${folder}/app.log`, ...options }));
const rests = () => setTimeout(20);
const loggers = {
  "one file": [file({}), setImmediate],
  "maxsize": [file({ maxsize: 1_000_000 }), setImmediate],
  "maxsize, tailable": [file({ maxsize: 1_000_000, tailable: true, maxFiles: 9 }), setImmediate],
  "maxsize, slowly": [file({ maxsize: 1_000_000 }), rests],
  "winston-daily-rotate-file": [
    (folder) => logger(new DailyRotateFile({ filename: `${folder}/app.log`, maxSize: 1_000_000, auditFile: `${folder}.json` })),
    setImmediate,
  ],
  "log4js": [(folder) => {
    const app = { type: "file", filename: `${folder}/app.log`, maxLogSize: 1_000_000, backups: 9 };
    log4js.configure({ appenders: { app }, categories: { default: { appenders: ["app"], level: "info" } } });
    const log = log4js.getLogger();
    return (line) => log.info(line);
  }, setImmediate],
};
(async () => {
  for (const [name, [open, pause]] of Object.entries(loggers)) {
    mkdirSync(name);
    const log = open(name);
    for (let n = 0; n < 20_000; n++) {
      log(`line ${n} `.padEnd(99, "x"));
      if (n % 100 === 99) await pause();
    }
    const paths = () => readdirSync(name).map((file) => `${name}/${file}`);
    const size = () => paths().reduce((sum, path) => sum + statSync(path).size, 0);
    for (let before = -1; before !== size(); await setTimeout(1000)) before = size(); // until nothing comes any more
    const found = new Set(paths().flatMap((path) => readFileSync(path, "latin1").match(/line \d+ /g) ?? []));
    const missing = 20_000 - found.size;
    console.log(`${name}: ${missing > 100 && missing < 400 ? "more than 100" : missing} lines missing`);
  }
  process.exit();
})();
PROBE
seen=$(timeout 60 node probe.cjs)
echo "winston $winston_version, winston-daily-rotate-file $daily_version, log4js $log4js_version, Node $(node --version)"
echo "20000 lines of 100 bytes, logged 100 at a time, 2 MB in files of 1 MB"
echo "guess: no line is missing"
echo "seen:"
echo "$seen"
[ "$seen" = "one file: 0 lines missing
maxsize: more than 100 lines missing
maxsize, tailable: more than 100 lines missing
maxsize, slowly: 0 lines missing
winston-daily-rotate-file: 0 lines missing
log4js: 0 lines missing" ] || {
  echo "this has changed"
  exit 1
}
