/**
 * Fields of answers that tell of a stream.
 * @module
 */
import type { Context } from "hono";
import type { FaceParts } from "../face.ts";
import { offsetOf } from "./offsets.ts";
import type { Produced } from "./producers.ts";

/** Tells where a stream ends, or where the next read begins. */
export function tellOffset(c: Context, life: string, byteOffset: number): void {
  c.header("stream-next-offset", offsetOf(life, byteOffset));
}

/** Tells that nothing comes any more. */
export function tellClosed(c: Context): void {
  c.header("stream-closed", "true");
}

/** Tells a producer how far it is. */
export function tellProducer(c: Context, { epoch }: Produced, seq: number): void {
  c.header("producer-epoch", String(epoch));
  c.header("producer-seq", String(seq));
}

/** Tells where others follow it. */
export function tellReferences(c: Context, { references }: FaceParts, id: string): void {
  const base = references.base(c);
  c.header("stream-reference", references.reference(id, base));
  const view = references.view(id, base);
  if (view !== null) c.header("stream-view", view);
}
