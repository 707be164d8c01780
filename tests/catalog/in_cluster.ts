/** Catalogs in a real cluster of the engine, each test with empty buckets. */
import { join } from "node:path";
import { test } from "node:test";
import type { Catalog } from "../../src/catalog.ts";
import { NatsCatalog } from "../../src/catalog/nats.ts";
import { bucketConfigs } from "../../src/cluster/buckets.ts";
import type { Engine } from "../../src/cluster/engine.ts";
import { sharedCluster } from "../cluster/engine.ts";
import { inTurn } from "../helpers/storage.ts";
import { temporaryDirectory } from "../helpers/temporary.ts";
/** One instance, and two that share their records, each doing every other step. */
export function inCluster(behaviour: string, check: (catalog: Catalog) => Promise<void>): void {
  test(`NatsCatalog: ${behaviour}`, async () => {
    await using place = await emptyPlace();
    await check(await place.catalog());
  });
  test(`NatsCatalog of two nodes: ${behaviour}`, async () => {
    await using place = await emptyPlace();
    const [first, second] = [await place.catalog(), await place.catalog()];
    await check(knowing(inTurn(first, second), [first, second]));
  });
}

/** Waits after each call until all instances know what it did: elsewhere lists are milliseconds behind. */
export function knowing(catalog: Catalog, all: readonly NatsCatalog[]): Catalog {
  return new Proxy(catalog, {
    get(target, name) {
      const method = target[name as keyof Catalog] as (...args: unknown[]) => unknown;
      if (typeof method !== "function") return method;
      if (name === "watch") return method.bind(target);
      return async (...args: unknown[]) => {
        const result = await method.apply(target, args);
        if (/^(create|update|delete|close)/.test(String(name))) {
          // An engine that is busy may not answer at first.
          await Promise.all(all.map((each) => each.caughtUp().catch(() => each.caughtUp())));
        }
        return result;
      };
    },
  });
}

/** What is special about an instance. */
interface Given {
  engine?: Engine;
  name?: string;
  waitMs?: number;
}

/** Buckets without anything in them. */
export async function emptyPlace() {
  const engine = await (await sharedCluster()).connect();
  const configs = bucketConfigs({ replicas: 3, recordBytes: 64 * 1024 * 1024 });
  for (const config of configs) {
    await engine.addStream(config);
    await engine.jsm.streams.purge(config.name);
  }
  const directory = await temporaryDirectory();
  const catalogs: NatsCatalog[] = [];
  return {
    engine,
    /** One more instance. */
    async catalog(given: Given = {}): Promise<NatsCatalog> {
      const { name = `${catalogs.length}.sqlite`, waitMs } = given;
      const path = join(directory.path, name);
      const catalog = await NatsCatalog.open(given.engine ?? engine, { path, waitMs });
      catalogs.push(catalog);
      return catalog;
    },
    /** Deletes the buckets, and makes them again. */
    async remake(): Promise<void> {
      for (const config of configs) {
        await engine.jsm.streams.delete(config.name);
        await engine.jsm.streams.add(config);
      }
    },
    async [Symbol.asyncDispose]() {
      // Some are closed already.
      for (const catalog of catalogs) await catalog.close().catch(() => {});
      await directory[Symbol.asyncDispose]();
      await engine.nc.close();
    },
  };
}
