/** Metrics: the text format, and what a server counts and measures. */
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { follow, MemoryStorage, open, push } from "../../mod.ts";
import { Registry } from "../../src/metrics.ts";
import { SUBPROTOCOL, VERSION } from "../../src/protocol.ts";
import { eventually, within } from "../helpers/frames/connection.ts";
import { utf8 } from "../helpers/bytes.ts";
import { GatedStorage, RawClient, startServer, type TestServer } from "../helpers/server.ts";

const metadata = { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true };
const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)$/;

/** All samples by name and labels, as they stand in the text. */
async function scrape({ url }: TestServer): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).split("\n").filter((line) => line !== "");
  return new Map(
    lines.filter((line) => !line.startsWith("#")).map((line) => {
      assertMatch(line, SAMPLE);
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))] as const;
    }),
  );
}

/** Scrapes until something is true; what is counted at the end of a connection takes its time. */
function scraped(
  server: TestServer,
  what: string,
  wanted: (samples: Map<string, number>) => boolean,
): Promise<Map<string, number>> {
  return within(
    what,
    (async () => {
      for (;;) {
        const samples = await scrape(server);
        if (wanted(samples)) return samples;
      }
    })(),
  );
}

async function upload(server: TestServer, content: string): Promise<string> {
  const { writable, reference, done } = await push(server.url, metadata);
  await new Blob([content]).stream().pipeTo(writable);
  await done;
  return reference;
}

test("a registry is written in the format of Prometheus", async () => {
  const registry = new Registry();
  registry.counter("things_total", "Things.").add(2);
  const errors = registry.counter("errors_total", "Errors \\ by\ncode.", "code", "place");
  errors.add(1, 'a "b"\\\n', "x");
  errors.add(2, 'a "b"\\\n', "x");
  registry.gauge(
    "size_bytes",
    "Size.",
    () => [{ value: 1.5 }, { labels: { a: "b" }, value: 1e21 }],
  );
  const seconds = registry.histogram("took_seconds", "Time.", [0.1, 1]);
  for (const value of [0.1, 0.5, 7]) seconds.observe(value);
  assertEquals(
    await registry.text(),
    String.raw`# HELP things_total Things.
# TYPE things_total counter
things_total 2
# HELP errors_total Errors \\ by\ncode.
# TYPE errors_total counter
errors_total{code="a \"b\"\\\n",place="x"} 3
# HELP size_bytes Size.
# TYPE size_bytes gauge
size_bytes 1.5
size_bytes{a="b"} 1e+21
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 1
took_seconds_bucket{le="1"} 2
took_seconds_bucket{le="+Inf"} 3
took_seconds_sum 7.6
took_seconds_count 3
`,
  );
});

