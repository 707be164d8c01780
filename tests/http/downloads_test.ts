/** Long downloads: every byte arrives, whoever takes them, where they are read into the same memory, too. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { FileStorage, type LogReader, MemoryCatalog } from "../../mod.ts";
import type { Resources } from "../../src/resources.ts";
import { listeners } from "../helpers/content.ts";
import { finished, type World } from "../helpers/resources.ts";
import { withChance } from "../helpers/random.ts";
import type { TestServer } from "../helpers/server.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../helpers/temporary.ts";

const MIB = 1024 * 1024;
const SIZE = 12 * MIB + 12_345;
const READERS = 3;
const RANGE_BYTES = 64 * 1024;
/** More than the sockets between both ends hold. */
const LATE_RANGES = 90;
const AS_IT_IS = { headers: { "accept-encoding": "identity" } };

/** Files that note into which memory they are read. */
class NotedStorage extends FileStorage {
  readonly memory = new Set<ArrayBufferLike | undefined>();

  override async openReader(id: string): Promise<LogReader> {
    const reader = await super.openReader(id);
    const read = reader.read.bind(reader);
    reader.read = (byteOffset, byteCount, buffer) => {
      this.memory.add(buffer?.buffer);
      return read(byteOffset, byteCount, buffer);
    };
    return reader;
  }
}

/** Bun copies what it is given to send; nobody else says so. */
const lends = (name: string) => "Bun" in globalThis && name === "own";

/** Bytes that differ from place to place. */
function numbered(byteCount: number): Uint8Array {
  const words = Uint32Array.from({ length: Math.ceil(byteCount / 4) }, (_, index) => index);
  return new Uint8Array(words.buffer, 0, byteCount);
}

/** A server on files with a resource that another one wrote, so that nothing of it is in memory. */
async function serving(
  { start }: typeof listeners[number],
  directory: TemporaryDirectory,
  bytes: Uint8Array,
): Promise<{ server: TestServer; url: string; storage: NotedStorage }> {
  const parts = { catalog: new MemoryCatalog(), storage: new NotedStorage(directory.path) };
  const writer = await start(parts);
  const here = { resources: writer.resources as Resources } as World;
  const { id } = await finished(here, bytes.slice());
  await writer.close();
  const server = await start(parts);
  return { server, url: `${server.url}/resources/${id}/content`, storage: parts.storage };
}

function assertSame(actual: Uint8Array, bytes: Uint8Array, at: number): void {
  const isSame = Buffer.compare(actual, bytes.subarray(at, at + actual.length)) === 0;
  assert(isSame, `${actual.length} bytes from ${at} on are others`);
}

for (const listener of listeners) {
  test(`${listener.name}: readers that take pieces by turns get every byte`, () =>
    withChance(async (chance) => {
      const bytes = numbered(SIZE);
      await using directory = await temporaryDirectory();
      const { server, url } = await serving(listener, directory, bytes);
      await using _ = server;
      const bodies = await Promise.all(Array.from({ length: READERS }, async () => {
        return { reader: (await fetch(url, AS_IT_IS)).body!.getReader(), at: 0 };
      }));
      for (let left = READERS; left > 0;) {
        const body = chance.pick(bodies.filter(({ at }) => at < SIZE));
        const { value } = await body.reader.read();
        assertSame(value!, bytes, body.at);
        body.at += value!.length;
        if (body.at < SIZE) continue;
        assert((await body.reader.read()).done);
        left--;
      }
    }));
}

for (const listener of listeners) {
  const how = lends(listener.name) ? "the same memory" : "new memory";
  test(`${listener.name}: what is sent was read into ${how}`, async () => {
    await using directory = await temporaryDirectory();
    const { server, url, storage } = await serving(listener, directory, numbered(SIZE));
    await using _ = server;
    assertEquals((await (await fetch(url, AS_IT_IS)).arrayBuffer()).byteLength, SIZE);
    storage.memory.delete(undefined);
    // Small pieces until the reader has shown that it takes something, then large ones.
    assertEquals(storage.memory.size, lends(listener.name) ? 2 : 0);
  });
}

/** Asks for ranges by one connection, all at once, and takes the answers when others have got theirs. */
async function lateRanges(url: string, starts: number[], byteCount: number): Promise<Buffer[]> {
  const { hostname, port, host, pathname } = new URL(url);
  const socket = connect(Number(port), hostname).pause();
  const ask = (first: number) =>
    `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nRange: bytes=${first}-${
      first + byteCount - 1
    }\r\n\r\n`;
  socket.write(starts.map(ask).join(""));
  await once(socket, "readable");
  for (const first of starts) {
    const headers = { range: `bytes=${first}-${first + byteCount - 1}` };
    await (await fetch(url, { headers })).arrayBuffer();
  }
  const bodies: Buffer[] = [];
  let taken = Buffer.alloc(0);
  for await (const chunk of socket) {
    taken = Buffer.concat([taken, chunk]);
    for (let body; (body = taken.indexOf("\r\n\r\n") + 4) > 3;) {
      if (taken.length < body + byteCount) break;
      bodies.push(taken.subarray(body, body + byteCount));
      taken = taken.subarray(body + byteCount);
    }
    if (bodies.length === starts.length) break;
  }
  return bodies;
}

test("frames: ranges that are taken late have every byte; on Deno their memory is used again", () =>
  withChance(async (chance) => {
    const bytes = numbered(SIZE);
    await using directory = await temporaryDirectory();
    const { server, url, storage } = await serving(listeners[1], directory, bytes);
    await using _ = server;
    await Promise.all(Array.from({ length: READERS }, async () => {
      const starts = Array.from({ length: LATE_RANGES }, () => chance.whole(0, SIZE - RANGE_BYTES));
      const bodies = await lateRanges(url, starts, RANGE_BYTES);
      bodies.forEach((body, index) => assertSame(body, bytes, starts[index]));
    }));
    storage.memory.delete(undefined);
    const pieces = storage.memory.size;
    if ("Deno" in globalThis) assert(pieces > 0 && pieces <= 2 * READERS, `${pieces} pieces`);
    else assertEquals(pieces, 0);
  }));

test("an app around the server may keep the chunks that it gets", async () => {
  const bytes = numbered(SIZE);
  await using directory = await temporaryDirectory();
  const { server, url } = await serving(listeners[0], directory, bytes);
  await using _ = server;
  const { body } = await server.server.fetch(new Request(url, AS_IT_IS));
  const chunks = await Array.fromAsync(body!);
  assertSame(Buffer.concat(chunks), bytes, 0);
});
