/**
 * Metrics of a server.
 * @module
 */
import process from "node:process";
import { Registry, type Sample } from "../metrics.ts";
import { isFinal, VERSION } from "../protocol.ts";
import type { Meter, ResourceEvent, Resources } from "../resources.ts";
import type { Shares } from "./access/shares.ts";
import { CONNECTION_KINDS, type SessionEnd, type Sessions } from "./sessions.ts";

/** From a fast disk's flush to what nobody should wait for. */
const LATENCY_BOUNDS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
/** Others are counted as one: a peer may invent any number of methods. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/** A timer that is set to so little tells by its lateness how busy the event loop is. */
const LOOP_TIMER_MS = 1;

/** Something else that `GET /metrics` tells. */
export interface HostGauge {
  /** Its name, as Prometheus wants it. */
  name: string;
  /** What it measures, in a sentence. */
  help: string;
  /** Measures it, when somebody asks. */
  measure(): number;
}

/** Counts what happens, and measures the rest when somebody asks. */
export class ServerMetrics implements Meter {
  readonly #registry = new Registry();
  readonly #lags = new Set<() => number>();
  readonly #writtenBytes = this.#registry.counter(
    "stream_written_bytes_total",
    "Bytes of uploads that were written.",
  );
  readonly #readBytes = this.#registry.counter(
    "stream_read_bytes_total",
    "Bytes that readers were given: followers, downloads, lines and searches.",
  );
  readonly #checkpoints = this.#registry.histogram(
    "stream_checkpoint_latency_seconds",
    "From the arrival of a byte until it can be read, of the oldest byte of each checkpoint.",
    LATENCY_BOUNDS_S,
  );
  readonly #appends = this.#registry.histogram(
    "stream_append_seconds",
    "Time of an append; in a cluster until a majority of the members has it.",
    LATENCY_BOUNDS_S,
  );
  readonly #takeovers = this.#registry.counter(
    "stream_takeovers_total",
    "Uploads that were taken over: resumed, or their node was gone.",
  );
  readonly #flushes = this.#registry.histogram(
    "stream_fsync_seconds",
    "Time to bring a log to disk.",
    LATENCY_BOUNDS_S,
  );
  readonly #started = this.#registry.counter(
    "stream_uploads_started_total",
    "Uploads that were registered.",
  );
  readonly #ended = this.#registry.counter(
    "stream_uploads_ended_total",
    "Uploads that ended, by transfer status.",
    "status",
  );
  readonly #refusals = this.#registry.counter(
    "stream_refusals_total",
    "Requests and connections that ended with an error, by its code.",
    "code",
  );
  readonly #shareRefusals = this.#registry.counter(
    "stream_share_refusals_total",
    "Refusals of a client that has its share, by what it wanted.",
    "what",
  );
  readonly #sessions = this.#registry.counter(
    "stream_sessions_ended_total",
    "WebSocket connections that are gone, by kind.",
    "kind",
  );
  readonly #requests = this.#registry.counter(
    "stream_http_requests_total",
    "Requests that were answered, by method, route and status; upgrades are none.",
    "method",
    "route",
    "status",
  );

  /**
   * Measures these, too.
   * @param resources All resources.
   * @param sessions All sessions.
   * @param uploadShares Uploads of each client.
   * @param gauges What the host of the server measures.
   */
  observe(
    resources: Resources,
    sessions: Sessions,
    uploadShares: Shares,
    gauges: readonly HostGauge[] = [],
  ): void {
    resources.listen((event) => this.#event(event), { onlyHere: true });
    const gauge = (name: string, help: string, measure: () => number | Promise<number>) =>
      this.#registry.gauge(name, help, async () => [{ value: await measure() }]);
    this.#registry.gauge(
      "stream_connections",
      "WebSocket connections, and responses that stream, that are open, by kind.",
      () => CONNECTION_KINDS.map((kind) => ({ labels: { kind }, value: sessions.count(kind) })),
    );
    gauge(
      "stream_client_connections",
      "Connections of the token or address that has the most.",
      () => sessions.greatestShare,
    );
    gauge("stream_uploads", "Uploads that run.", () => resources.uploads);
    gauge(
      "stream_client_uploads",
      "Uploads that run of the token or address that has the most.",
      () => uploadShares.greatest,
    );
    gauge("stream_followers", "Readers that follow a resource.", () => this.#lags.size);
    gauge(
      "stream_follower_lag_bytes",
      "Readable bytes that the slowest follower was not sent yet.",
      () => Math.max(0, ...Array.from(this.#lags, (lagBytes) => lagBytes())),
    );
    gauge("stream_stored_bytes", "Bytes of all resources.", () => resources.totalBytes);
    this.#registry.gauge(
      "stream_disk_free_bytes",
      "Bytes that can still be stored.",
      async () => known(await resources.freeBytes().catch(() => NaN)),
    );
    gauge(
      "process_resident_memory_bytes",
      "Memory of the process.",
      () => process.memoryUsage().rss,
    );
    gauge("stream_event_loop_delay_seconds", "How late a timer comes.", eventLoopDelayS);
    for (const { name, help, measure } of gauges) gauge(name, help, measure);
    this.#registry.gauge("stream_build_info", "Always 1; the labels say what runs.", () => [
      { labels: { version: VERSION, runtime: navigator.userAgent }, value: 1 },
    ]);
  }

  written(byteCount: number): void {
    this.#writtenBytes.add(byteCount);
  }

  read(byteCount: number): void {
    this.#readBytes.add(byteCount);
  }

  checkpointed(latencyMs: number): void {
    this.#checkpoints.observe(latencyMs / 1000);
  }

  appended(tookMs: number): void {
    this.#appends.observe(tookMs / 1000);
  }

  takenOver(): void {
    this.#takeovers.add(1);
  }

  flushed(tookMs: number): void {
    this.#flushes.observe(tookMs / 1000);
  }

  follows(lagBytes: () => number): () => void {
    this.#lags.add(lagBytes);
    return () => this.#lags.delete(lagBytes);
  }

  /** A request was answered; `route` is the pattern it matched. */
  answered(method: string, route: string, status: number): void {
    this.#requests.add(1, METHODS.includes(method) ? method : "other", route, String(status));
  }

  /** A client wanted more than its share. */
  shareRefused(what: string): void {
    this.#shareRefusals.add(1, what);
  }

  /** A request ended with an error. */
  refused(code: string): void {
    this.#refusals.add(1, code);
  }

  /** A connection is gone. */
  closed({ kind, error }: SessionEnd): void {
    this.#sessions.add(1, kind);
    if (error !== null) this.refused(error.code);
  }

  /** Everything in the text format of Prometheus. */
  text(): Promise<string> {
    return this.#registry.text();
  }

  #event(event: ResourceEvent): void {
    if (event.type === "created") this.#started.add(1);
    if (event.type === "status" && isFinal(event.status.transferStatus)) {
      this.#ended.add(1, event.status.transferStatus);
    }
  }
}

/** Where nobody knows, nothing is said. */
function known(value: number): Sample[] {
  return Number.isFinite(value) ? [{ value }] : [];
}

function eventLoopDelayS(): Promise<number> {
  const setAtMs = performance.now();
  return new Promise((resolve) =>
    setTimeout(() => {
      resolve(Math.max(0, performance.now() - setAtMs - LOOP_TIMER_MS) / 1000);
    }, LOOP_TIMER_MS)
  );
}
