/**
 * `stream cluster balance`: spreads the leaders of streams and buckets over the members.
 * @module
 */
import type { StreamInfo } from "@nats-io/jetstream";
import type { Engine } from "../../cluster/engine.ts";
import { StreamError } from "../../protocol.ts";
import type { Options } from "../command.ts";
import { printLine } from "../output/output.ts";
import { withEngine } from "./engine.ts";
import { streamsOf } from "./streams.ts";

/** How long a new leader is waited for, in ms. */
const ELECTION_MS = 10_000;
const LOOK_MS = 100;

/** Moves leaders, one after the other, until each member leads as many as the others. */
export async function balance(options: Options): Promise<void> {
  await withEngine(options, async (engine) => {
    let moved = 0;
    const streams = await streamsOf(engine);
    checkLed(streams);
    for (const { stream, to } of movesFor(streams)) {
      await printLine(`${stream}: to ${to}`);
      await move(engine, stream, to);
      moved++;
    }
    await printLine(moved === 0 ? "the leaders are spread evenly" : `${moved} leaders moved`);
  });
}

/** Leaders are elected while a majority of the members is there. */
function checkLed(streams: readonly StreamInfo[]): void {
  const names = streams.filter(({ cluster }) => cluster !== undefined && !cluster.leader)
    .map(({ config }) => config.name);
  if (names.length === 0) return;
  throw new StreamError("NOT_READY", `${names.join(", ")}: no leader; see stream cluster status`);
}

/** A leader that is to move. */
export interface Move {
  /** Name of the stream. */
  stream: string;
  /** Name of the member that is to lead it. */
  to: string;
}

/**
 * Which leaders have to move so that no member leads two more than another.
 * @param streams All streams.
 * @returns The moves, each to a member that has the stream and is up to date.
 */
function movesFor(streams: readonly StreamInfo[]): Move[] {
  const led = new Map<string, Set<string>>();
  for (const { config, cluster } of streams) {
    for (const { name } of cluster?.replicas ?? []) if (!led.has(name)) led.set(name, new Set());
    if (!cluster?.leader) continue;
    led.set(cluster.leader, (led.get(cluster.leader) ?? new Set()).add(config.name));
  }
  const current = new Map(
    streams.map(({ config, cluster }) => [
      config.name,
      (cluster?.replicas ?? []).filter(({ current }) => current).map(({ name }) => name),
    ]),
  );
  const moves: Move[] = [];
  for (;;) {
    const members = [...led].toSorted(([, a], [, b]) => a.size - b.size);
    const move = members.flatMap(([to, few]) =>
      members.toReversed().filter(([, many]) =>
        many.size > few.size + 1
      ).flatMap(([, many]) =>
        [...many].filter((stream) => current.get(stream)!.includes(to))
          .map((stream) => ({ stream, to, many, few }))
      )
    )[0];
    if (move === undefined) return moves;
    move.many.delete(move.stream);
    move.few.add(move.stream);
    moves.push({ stream: move.stream, to: move.to });
  }
}

async function move(engine: Engine, stream: string, to: string): Promise<void> {
  const payload = JSON.stringify({ placement: { preferred: to } });
  const answer = await engine.nc.request(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`, payload, {
    timeout: ELECTION_MS,
  });
  const { error } = answer.json<{ error?: { description: string } }>();
  if (error !== undefined) {
    throw new StreamError("CONFLICT", `${stream} does not move to ${to}: ${error.description}`);
  }
  for (const untilMs = performance.now() + ELECTION_MS; performance.now() < untilMs;) {
    const { cluster } = await engine.jsm.streams.info(stream).catch(() => ({ cluster: undefined }));
    if (cluster?.leader === to) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new StreamError(
    "NOT_READY",
    `${stream} has not moved to ${to} yet: see stream cluster status`,
  );
}
