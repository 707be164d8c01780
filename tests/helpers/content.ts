/** Resources whose content the tests read over HTTP, written without a connection in between. */
import type { StreamError } from "../../src/protocol.ts";
import { framesRuntime } from "../../mod.ts";
import type { Registration, Resources } from "../../src/resources.ts";
import type { Appender } from "../../src/resources/writing/appender.ts";
import type { ServerOptions } from "../../src/server.ts";
import { utf8 } from "./bytes.ts";
import { checksumOf, registration, statusWhere } from "./resources.ts";
import { startServer, type TestServer } from "./server.ts";

/** The runtimes a server can stand on here: that of the test, and the one over `node:http`. */
export const listeners: { name: string; start: typeof startServer }[] = [
  { name: "own", start: startServer },
  {
    name: "frames",
    start: (options: Partial<ServerOptions> = {}) =>
      startServer({ ...options, runtime: framesRuntime() }),
  },
];

/** An upload, and where its content is. */
export class Written {
  #text = "";

  private constructor(readonly appender: Appender, readonly url: string) {}

  /** Begins an upload. */
  static async begin(server: TestServer, given: Partial<Registration> = {}): Promise<Written> {
    const { appender } = await (server.resources as Resources).register(registration(given));
    return new Written(appender, `${server.url}/resources/${appender.resource.id}/content`);
  }

  get id(): string {
    return this.appender.resource.id;
  }

  /** Appends, and waits until it can be read. */
  async write(text: string): Promise<this> {
    this.#text += text;
    const size = utf8(this.#text).length;
    this.appender.append(utf8(text));
    await statusWhere(this.appender.resource, ({ currentSize }) => currentSize === size);
    return this;
  }

  async complete(): Promise<this> {
    const bytes = utf8(this.#text);
    await this.appender.complete(await checksumOf(bytes), bytes.length);
    return this;
  }

  async fail(error: StreamError): Promise<this> {
    await this.appender.fail(error);
    return this;
  }
}

/** A finished resource. */
export async function completed(
  server: TestServer,
  text: string,
  given: Partial<Registration> = {},
): Promise<Written> {
  const written = await Written.begin(server, given);
  return await (text === "" ? written : await written.write(text)).complete();
}
