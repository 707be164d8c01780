/** How the producer ended, told beside the state of the transfer: by messages and by HTTP, to every reader. */
import { test } from "node:test";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  getResource,
  listResources,
  open,
  push,
  statusEvents,
  StreamError,
} from "../../src/client.ts";
import { checkOutcome, endedWell, type Outcome } from "../../src/protocol.ts";
import { utf8 } from "../helpers/bytes.ts";
import { startServer, type TestServer } from "../helpers/server.ts";

const METADATA = { filename: "make.log", mimeType: "text/plain", supportsLineAccess: true };
const OUTCOMES: Outcome[] = [
  { exitCode: 0, signal: null },
  { exitCode: 2, signal: null },
  { exitCode: null, signal: "SIGKILL" },
];

for (const transport of ["ws", "http"] as const) {
  test(`by ${transport}: every reader of a COMPLETED resource is told how its command ended`, async () => {
    await using server = await startServer();
    for (const outcome of OUTCOMES) {
      const upload = await push(server.url, METADATA, { transport, outcome: () => outcome });
      const reader = await open(upload.reference, { transport });
      assertEquals(reader.status.outcome, undefined);
      const writer = upload.writable.getWriter();
      await writer.write(utf8("first\n"));
      await writer.close();
      await new Response(reader.read()).text();
      assertEquals([reader.status.transferStatus, reader.status.outcome], ["COMPLETED", outcome]);
      reader.close();
      const info = await getResource(upload.reference);
      assertEquals([info.transferStatus, info.outcome], ["COMPLETED", outcome]);
      for await (const status of statusEvents(upload.reference)) {
        assertEquals(status.outcome, outcome);
      }
      assertEquals((await listResources(server.url).next()).value?.outcome, outcome);
    }
  });

  test(`by ${transport}: an outcome that is none fails the upload at its source`, async () => {
    await using server = await startServer();
    const outcome = () => ({ exitCode: -1, signal: null });
    const upload = await push(server.url, METADATA, { transport, outcome });
    await assertRejects(() => upload.writable.close(), StreamError, "neither an exit code nor");
    const error = await assertRejects(() => upload.done, StreamError);
    assertEquals(error.code, "BAD_REQUEST");
  });
}

test("without a word of the uploader a resource has no outcome", async () => {
  await using server = await startServer();
  const upload = await push(server.url, METADATA);
  await upload.writable.close();
  assertEquals("outcome" in await getResource(upload.reference), false);
});

/** Creates an upload by HTTP and ends it with a field. */
async function endedWith({ url }: TestServer, field: string): Promise<Response> {
  const created = await fetch(`${url}/resources?name=make.log`, {
    method: "POST",
    headers: { "upload-complete": "?0" },
  });
  await created.body?.cancel();
  return await fetch(created.headers.get("location")!, {
    method: "PATCH",
    headers: {
      ...{ "content-type": "application/partial-upload", "upload-offset": "0" },
      ...{ "upload-complete": "?1", "stream-outcome": field },
    },
  });
}

test("Stream-Outcome of the last append is the outcome; a malformed one is refused and changes nothing", async () => {
  await using server = await startServer();
  assertEquals((await (await endedWith(server, "exit=7")).json()).outcome, OUTCOME(7));
  const killed = await (await endedWith(server, "signal=SIGTERM")).json();
  assertEquals(killed.outcome, { exitCode: null, signal: "SIGTERM" });
  for (
    const field of ["exit=-1", "exit=", "signal=TERM", "exit=1, signal=SIGTERM", "exit=9999999999"]
  ) {
    const refused = await endedWith(server, field);
    assertEquals([field, refused.status], [field, 400]);
    assertStringIncludes(await refused.text(), "BAD_REQUEST");
  }
});

const OUTCOME = (exitCode: number): Outcome => ({ exitCode, signal: null });

test("an outcome is an exit code or a signal", () => {
  for (const outcome of [...OUTCOMES, OUTCOME(2 ** 32 - 1)]) {
    assertEquals(checkOutcome(outcome), outcome);
  }
  const wrong: Outcome[] = [
    ...[OUTCOME(-1), OUTCOME(1.5), OUTCOME(2 ** 32), { exitCode: null, signal: null }],
    ...[{ exitCode: 1, signal: "SIGKILL" }, { exitCode: null, signal: "kill" }],
    { exitCode: null, signal: `SIG${"A".repeat(21)}` },
  ];
  for (const outcome of wrong) {
    assertEquals(assertThrows(() => checkOutcome(outcome), StreamError).code, "BAD_REQUEST");
  }
  assertEquals(OUTCOMES.map(endedWell), [true, false, false]);
  assertEquals(endedWell(undefined), true);
});
