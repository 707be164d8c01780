/**
 * Statuses of a resource, and which of two is newer (PROTOCOL.md 1 and 4.1).
 * @module
 */
import { StreamError } from "./errors.ts";
import type { Outcome } from "./outcomes.ts";

/** State of a transfer (PROTOCOL.md 1). */
export type TransferStatus = "INITIATED" | "IN_PROGRESS" | "COMPLETED" | "FAILED";

/** All transfer statuses, in the order of a resource's life. */
export const TRANSFER_STATUSES: readonly TransferStatus[] = [
  "INITIATED",
  "IN_PROGRESS",
  "COMPLETED",
  "FAILED",
];

/**
 * Tells whether a transfer is over: nothing will be appended any more.
 *
 * @param status A transfer status.
 * @returns True for COMPLETED and FAILED.
 *
 * @example
 * ```ts
 * import { isFinal } from "@stream/live/protocol";
 *
 * console.log(isFinal("COMPLETED"), isFinal("IN_PROGRESS")); // true false
 * ```
 */
export function isFinal(status: TransferStatus): boolean {
  return status === "COMPLETED" || status === "FAILED";
}

/** Status that everybody is told at a checkpoint, in the shape that Step clients know (PROTOCOL.md 4.1). */
export interface StepStatus {
  /** State of the transfer. */
  transferStatus: TransferStatus;
  /** Bytes that can be read. */
  currentSize: number;
  /** Lines that can be read; null without line access. */
  numberOfLines: number | null;
}

/** A status as native peers receive it (PROTOCOL.md 4.1). */
export interface ResourceStatus extends StepStatus {
  /** Bytes that are on disk whatever happens to the server's machine. */
  durableSize: number;
  /** Ownership of the log; grows when another connection takes it over. */
  epoch: number;
  /** Number of this status within its epoch; a later status has a greater one. */
  sequence: number;
  /** Name of this life of the id, which no other has: an id may be used again after a deletion. */
  life: string;
  /** Why the transfer failed; null unless FAILED. */
  failure: string | null;
  /** How the producer ended; only of a COMPLETED transfer whose uploader told it. */
  outcome?: Outcome;
}

/** Number that tells which of two statuses is newer. */
export type StatusNumber = Pick<ResourceStatus, "epoch" | "sequence">;

/**
 * Tells whether a status is newer than another (PROTOCOL.md 1).
 *
 * @param status The status.
 * @param known The other one; null for none.
 * @returns True where nothing is known, too.
 *
 * @example
 * ```ts
 * import { isNewer } from "@stream/live/protocol";
 *
 * console.log(isNewer({ epoch: 2, sequence: 0 }, { epoch: 1, sequence: 9 })); // true
 * ```
 */
export function isNewer(status: StatusNumber, known: StatusNumber | null): boolean {
  return known === null || status.epoch > known.epoch ||
    status.epoch === known.epoch && status.sequence > known.sequence;
}

/**
 * Checks that bytes that were seen are of this life of a resource (PROTOCOL.md 1.4).
 *
 * @param status Its newest status; one of a Step server names no life.
 * @param seenLife The life in which they were seen; null or undefined where nobody knows.
 * @throws {StreamError} DELETED when it was deleted since, and its id used again.
 *
 * @example
 * ```ts
 * import { checkLife } from "@stream/live/protocol";
 *
 * checkLife({ life: "mif3k1xw" }, "mif3k1xw");
 * ```
 */
export function checkLife(
  { life }: Partial<Pick<ResourceStatus, "life">>,
  seenLife: string | null | undefined,
): void {
  if (!life || !seenLife || life === seenLife) return;
  throw new StreamError(
    "DELETED",
    "the resource was deleted, and its id belongs to another one now",
  );
}

/**
 * Checks where a follower wants to begin (PROTOCOL.md 4.4): a byte past the end is waited for while the transfer runs,
 * unless it was seen before: then it is lost.
 *
 * @param status The newest status of the resource.
 * @param from First byte that is wanted.
 * @param seenEpoch Epoch in which all bytes before `from` were seen; null if they were not.
 * @throws {StreamError} OFFSET_LOST for bytes that were seen and are gone; NOT_READY where a running transfer has fewer than
 * were seen in the same epoch, of which a server is behind; RANGE_NOT_AVAILABLE past the end of a finished resource.
 *
 * @example
 * ```ts
 * import { checkStart } from "@stream/live/protocol";
 *
 * const status = { transferStatus: "IN_PROGRESS", currentSize: 100, numberOfLines: null } as const;
 * checkStart(status, 200, null); // is waited for
 * ```
 */
export function checkStart(
  status: StepStatus & { epoch?: number },
  from: number,
  seenEpoch: number | null,
): void {
  const { currentSize, transferStatus, epoch = Infinity } = status;
  if (from <= currentSize) return;
  if (seenEpoch !== null) {
    if (epoch <= seenEpoch && !isFinal(transferStatus)) {
      throw new StreamError(
        "NOT_READY",
        `byte ${from} was seen in epoch ${seenEpoch}, of which this server knows ${currentSize} yet`,
      );
    }
    throw new StreamError(
      "OFFSET_LOST",
      `byte ${from} was seen in epoch ${seenEpoch}; the resource now has ${currentSize} bytes`,
    );
  }
  if (isFinal(transferStatus)) {
    throw new StreamError(
      "RANGE_NOT_AVAILABLE",
      `byte ${from} is past the end of a finished resource of ${currentSize} bytes`,
    );
  }
}
