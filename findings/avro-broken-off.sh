#!/usr/bin/env bash
# avsc, @msgpack/msgpack: a file of records that breaks off is read as a whole one, whole records of its last block left out.
#
# Avro's container files hold records in blocks that tell their length and end with a mark, so that a reader can tell a file
# that is not whole: a writer that was killed, a copy that broke off. `createFileDecoder()` of avsc, and the BlockDecoder
# below it, wait for the rest of a block until the file ends, drop what they have of it, and end in good order: of a file
# that lacks its last byte a whole block of records is missing, and `pipeline()` resolves. MessagePack tells the length of
# each value. `decodeMultiStream()` of @msgpack/msgpack ends in good order in the middle of one, `decodeArrayStream()` even
# where the array told how many elements it has; `decodeMulti()`, the same without a stream, throws, and so does the stream
# of cbor.
set -euo pipefail
avsc_version=5.7.9
msgpack_version=3.1.3
cbor_version=10.0.12
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent "avsc@$avsc_version" "@msgpack/msgpack@$msgpack_version" "cbor@$cbor_version"

cat >probe.mjs <<'PROBE'
import { createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import avro from "avsc";
import cbor from "cbor";
import { decodeArrayStream, decodeMulti, decodeMultiStream, encode } from "@msgpack/msgpack";

const records = Array.from({ length: 2000 }, (_, n) => ({ n, text: `line ${n}` }));
const type = avro.Type.forSchema({
  type: "record",
  name: "Line",
  fields: [{ name: "n", type: "int" }, { name: "text", type: "string" }],
});
const encoder = new avro.streams.BlockEncoder(type, { blockSize: 4000 });
const written = pipeline(encoder, createWriteStream("log.avro"));
for (const record of records) encoder.write(record);
encoder.end();
await written;

const count = (source) => pipeline(source, async (all) => {
  let n = 0;
  for await (const _ of all) n++;
  return n;
});
const stream = (bytes) => Readable.from([Buffer.from(bytes)]);
const values = Buffer.concat(records.map((record) => encode(record)));
const readers = {
  "avsc, createFileDecoder": [readFileSync("log.avro"), (bytes) => {
    writeFileSync("part.avro", bytes);
    return count(avro.createFileDecoder("part.avro"));
  }],
  "@msgpack/msgpack, decodeMultiStream": [values, (bytes) => count(decodeMultiStream(stream(bytes)))],
  "@msgpack/msgpack, decodeArrayStream": [encode(records), (bytes) => count(decodeArrayStream(stream(bytes)))],
  "@msgpack/msgpack, decodeMulti": [values, async (bytes) => [...decodeMulti(bytes)].length],
  "cbor, Decoder": [Buffer.concat(records.map((record) => cbor.encode(record))), (bytes) => {
    return count(stream(bytes).pipe(new cbor.Decoder()));
  }],
};
for (const [name, [whole, read]] of Object.entries(readers)) {
  const outcomes = [];
  for (const length of [whole.length, whole.length - 1, whole.length >> 1]) {
    outcomes.push(await read(whole.subarray(0, length)).catch(() => "fails"));
  }
  console.log(`${name}: whole ${outcomes[0]}, without its last byte ${outcomes[1]}, half ${outcomes[2]}`);
}
PROBE
seen=$(timeout 60 node probe.mjs)
echo "avsc $avsc_version, @msgpack/msgpack $msgpack_version, cbor $cbor_version, Node $(node --version)"
echo "guess: 2000 records of the whole file, and the others fail"
echo "seen:"
echo "$seen"
[ "$seen" = "avsc, createFileDecoder: whole 2000, without its last byte 1762, half 742
@msgpack/msgpack, decodeMultiStream: whole 2000, without its last byte 1999, half 1035
@msgpack/msgpack, decodeArrayStream: whole 2000, without its last byte 1999, half 1035
@msgpack/msgpack, decodeMulti: whole 2000, without its last byte fails, half fails
cbor, Decoder: whole 2000, without its last byte fails, half fails" ] || {
  echo "this has changed"
  exit 1
}
