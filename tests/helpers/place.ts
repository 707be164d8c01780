/** Data that several servers use one after the other, at an address that stays the same. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Catalog,
  FileStorage,
  MemoryCatalog,
  MemoryStorage,
  type ServerOptions,
  type ServerResources,
  SqliteCatalog,
  type Storage,
} from "../../mod.ts";
import { Proxy } from "./faults/proxy.ts";
import { startServer, type TestServer } from "./server.ts";

export type PlaceKind = "memory" | "files";

/** How the servers of a place are made. */
export interface PlaceOptions extends Partial<Omit<ServerOptions, "storage" | "catalog">> {
  /** What stands before the storage. */
  wrap?: (storage: Storage) => Storage;
}

interface Parts {
  storage: Storage;
  catalog: Catalog;
  close(): Promise<void>;
}

/** A server behind a proxy, and those that follow it. */
export class Place implements AsyncDisposable {
  readonly #options: PlaceOptions;
  readonly #open: () => Parts;
  /** Those that were started on copies. */
  readonly #later: Place[] = [];
  #parts!: Parts;
  /** The newest server. */
  server!: TestServer;
  proxy!: Proxy;

  private constructor(
    readonly kind: PlaceKind,
    /** Where files are. */
    readonly directory: string,
    options: PlaceOptions,
  ) {
    this.#options = options;
    this.#open = kind === "memory" ? inMemory() : () => inFiles(this.directory);
  }

  static async open(kind: PlaceKind, options: PlaceOptions = {}): Promise<Place> {
    const place = new Place(kind, await mkdtemp(join(tmpdir(), "stream-place-")), options);
    await place.#start();
    place.proxy = await Proxy.open(portOf(place.server));
    return place;
  }

  /** Address of whichever server is there. */
  get url(): string {
    return this.proxy.url;
  }

  /** The same for WebSockets. */
  get ws(): string {
    return this.url.replace("http", "ws");
  }

  get resources(): ServerResources {
    return this.server.resources;
  }

  /** Ends the server, does what is to happen meanwhile, and starts another one on its data. */
  async restart(meanwhile: () => Promise<unknown> = () => Promise.resolve()): Promise<void> {
    await this.server.close();
    await this.#parts.close();
    await meanwhile();
    await this.#start();
    this.proxy.target = portOf(this.server);
  }

  /** Starts another server on a copy of what the present one has written, as after its `kill -9`, once something was done to it. */
  async crash(
    meanwhile: (after: Place) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<Place> {
    this.proxy.hold();
    const after = new Place("files", await mkdtemp(join(tmpdir(), "stream-place-")), this.#options);
    await cp(this.directory, after.directory, { recursive: true });
    await meanwhile(after);
    await after.#start();
    after.proxy = this.proxy;
    this.#later.push(after);
    this.proxy.target = portOf(after.server);
    this.proxy.cut();
    this.proxy.release();
    return after;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    await this.#end();
  }

  async #start(): Promise<void> {
    const { wrap = (storage) => storage, ...options } = this.#options;
    this.#parts = this.#open();
    const { catalog } = this.#parts;
    this.server = await startServer({ ...options, storage: wrap(this.#parts.storage), catalog });
  }

  async #end(): Promise<void> {
    for (const later of this.#later) await later.#end();
    await this.server.close();
    await this.#parts.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Memory outlives a server, not the process. */
function inMemory(): () => Parts {
  const parts = { storage: new MemoryStorage(), catalog: new MemoryCatalog() };
  return () => ({ ...parts, close: () => Promise.resolve() });
}

function inFiles(directory: string): Parts {
  const catalog = new SqliteCatalog(join(directory, "catalog.sqlite"));
  return { storage: new FileStorage(directory), catalog, close: () => catalog.close() };
}

function portOf({ url }: TestServer): number {
  return Number(new URL(url).port);
}
