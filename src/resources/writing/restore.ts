/**
 * Brings the digest of a log up to date after a restart.
 * @module
 */
import type { ResourceRecord } from "../../catalog.ts";
import { createDigest, type RunningDigest } from "../../digest.ts";
import type { Storage } from "../../storage.ts";

/** Step of a read that brings a digest up to date. */
const DIGEST_READ_BYTES = 1024 * 1024;

/** The digest of what a log holds, from its last saved state. */
export async function restoreDigest(
  storage: Storage,
  record: ResourceRecord,
): Promise<RunningDigest> {
  const reader = await storage.openReader(record.id);
  try {
    const saved = record.digestState;
    const isUsable = saved !== null && saved.byteOffset <= record.size;
    const digest = await createDigest(
      saved?.algorithm ?? "md5",
      isUsable ? saved.state : undefined,
    );
    for (let at = isUsable ? saved.byteOffset : 0; at < record.size;) {
      const bytes = await reader.read(at, Math.min(DIGEST_READ_BYTES, record.size - at));
      digest.update(bytes);
      at += bytes.length;
    }
    return digest;
  } finally {
    await reader.close();
  }
}
