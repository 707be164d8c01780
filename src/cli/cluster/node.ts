/**
 * A node of a cluster: what `stream serve --cluster` puts in the place of a data directory.
 * @module
 */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Catalog } from "../../catalog.ts";
import { NatsCatalog } from "../../catalog/nats.ts";
import { connectEngine, type Engine } from "../../cluster/engine.ts";
import { checkNodeId, Membership, type NodeInfo } from "../../cluster/nodes.ts";
import { sharedSecret } from "../../cluster/settings.ts";
import { StreamError, VERSION } from "../../protocol.ts";
import type { Durability, HostGauge, NodeOptions } from "../../server.ts";
import type { Storage } from "../../storage.ts";
import { NatsStorage } from "../../storage/nats.ts";
import type { Options } from "../command.ts";
import { catalogPath } from "../unknown_logs.ts";
import { engineOptionsOf } from "./engine.ts";
import { TokenCopy } from "./tokens.ts";

/** How long an upload is a node's without a word from that: longer than an engine takes to elect a leader. */
const LEASE_MS = 20_000;

const LINK_KEY_BYTES = 32;
/** File of the copy of the catalog; a single server has another name for what is no copy. */
const COPY_NAME = "catalog-copy.sqlite";
/** File of the tokens of all nodes. */
const TOKENS_NAME = "tokens-copy";

/** Parts of a server that is a node. */
export interface ClusterNode {
  /** Where bytes are. */
  storage: Storage;
  /** Where records are. */
  catalog: Catalog;
  /** Its id, what is its own, and what its acknowledgements mean. */
  settings: NodeOptions & { durability: Durability; gauges: readonly HostGauge[] };
  /** The key of signed links, the same on every node. */
  linkKey(): Promise<Uint8Array>;
  /** Path of a file that has the tokens of all nodes, whoever changes them. */
  sharedTokens(): Promise<string>;
  /**
   * Joins the others.
   * @param given What it was given: the address by which clients reach it, if they can, and what all nodes must be given
   * alike.
   * @param uploads Counts the uploads that it appends to.
   * @returns Resolves with what is wrong when another one had its id before it.
   */
  join(
    given: Pick<NodeInfo, "address" | "settings">,
    uploads: () => number,
  ): Promise<{ message: string }>;
  /** What nodes were not given alike, a line for each setting. */
  disagreements(): Promise<string[]>;
  /** Hears what members of the engine refuse, now and then. */
  onLimit(listener: (reason: string) => void): void;
  /** Resolves with what is wrong when the engine has other records than this node knows. */
  readonly lost: Promise<{ message: string }>;
  /** Tells the others that it takes no new work. */
  drain(): Promise<void>;
  /** Addresses of the others that do. */
  others(): Promise<string[]>;
  /** Leaves the others. */
  close(): Promise<void>;
}

/**
 * Opens what nodes share, when the copy of the catalog here has everything.
 * @param options Options with `cluster`.
 * @param directory Directory of this node alone; what is in it can be lost.
 * @throws {StreamError} UNREACHABLE, NOT_READY before `stream cluster init`.
 */
export async function openNode(options: Options, directory: string): Promise<ClusterNode> {
  if (existsSync(catalogPath(directory))) {
    throw new StreamError(
      "CONFLICT",
      `${directory} has the data of a single server: copy it into the cluster (stream adopt ${directory} ` +
        `--cluster …), and give the node another --data`,
    );
  }
  const id = await nodeIdIn(directory);
  const engine = await connectEngine(await engineOptionsOf(options));
  try {
    const storage = await NatsStorage.open(engine);
    const catalog = await NatsCatalog.open(engine, { path: join(directory, COPY_NAME) });
    return new OpenNode({ id, directory, engine, storage, catalog });
  } catch (error) {
    await engine.close();
    throw error;
  }
}

