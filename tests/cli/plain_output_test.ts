/** Output whose escape sequences are left out, however it is cut into pieces. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { plainOutput } from "../../src/cli/output/plain_output.ts";
import { concat, utf8 } from "../helpers/bytes.ts";

async function plain(bytes: Uint8Array, pieceBytes: number): Promise<Uint8Array> {
  const written: Uint8Array[] = [];
  const output = plainOutput({
    write: (piece) => Promise.resolve(void written.push(piece)),
    close: () => Promise.resolve(),
  });
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    await output.write(bytes.subarray(at, at + pieceBytes));
  }
  await output.close();
  return concat(written);
}

test("colours, movements, titles and links are left out, and nothing else", async () => {
  const coloured = utf8(
    "\x1b[1;31mrot\x1b[0m \x1b]0;title\x07é\x1b[2K\x1b[1A\x1b(B" +
      "\x1b]8;;http://a/\x1b\\link\x1b]8;;\x1b\\\x1b7\x1b8 [0m not one\r\n",
  );
  const wanted = utf8("rot élink [0m not one\r\n");
  for (const pieceBytes of [1, 2, 3, 7, 1000]) {
    assertEquals(await plain(coloured, pieceBytes), wanted);
  }
});

test("every byte that is no sequence comes back", async () => {
  const bytes = Uint8Array.from({ length: 1024 }, (_, at) => at % 256).filter((byte) =>
    byte !== 0x1b
  );
  for (const pieceBytes of [1, 100, 4096]) assertEquals(await plain(bytes, pieceBytes), bytes);
  assertEquals(await plain(utf8("end \x1b"), 3), utf8("end \x1b"));
  assertEquals(await plain(utf8("end \x1b[1"), 100), utf8("end \x1b[1"));
});
