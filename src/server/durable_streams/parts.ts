/**
 * Parts that requests for streams work with.
 * @module
 */
import type { FaceParts } from "../face.ts";
import type { Streams } from "./streams.ts";

/** Parts of a server, and its streams. */
export interface StreamParts extends FaceParts {
  /** All streams. */
  streams: Streams;
}