test("every metric has a help and a type, and its name tells its unit", async () => {
  await using server = await startServer();
  await upload(server, "one\n");
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
  const helps = [...text.matchAll(/^# HELP (\S+) .+\.$/gm)].map(([, name]) => name);
  assertEquals(types.map(([name]) => name), helps);
  assertEquals(new Set(helps).size, helps.length);
  for (const [name, type] of types) {
    assertMatch(name, /^(stream|process)_[a-z_]+$/);
    assertEquals(name.endsWith("_total"), type === "counter", name);
    if (type === "histogram") assertMatch(name, /_seconds$/);
  }
});

test("a new server has all counters without labels at 0", async () => {
  await using server = await startServer();
  const samples = await scrape(server);
  const zeros = ["written_bytes_total", "read_bytes_total", "uploads_started_total", "uploads"];
  for (const name of [...zeros, "followers", "follower_lag_bytes", "stored_bytes"]) {
    assertEquals(samples.get(`stream_${name}`), 0, name);
  }
  assertEquals(samples.get(`stream_connections{kind="upload"}`), 0);
  assertGreater(samples.get("process_resident_memory_bytes")!, 1e6);
  assert(samples.get("stream_event_loop_delay_seconds")! >= 0);
  const [build] = [...samples.keys()].filter((name) => name.startsWith("stream_build_info"));
  assertStringIncludes(build, `version="${VERSION}"`);
});

test("uploads, their bytes and checkpoints are counted, and what followers read", async () => {
  // This one has something to flush.
  await using server = await startServer({ storage: new GatedStorage() });
  const running = await push(server.url, metadata);
  const writer = running.writable.getWriter();
  const download = await open(running.reference);
  const reader = download.read().getReader();
  await writer.write(utf8("one\n"));
  assertEquals(new TextDecoder().decode((await reader.read()).value), "one\n");
  const during = await scrape(server);
  assertEquals(during.get(`stream_connections{kind="upload"}`), 1);
  assertEquals(during.get(`stream_connections{kind="download"}`), 1);
  assertEquals([during.get("stream_uploads"), during.get("stream_followers")], [1, 1]);
  await writer.close();
  await running.done;
  await reader.cancel();
  download.close();
  const after = await scraped(server, "the end of both connections", (samples) => {
    return samples.get(`stream_connections{kind="download"}`) === 0 &&
      samples.get(`stream_connections{kind="upload"}`) === 0;
  });
  assertEquals(after.get("stream_written_bytes_total"), 4);
  assertEquals(after.get("stream_read_bytes_total"), 4);
  assertEquals(after.get("stream_stored_bytes"), 4);
  assertEquals(after.get("stream_uploads_started_total"), 1);
  assertEquals(after.get(`stream_uploads_ended_total{status="COMPLETED"}`), 1);
  assertEquals(after.get("stream_uploads"), 0);
  assertEquals(after.get("stream_followers"), 0);
  assertEquals(after.get("stream_checkpoint_latency_seconds_count"), 1);
  assertGreater(after.get("stream_checkpoint_latency_seconds_sum")!, 0);
  assert(after.get("stream_checkpoint_latency_seconds_sum")! < 5);
  assertEquals(after.get("stream_append_seconds_count"), 1);
  assertEquals(after.get("stream_takeovers_total"), 0);
  assertEquals(after.get("stream_fsync_seconds_count"), 1);
  assertEquals(after.get(`stream_sessions_ended_total{kind="upload"}`), 1);
});

test("the latency of a checkpoint is that of the byte that waited longest", async () => {
  const storage = new GatedStorage();
  await using server = await startServer({ storage });
  const { writable, done } = await push(server.url, metadata);
  const writer = writable.getWriter();
  using _shut = storage.appending.shut();
  await writer.write(utf8("waits\n"));
  await eventually("an append", () => storage.appending.waiting > 0);
  const slowMs = 120;
  await new Promise((resolve) => setTimeout(resolve, slowMs)); // that long the disk takes
  storage.appending.open();
  const count = "stream_checkpoint_latency_seconds_count";
  const samples = await scraped(server, "a checkpoint", (samples) => samples.get(count) === 1);
  const sum = samples.get("stream_checkpoint_latency_seconds_sum")!;
  assert(sum >= slowMs / 1000 - 0.005 && sum < 5, String(sum));
  await writer.close();
  await done;
});

test("the lag is that of the follower that is farthest behind", async () => {
  await using server = await startServer();
  const id = (await upload(server, "x".repeat(200_000))).slice(-36);
  using slow = await RawClient.open(`${server.ws}/ws/streaming/download/${id}`, SUBPROTOCOL);
  using fast = await RawClient.open(`${server.ws}/ws/streaming/download/${id}`, SUBPROTOCOL);
  slow.say({ "@": "Follow", from: 0, window: 65536 });
  fast.say({ "@": "Follow", from: 150_000, window: 65536 });
  await fast.inbox.next("FollowEnd");
  const behind = 200_000 - 65_536;
  await scraped(server, "the slow one has its window", (samples) => {
    return samples.get("stream_follower_lag_bytes") === behind;
  });
});

test("refusals are counted by code, over HTTP and over WebSocket", async () => {
  await using server = await startServer();
  const missing = crypto.randomUUID();
  await (await fetch(`${server.url}/resources/${missing}`)).body?.cancel();
  using _client = await RawClient.open(
    `${server.ws}/ws/streaming/download/${missing}`,
    SUBPROTOCOL,
  );
  await scraped(server, "both refusals", (samples) => {
    return samples.get(`stream_refusals_total{code="NOT_FOUND"}`) === 2;
  });
});

test("requests are counted by their route, so that no id or invention makes a series", async () => {
  await using server = await startServer();
  const ask = async (path: string, method = "GET") => {
    await (await fetch(server.url + path, { method })).body?.cancel();
  };
  for (let n = 0; n < 3; n++) await ask(`/resources/${crypto.randomUUID()}`);
  await ask("/resources?limit=3");
  await ask("/nowhere");
  await ask("/else/where", "PROPFIND");
  const names = [...await scrape(server)].filter(([name]) => name.includes("route="));
  assertEquals(
    new Map(names),
    new Map([
      [`stream_http_requests_total{method="GET",route="/resources/:id",status="404"}`, 3],
      [`stream_http_requests_total{method="GET",route="/resources",status="200"}`, 1],
      [`stream_http_requests_total{method="GET",route="none",status="404"}`, 1],
      [`stream_http_requests_total{method="other",route="none",status="404"}`, 1],
    ]),
  );
});

test("the disk's free space is told where it is known, and a disk that fails is no reason to fail", async () => {
  class Disk extends MemoryStorage {
    answer = () => Promise.resolve(123);
    freeBytes(): Promise<number> {
      return this.answer();
    }
  }
  const storage = new Disk();
  await using server = await startServer({ storage });
  assertEquals((await scrape(server)).get("stream_disk_free_bytes"), 123);
  storage.answer = () => Promise.reject(new Error("gone"));
  assertEquals((await scrape(server)).has("stream_disk_free_bytes"), false);
});

test("follow reads what was counted", async () => {
  await using server = await startServer();
  const reference = await upload(server, "one\ntwo\n");
  assertEquals(await new Response(follow(reference)).text(), "one\ntwo\n");
  assertEquals((await scrape(server)).get("stream_read_bytes_total"), 8);
});
