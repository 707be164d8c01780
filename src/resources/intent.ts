/**
 * Appends that count whole or not at all, as records tell of them before they are made.
 * @module
 */
import type { ResourceRecord } from "../catalog.ts";

/**
 * The annotation of a resource: an append that was intended counts once the log has all of its bytes.
 * @param record Its record.
 * @param size Bytes of its log.
 */
export function annotationAt(
  { annotation, intent }: ResourceRecord,
  size: number,
): string | undefined {
  const counts = intent && size >= intent.byteOffset + intent.byteCount;
  return counts ? intent.annotation : annotation;
}
