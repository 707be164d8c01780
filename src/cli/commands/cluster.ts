/**
 * `stream cluster`.
 *
 * What it does is loaded when it is done: nothing else needs the client of the engine.
 * @module
 */
import { type Command, EXIT, nearest, type Option, UsageError } from "../command.ts";

/** How the engine of a cluster is named. */
export const CLUSTER_OPTIONS: Record<string, Option> = {
  cluster: {
    kind: "text",
    value: "NATS",
    env: "STREAM_CLUSTER",
    help: "the engine: nats://HOST,HOST,HOST, or tls:// (docs/cluster.md)",
  },
  "cluster-creds": {
    kind: "text",
    value: "FILE",
    help: "credentials for the engine, as its tools make them (default: none)",
  },
};

const ACTIONS = ["init", "status", "balance"];

/** Makes, shows and balances what the nodes of a cluster share. */
export const cluster: Command = {
  name: "cluster",
  summary: "make, show and balance what the nodes of a cluster share",
  positionals: [ACTIONS.join("|")],
  options: {
    ...CLUSTER_OPTIONS,
    size: {
      kind: "size",
      value: "SIZE",
      help: "init: bytes that all logs together may have on each member; twice that is needed",
    },
    replicas: {
      kind: "count",
      value: "N",
      help: "init: members that have each byte: 1, 3 or 5 (default 3)",
    },
    durability: {
      kind: "text",
      value: "disk|os",
      help:
        "init: what acknowledged bytes survive: disk (a power loss of all), or os (killed members) (default disk)",
    },
    monitor: {
      kind: "list",
      value: "URL",
      help: "monitoring of a member, http://HOST:8222, which tells its settings; can be repeated",
    },
    json: { kind: "flag", help: "status: print one JSON object" },
  },
  examples: [
    "stream cluster init --cluster nats://n1,n2,n3 --size 200GB --monitor http://n1:8222",
    "stream cluster status --cluster nats://n1,n2,n3",
  ],
  async run([action], options) {
    if (options.text("cluster") === undefined) {
      throw new UsageError(`cluster ${action} wants --cluster nats://HOST,HOST,HOST`);
    }
    switch (action) {
      case "init":
        await (await import("../cluster/init.ts")).init(options);
        return EXIT.ok;
      case "status":
        await (await import("../cluster/status.ts")).showStatus(options);
        return EXIT.ok;
      case "balance":
        await (await import("../cluster/balance.ts")).balance(options);
        return EXIT.ok;
    }
    const suggestion = nearest(action, ACTIONS);
    const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
    throw new UsageError(`cluster cannot ${JSON.stringify(action)}${hint}`);
  },
};
