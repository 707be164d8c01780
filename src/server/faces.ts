/**
 * All faces: the one place where the server knows them. A further protocol is one more.
 * @module
 */
import { durableStreamsFace } from "./durable_streams.ts";
import type { Face } from "./face.ts";
import { httpFace } from "./http.ts";
import { tusFace } from "./tus.ts";
import { viewerFace } from "./viewer.ts";
import { webSocketFace } from "./websocket.ts";

export { viewerHome } from "./viewer.ts";

/** Protocols that a server can do without. */
export interface FaceOptions {
  /** Whether clients of tus are taken, at `/tus`; true by default. */
  tus?: boolean;
  /** Whether clients of Durable Streams are taken, at `/streams`; true by default. */
  durableStreams?: boolean;
}

/**
 * Protocols that every listener of a server speaks.
 * @param options What it does without.
 */
export function facesOf(
  { tus = true, durableStreams = true }: FaceOptions = {},
): readonly Face[] {
  return [
    ...[httpFace, webSocketFace, viewerFace],
    ...(tus ? [tusFace] : []),
    ...(durableStreams ? [durableStreamsFace] : []),
  ];
}
