/**
 * All faces: the one place where the server knows them. A further protocol is one more.
 * @module
 */
import type { Face } from "./face.ts";
import { httpFace } from "./http.ts";
import { viewerFace } from "./viewer.ts";
import { webSocketFace } from "./websocket.ts";

export { viewerHome } from "./viewer.ts";

/** Protocols that every listener speaks. */
export const FACES: readonly Face[] = [httpFace, webSocketFace, viewerFace];
