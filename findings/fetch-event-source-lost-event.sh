#!/usr/bin/env bash
# @microsoft/fetch-event-source: the event in which the connection breaks is never delivered; the next connection skips it.
#
# Server-sent events are resumed by `Last-Event-ID`, the id of the last event that was delivered: by the standard an id
# counts when its event is complete. This client takes it as soon as it has read the line, and servers write `id:` in front
# of `data:`. An event that a broken connection cuts between the two (a long one, a proxy that restarts, a phone that
# changes its network) is thrown away, and then asked to be left out. The handlers see a retry, the server one that has all.
# `EventSource` of Node and of Deno and the packages `eventsource` and `eventsource-client` get it with the next connection.
# A server that writes `id:` behind `data:` loses nothing.
set -euo pipefail
node_version=26.10.0
deno_version=2.9.6
microsoft=2.0.1
eventsource=4.1.1
client=1.2.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "node@$node_version" "deno@$deno_version" "@microsoft/fetch-event-source@$microsoft" \
  "eventsource@$eventsource" "eventsource-client@$client"

cat >probe.mjs <<'PROBE'
import { createServer } from "node:http";
import { createEventSource } from "eventsource-client";
import { EventSource as Package } from "eventsource";

// Five events; the first connection breaks in the middle of the third.
const events = (after, order) =>
  [1, 2, 3, 4, 5].filter((id) => id > after).map((id) => {
    const fields = [`id: ${id}\n`, `data: ${id} of five\n`];
    return (order === "id-last" ? fields.reverse() : fields).join("") + "\n";
  });
const begun = new Set();
const server = createServer(({ url, headers }, response) => {
  const waiting = events(Number(headers["last-event-id"] ?? 0), url.split("/")[1]);
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write("retry: 100\n\n");
  if (begun.has(url)) {
    response.write(waiting.join(""));
    return;
  }
  begun.add(url);
  response.write(waiting.slice(0, 2).join("") + waiting[2].slice(0, -8));
  setTimeout(() => response.destroy(), 300);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;

const bySource = (Source) => (url, onMessage) => {
  const source = new Source(url);
  source.onmessage = onMessage;
};
const clients = { EventSource: bySource(EventSource) };
if (!globalThis.Deno) {
  Object.assign(globalThis, { document: { addEventListener() {}, removeEventListener() {} }, window: globalThis });
  const { fetchEventSource } = await import("@microsoft/fetch-event-source");
  clients.eventsource = bySource(Package);
  clients["eventsource-client"] = (url, onMessage) => createEventSource({ url, onMessage });
  clients["fetch-event-source"] = (url, onmessage) =>
    fetchEventSource(url, { onmessage: (event) => event.data && onmessage(event) });
}
for (const order of ["id-first", "id-last"]) {
  for (const [name, listen] of Object.entries(clients)) {
    const ids = [];
    await new Promise((resolve) =>
      listen(`${origin}/${order}/${name}`, ({ data }) => {
        ids.push(data[0]);
        if (data[0] === "5") resolve();
      })
    );
    console.log(`${order}: ${name} of ${globalThis.Deno ? "Deno" : "Node"} is told ${ids.join(" ")}`);
  }
}
process.exit();
PROBE
seen=$(timeout 60 node_modules/node/bin/node --experimental-eventsource probe.mjs 2>/dev/null
  NO_COLOR=1 timeout 60 node_modules/deno/deno run -A probe.mjs)
echo "Node $node_version, Deno $deno_version, @microsoft/fetch-event-source $microsoft, eventsource $eventsource," \
  "eventsource-client $client; events 1 to 5, broken off in the third"
echo "guess: each is told 1 2 3 4 5, as the third was not complete when the connection broke"
echo "seen:"
echo "$seen"
[ "$seen" = "id-first: EventSource of Node is told 1 2 3 4 5
id-first: eventsource of Node is told 1 2 3 4 5
id-first: eventsource-client of Node is told 1 2 3 4 5
id-first: fetch-event-source of Node is told 1 2 4 5
id-last: EventSource of Node is told 1 2 3 4 5
id-last: eventsource of Node is told 1 2 3 4 5
id-last: eventsource-client of Node is told 1 2 3 4 5
id-last: fetch-event-source of Node is told 1 2 3 4 5
id-first: EventSource of Deno is told 1 2 3 4 5
id-last: EventSource of Deno is told 1 2 3 4 5" ] || {
  echo "this has changed"
  exit 1
}
