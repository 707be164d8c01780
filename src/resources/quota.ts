/**
 * Limits of what may be stored: by the policy of the server's owner, and how much in one resource.
 * @module
 */
import { LIMITS, type ResourceMetadata, StreamError, toStreamError } from "../protocol.ts";

/** Resource that a quota policy is asked about. */
export interface QuotaSubject {
  /** Id of the resource. */
  id: string;
  /** Metadata that the upload announced. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
}

/** Decides what may be stored; refuses by throwing, the error's message reaches the uploader. */
export interface QuotaPolicy {
  /** Asked before a resource is registered. */
  checkRegistration?(subject: QuotaSubject): void | Promise<void>;
  /** Asked before a resource grows to a size in bytes. */
  checkGrowth?(subject: QuotaSubject, size: number): void | Promise<void>;
}

/** Limits of one resource. */
export interface QuotaOptions {
  /** Decides what may be stored; everything may without one. */
  quota?: QuotaPolicy;
  /** Largest size of one resource in bytes; 1 TiB by default, which is also the most. */
  maxResourceBytes?: number;
}

/** Refuses what may not be stored. */
export class Quota {
  readonly #policy: QuotaPolicy | undefined;
  /** Largest size of one resource, in bytes. */
  readonly maxBytes: number;

  /** @param options Who decides. */
  constructor({ quota, maxResourceBytes = Infinity }: QuotaOptions) {
    this.#policy = quota;
    this.maxBytes = Math.min(maxResourceBytes, LIMITS.resourceBytes);
  }

  /**
   * Asks before a resource is registered.
   * @throws {StreamError} QUOTA_EXCEEDED, or the policy's own code.
   */
  async checkRegistration(subject: QuotaSubject): Promise<void> {
    await decided(() => this.#policy?.checkRegistration?.(subject));
  }

  /**
   * Asks before a resource grows to a size in bytes.
   * @throws {StreamError} QUOTA_EXCEEDED, or the policy's own code.
   */
  async checkGrowth(subject: QuotaSubject, size: number): Promise<void> {
    if (size > this.maxBytes) {
      throw new StreamError(
        "QUOTA_EXCEEDED",
        `a resource may hold ${this.maxBytes} bytes at most`,
      );
    }
    await decided(() => this.#policy?.checkGrowth?.(subject, size));
  }
}

/** Asks a policy, and takes what it throws for a refusal. */
async function decided(ask: () => void | Promise<void>): Promise<void> {
  try {
    await ask();
  } catch (error) {
    throw toStreamError(error, "QUOTA_EXCEEDED");
  }
}
