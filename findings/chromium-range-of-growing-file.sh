#!/usr/bin/env bash
# Chromium: `fetch` with a Range without an end gets no further than the file once was, and "the last bytes" are old ones.
#
# A page that follows a log asks for `bytes=999-`, from a byte that it has on, or for `bytes=-50`, its end. From an earlier
# answer (206, with a validator) the browser's cache knows how long the file was, and puts that into the request in the
# place of the open end, as `bytes=999-999`: no new line comes, and the last 50 bytes are those of before. The server is
# right, the status 206, and only the total in Content-Range shows it. It is so with `cache: "no-cache"`, too, which has to
# ask the server each time. As the answer shows that the file changed, the next request is sent as it is: every other poll
# is wrong. A range from exactly the old length on is not touched. `cache: "no-store"` is right.
set -euo pipefail
chromium_version=147.0.0 # of npm, with the browser in it
puppeteer_version=25.4.0
node_version=26.10.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@sparticuz/chromium@$chromium_version" "puppeteer-core@$puppeteer_version" "node@$node_version"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

// Files that grow, with ranges and a strong ETag that changes with them, as nginx and Apache have it.
const sizes = new Map();
let asked;
const server = createServer(({ url, headers }, response) => {
  const size = sizes.get(url);
  if (size === undefined) return response.writeHead(200, { "Content-Type": "text/html" }).end("<p>");
  asked = headers.range;
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(asked);
  const first = from === "" ? size - Number(to) : Number(from);
  const last = from === "" || to === "" ? size - 1 : Number(to);
  response.writeHead(206, {
    "Content-Range": `bytes ${first}-${last}/${size}`,
    "Content-Length": last - first + 1,
    "ETag": `"6a0b-${size}"`,
  }).end("a".repeat(last - first + 1));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await puppeteer.launch({
  args: [...chromium.args, "--disable-background-networking"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
console.error(await browser.version());
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);

const got = (url, range, cache) =>
  page.evaluate(async (url, headers, cache) => {
    const answer = await fetch(url, { headers, cache });
    return answer.headers.get("content-range").slice(6);
  }, url, { range }, cache);
const follow = async (way, rangeOf, cache) => {
  const url = `/${cache}/${way}`;
  sizes.set(url, 1000);
  await got(url, "bytes=0-", cache);
  const polls = [];
  for (const had of [1000, 1100]) {
    sizes.set(url, had + 100);
    const range = rangeOf(had);
    const bytes = await got(url, range, cache);
    polls.push(`${range.slice(6)} gets ${bytes} (${asked})`);
  }
  console.log(`${cache}: ${polls.join(", ")}`);
};
for (const cache of ["default", "no-cache", "no-store"]) {
  await follow("overlap", (had) => `bytes=${had - 1}-`, cache);
  await follow("end", () => "bytes=-50", cache);
}
await browser.close();
process.exit();
PROBE
seen=$(timeout 100 node_modules/node/bin/node probe.mjs 2>version)
echo "Chromium $(sed 's|.*/||' version), Node $node_version; a file of 1000 bytes grows by 100 before each request;" \
  "in brackets what the server was asked for"
echo "guess: a range without an end goes to the end of the file, and the last 50 bytes are its last"
echo "seen:"
echo "$seen"
[ "$seen" = "default: 999- gets 999-999/1100 (bytes=999-999), 1099- gets 1099-1199/1200 (bytes=1099-)
default: -50 gets 950-999/1100 (bytes=950-999), -50 gets 1150-1199/1200 (bytes=-50)
no-cache: 999- gets 999-999/1100 (bytes=999-999), 1099- gets 1099-1199/1200 (bytes=1099-)
no-cache: -50 gets 950-999/1100 (bytes=950-999), -50 gets 1150-1199/1200 (bytes=-50)
no-store: 999- gets 999-1099/1100 (bytes=999-), 1099- gets 1099-1199/1200 (bytes=1099-)
no-store: -50 gets 1050-1099/1100 (bytes=-50), -50 gets 1150-1199/1200 (bytes=-50)" ] || {
  echo "this has changed"
  exit 1
}
