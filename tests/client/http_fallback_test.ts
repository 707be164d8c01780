/** How a client comes to use HTTP where no WebSocket passes. */
import { test } from "node:test";
import { assertBytes, within } from "../helpers/frames/connection.ts";
import { assertEquals, assertLess } from "@std/assert";
import { type ErrorCode, open, push, type StreamError } from "../../mod.ts";
import { utf8 } from "../helpers/bytes.ts";
import { assertFails } from "../helpers/errors.ts";
import { startServer } from "../helpers/server.ts";
import { type UpgradeFate, UpgradeProxy } from "../helpers/frames/upgrade_proxy.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const http = { transport: "http" } as const;

/** Pushes and follows through a proxy that lets no WebSocket pass. */
async function fallBack(fate: UpgradeFate): Promise<void> {
  await using server = await startServer();
  await using proxy = await UpgradeProxy.open(server.url, fate);
  const upload = await push(server.url, metadata, http);
  const told: ErrorCode[] = [];
  const options = { onFallback: ({ code }: StreamError) => void told.push(code) };
  const [pushed, download] = await Promise.all([
    push(proxy.url, metadata, options),
    open(`${proxy.url}/resources/${upload.resumeToken.split(":")[0]}`, options),
  ]);
  const followed = within("the follower", new Response(download.read()).bytes());
  for (const { writable } of [upload, pushed]) {
    const writer = writable.getWriter();
    await writer.write(utf8("one\n"));
    await writer.close();
  }
  assertEquals((await pushed.done).size, 4);
  assertBytes(await followed, utf8("one\n"));
  download.close();
  assertEquals(told, ["UNREACHABLE", "UNREACHABLE"]);
  assertLess(proxy.upgrades, 5);
  assertEquals(server.resources.uploads, 0);
}

for (const fate of ["426", "400", "cut"] as const) {
  test(`where an upgrade ends with ${fate}, HTTP is used from then on, and said once`, async () => {
    await fallBack(fate);
  });
}

test("where an upgrade hangs, or lets nothing pass, HTTP is used after a few seconds", async () => {
  await Promise.all([fallBack("hang"), fallBack("mute")]);
});

test("who throws when told of HTTP leaves no connection", async () => {
  await using server = await startServer();
  await using proxy = await UpgradeProxy.open(server.url, "426");
  const upload = await push(server.url, metadata);
  const connections = async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    return /^stream_connections\{kind="http"\} (\d+)$/m.exec(text)?.[1];
  };
  const id = upload.resumeToken.split(":")[0];
  const onFallback = () => {
    throw new Error("mine");
  };
  const { message } = await assertFails(
    "INTERNAL",
    () => open(id, { server: proxy.url, onFallback }),
  );
  assertEquals(message, "mine");
  const are = async (count: string) => {
    while (await connections() !== count) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  // One that comes later is there alone, and then none is.
  const other = await open(id, { server: server.url, ...http });
  await within("the only connection", are("1"));
  other.close();
  await within("its end", are("0"));
  await upload.abort();
});

test("who wants a WebSocket gets no HTTP", async () => {
  await using server = await startServer();
  await using proxy = await UpgradeProxy.open(server.url, "426");
  await assertFails("UNREACHABLE", () => push(proxy.url, metadata, { transport: "ws" }));
});

test("nobody there is UNREACHABLE, and no reason for HTTP", async () => {
  const server = await startServer();
  await server.close();
  const told: string[] = [];
  const options = {
    retryForMs: 0,
    onFallback: ({ message }: StreamError) => void told.push(message),
  };
  const reference = `${server.url}/resources/${crypto.randomUUID()}`;
  for (const transport of ["auto", "http"] as const) {
    await assertFails("UNREACHABLE", () => push(server.url, metadata, { ...options, transport }));
    await assertFails("UNREACHABLE", () => open(reference, { ...options, transport }));
  }
  assertEquals(told, []);
});
