/**
 * `stream cluster status`: members, leaders, space, nodes, uploads, lag.
 * @module
 */
import type { StreamInfo } from "@nats-io/jetstream";
import { type AccountSpace, accountSpaceOf } from "../../cluster/account.ts";
import { disagreements, type NodeInfo, nodesOf } from "../../cluster/nodes.ts";
import { forbidden, missingRights } from "../../cluster/rights.ts";
import { type Options, table } from "../command.ts";
import { printLine } from "../output/output.ts";
import { formatBytes } from "../units.ts";
import { withEngine } from "./engine.ts";
import { streamsOf } from "./streams.ts";

/** Part of its limit from which a stream is nearly full (docs/cluster.md). */
const NEARLY_FULL = 0.8;
/** A member that said nothing for so long is away, in ms. */
const AWAY_MS = 5000;

/** A member, as the streams see it. */
interface MemberState {
  name: string;
  /** Streams that it leads, and that it has. */
  leads: number;
  has: number;
  /** Whether any stream has not heard of it lately. */
  isAway: boolean;
  /** Messages that it is behind, in all streams. */
  lag: number;
}

/** What is shown. */
interface ClusterState {
  /** Of all streams, each replica counted; null where the account has no limit of its own. */
  account: AccountSpace | null;
  /** What a node with the same credentials could not do, and must. */
  missingRights: string[];
  members: MemberState[];
  streams: {
    name: string;
    leader: string | null;
    bytes: number;
    maxBytes: number;
    messages: number;
  }[];
  nodes: NodeInfo[];
  onDuty: string | null;
  /** What nodes were not given alike, and must be. */
  disagreements: string[];
}

/** Shows the state of a cluster. */
export async function showStatus(options: Options): Promise<void> {
  const state = await withEngine(options, async (engine): Promise<ClusterState> => {
    const missing = await missingRights(engine);
    const streams = await streamsOf(engine).catch((error) => {
      throw missing.length > 0 ? forbidden(missing) : error;
    });
    const there = await nodesOf(engine);
    return {
      account: await accountSpaceOf(engine),
      missingRights: missing,
      members: membersOf(streams),
      streams: streams.map(({ config, cluster, state }) => ({
        name: config.name,
        leader: cluster?.leader ?? null,
        bytes: state.bytes,
        maxBytes: config.max_bytes,
        messages: state.messages,
      })),
      ...there,
      disagreements: disagreements(there.nodes),
    };
  });
  if (options.flag("json")) return await printLine(JSON.stringify(state));
  for (const line of linesOf(state)) await printLine(line);
}

function membersOf(streams: readonly StreamInfo[]): MemberState[] {
  const members = new Map<string, MemberState>();
  const member = (name: string) => {
    const known = members.get(name) ?? { name, leads: 0, has: 0, isAway: false, lag: 0 };
    members.set(name, known);
    known.has++;
    return known;
  };
  for (const { cluster } of streams) {
    if (cluster?.leader) member(cluster.leader).leads++;
    for (const { name, active, lag = 0, offline } of cluster?.replicas ?? []) {
      const known = member(name);
      known.isAway ||= offline === true || active / 1e6 > AWAY_MS;
      known.lag += lag;
    }
  }
  return [...members.values()].toSorted((a, b) => a.name < b.name ? -1 : 1);
}

function linesOf(state: ClusterState): string[] {
  const { account, missingRights, members, streams, nodes, onDuty, disagreements } = state;
  const warnings = disagreements.map((line) => `nodes disagree on ${line}`);
  if (missingRights.length > 0) {
    warnings.push(`this account may not ${missingRights.join(", nor ")}: no node starts with it`);
  }
  return [
    ...table([
      ["MEMBER", "STATE", "LEADS", "OF", "BEHIND"],
      ...members.map(({ name, isAway, leads, has, lag }) => [
        name,
        isAway ? "away" : "there",
        String(leads),
        String(has),
        String(lag),
      ]),
    ]),
    "",
    ...table([
      ["STREAM", "LEADER", "USED", "OF", ""],
      ...streams.map(({ name, leader, ...space }) => [name, leader ?? "none", ...wordsOf(space)]),
      ...account === null ? [] : [["(all replicas)", "", ...wordsOf(account)]],
    ]),
    "",
    ...table([
      ["NODE", "STATE", "VERSION", "UP", "UPLOADS", "BEHIND", "ADDRESS", ""],
      ...nodes.map(({ id, state, version, upMs, uploads, lagMs, address = "" }) => [
        id,
        state.toLowerCase(),
        version,
        upMs === undefined ? "" : `${Math.round(upMs / 1000)}s`,
        String(uploads),
        `${Math.round(lagMs)}ms`,
        address,
        id === onDuty ? "on duty" : "",
      ]),
    ]),
    ...warnings.length === 0 ? [] : ["", ...warnings],
  ].map((line) => line.trimEnd());
}

function wordsOf({ bytes, maxBytes }: AccountSpace): string[] {
  const isNearlyFull = bytes > NEARLY_FULL * maxBytes;
  return [formatBytes(bytes), formatBytes(maxBytes), isNearlyFull ? "nearly full" : ""];
}
