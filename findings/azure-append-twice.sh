#!/usr/bin/env bash
# @azure/storage-blob: a line that is appended when an answer gets lost is in the log twice, and told as a success.
#
# Append blobs are made for logs, and `appendBlock()` adds to one. The client sends any request again whose connection
# breaks, this one as well, though two of it are not one: the block that the server has stored, and whose answer is lost,
# is stored once more, and the caller sees an offset that has moved by more than it wrote. With the condition that guards
# against it (`appendPosition`) the repeated request finds its own block there: 412, AppendPositionConditionNotMet, for
# what is stored; who takes that for another writer gives up, or appends it elsewhere. `maxTries: 1` tells of the break.
set -euo pipefail
client_version=12.32.0
azurite_version=3.35.0
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "@azure/storage-blob@$client_version" "azurite@$azurite_version"

# The emulator of the service, by its maker.
export AZURITE_ACCOUNTS="writer:$(printf 'only for this run' | base64)"
node node_modules/azurite/dist/src/blob/main.js --blobPort 24381 --skipApiVersionCheck --inMemoryPersistence --silent \
  --disableTelemetry >/dev/null 2>&1 &
pids+=($!)
until (echo >/dev/tcp/127.0.0.1/24381) 2>/dev/null; do sleep 0.1; done

cat >probe.mjs <<'PROBE'
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";

// Between the two: the connection of a request that is to be lost ends when its answer comes.
let lose = false;
const between = createServer((client) => {
  const service = connect(24381, "127.0.0.1");
  client.pipe(service);
  service.on("data", (bytes) => {
    if (!lose) return client.write(bytes);
    lose = false;
    client.destroy();
    service.destroy();
  });
  for (const [one, other] of [[client, service], [service, client]]) {
    one.on("error", () => {}).on("close", () => other.destroy());
  }
}).listen(0, "127.0.0.1");
await once(between, "listening");

const [account, key] = process.env.AZURITE_ACCOUNTS.split(":");
const logs = (options) =>
  new BlobServiceClient(
    `http://127.0.0.1:${between.address().port}/${account}`,
    new StorageSharedKeyCredential(account, key),
    options,
  ).getContainerClient("logs");
await logs().create();
for (const [name, position, options] of [
  ["by default", false, { retryOptions: { retryDelayInMs: 100 } }],
  ["with appendPosition", true, { retryOptions: { retryDelayInMs: 100 } }],
  ["with one try", false, { retryOptions: { maxTries: 1 } }],
]) {
  const blob = logs(options).getAppendBlobClient(name.replaceAll(" ", "-"));
  await blob.create();
  const append = (line, appendPosition) =>
    blob.appendBlock(line, line.length, position ? { conditions: { appendPosition } } : {})
      .then(() => "stored", (error) => error.statusCode ?? "broken");
  await append("one ", 0);
  lose = true;
  const outcome = await append("two ", 4);
  console.log(`${name}: told ${outcome}, the log is '${await blob.downloadToBuffer()}'`);
}
process.exit();
PROBE
seen=$(timeout 60 node probe.mjs)
echo "@azure/storage-blob $client_version, azurite $azurite_version; 'one ', then 'two ', whose first answer is lost"
echo "guess: a success is told for what is stored once, an error otherwise"
echo "seen:"
echo "$seen"
[ "$seen" = "by default: told stored, the log is 'one two two '
with appendPosition: told 412, the log is 'one two '
with one try: told broken, the log is 'one two '" ] || {
  echo "this has changed"
  exit 1
}
