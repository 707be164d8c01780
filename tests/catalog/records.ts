/** Records for tests of catalogs. */
import type { ResourceRecord } from "../../src/catalog.ts";

/** A record as it is registered, but for what is given. */
export function record(given: Partial<ResourceRecord> = {}): ResourceRecord {
  return {
    id: crypto.randomUUID(),
    metadata: { filename: "a.log", mimeType: "text/plain", supportsLineAccess: true },
    contextId: null,
    createdAtMs: 1_700_000_000_000,
    transferStatus: "INITIATED",
    size: 0,
    durableSize: 0,
    lines: 0,
    epoch: 1,
    sequence: 0,
    failure: null,
    digest: null,
    digestState: null,
    secretHash: null,
    ownedBy: "CONNECTION",
    announced: { size: null, checksum: null },
    owner: null,
    updatedAtMs: 1_700_000_000_000,
    revision: 0,
    ...given,
  };
}