interface NodeParts {
  id: string;
  directory: string;
  engine: Engine;
  storage: NatsStorage;
  catalog: NatsCatalog;
}

class OpenNode implements ClusterNode {
  readonly storage: Storage;
  readonly catalog: Catalog;
  readonly settings: ClusterNode["settings"];
  readonly #parts: NodeParts;
  #membership: Membership | null = null;
  #tokens: TokenCopy | null = null;
  #state: "SERVING" | "DRAINING" = "SERVING";

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.storage = parts.storage;
    this.catalog = parts.catalog;
    const isOnDuty = () => this.#membership?.isOnDuty ?? false;
    this.settings = {
      nodeId: parts.id,
      leaseMs: LEASE_MS,
      isOnDuty,
      // An append is acknowledged when the engine has it.
      durability: "disk",
      gauges: gaugesOf(parts, isOnDuty),
    };
  }

  linkKey(): Promise<Uint8Array> {
    return sharedSecret(this.#parts.engine, "link-key", LINK_KEY_BYTES);
  }

  async sharedTokens(): Promise<string> {
    const path = join(this.#parts.directory, TOKENS_NAME);
    this.#tokens = await TokenCopy.open(this.#parts.engine, path);
    return path;
  }

  join(
    given: Pick<NodeInfo, "address" | "settings">,
    uploads: () => number,
  ): Promise<{ message: string }> {
    const { engine, id, catalog, directory } = this.#parts;
    const { promise, resolve } = Promise.withResolvers<{ message: string }>();
    const info = () => ({
      ...given,
      version: VERSION,
      upMs: performance.now(),
      uploads: uploads(),
      state: this.#state,
      lagMs: catalog.lagMs,
    });
    this.#membership = new Membership(engine, id, info, (isLater) => {
      const message = `another node has the id ${id}: remove the node-id in ${directory}`;
      if (isLater) resolve({ message });
    });
    return promise;
  }

  disagreements(): Promise<string[]> {
    return this.#membership!.disagreements();
  }

  onLimit(listener: (reason: string) => void): void {
    this.#parts.engine.onLimit(listener);
  }

  get lost(): Promise<{ message: string }> {
    return this.#parts.catalog.lost;
  }

  async drain(): Promise<void> {
    this.#state = "DRAINING";
    await this.#membership?.sayNow();
  }

  others(): Promise<string[]> {
    return this.#membership!.others();
  }

  async close(): Promise<void> {
    const { engine, storage, catalog } = this.#parts;
    await this.#membership?.close();
    await this.#tokens?.close();
    await storage.close();
    await catalog.close();
    await engine.close();
  }
}

function gaugesOf({ engine, storage, catalog }: NodeParts, isOnDuty: () => boolean): HostGauge[] {
  return [
    {
      name: "stream_engine_connected",
      help: "Whether a member of the engine is connected.",
      measure: () => Number(engine.isConnected),
    },
    {
      name: "stream_engine_stalled",
      help: "Whether appends wait for longer than usual.",
      measure: () => Number(storage.isStalled),
    },
    {
      name: "stream_spare_moves",
      help: "How often an upload went on in its other stream, as nobody took anything.",
      measure: () => storage.moves,
    },
    {
      name: "stream_catalog_lag_seconds",
      help: "At most so long ago the copy of the catalog had everything.",
      measure: () => catalog.lagMs / 1000,
    },
    {
      name: "stream_node_on_duty",
      help: "Whether this node does what only one does: retention.",
      measure: () => Number(isOnDuty()),
    },
  ];
}

/** A node that starts again has the same id: what it left unfinished is its own. */
async function nodeIdIn(directory: string): Promise<string> {
  const path = join(directory, "node-id");
  const known = await readFile(path, "utf8").catch(() => null);
  if (known !== null) return checkNodeId(known.trim());
  const id = `node-${crypto.randomUUID().slice(0, 8)}`;
  await writeFile(path, `${id}\n`);
  return id;
}
