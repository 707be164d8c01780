/**
 * All faces: the one place where the server knows them. A further protocol is one more.
 * @module
 */
import type { Resources } from "../resources.ts";
import { durableStreamsFace, Streams } from "./durable_streams.ts";
import type { Face } from "./face.ts";
import { httpFace } from "./http.ts";
import { tusFace } from "./tus.ts";
import { viewerFace } from "./viewer.ts";
import { webSocketFace } from "./websocket.ts";

export { viewerHome } from "./viewer.ts";

/** Protocols that a server can do without. */
export interface FaceOptions {
  /** Whether clients of tus are taken, at `/tus`; true by default. */
  tus?: boolean | undefined;
  /** Whether clients of Durable Streams are taken, at `/streams`; true by default. */
  durableStreams?: boolean | undefined;
}

/** Protocols that every listener of a server speaks. */
export class Faces {
  /** All of them. */
  readonly all: readonly Face[];
  readonly #streams: Streams;

  /**
   * @param options What the server does without.
   * @param resources All resources.
   */
  constructor({ tus = true, durableStreams = true }: FaceOptions, resources: Resources) {
    this.#streams = new Streams(resources);
    this.all = [
      ...[httpFace, webSocketFace, viewerFace],
      ...(tus ? [tusFace] : []),
      ...(durableStreams ? [durableStreamsFace(this.#streams)] : []),
    ];
  }

  /** Begins with what is done from time to time, when resources were recovered. */
  start(): void {
    this.#streams.start();
  }

  /** Ends what is done from time to time. */
  close(): void {
    this.#streams.close();
  }
}
