/**
 * Limits of what may be stored: by the policy of the server's owner, and how much in one resource.
 * @module
 */
import type { ContextAttributes } from "../catalog.ts";
import { LIMITS, type ResourceMetadata, StreamError, toStreamError } from "../protocol.ts";
import type { Contexts } from "./contexts.ts";

/** Resource that may be refused. */
export interface QuotaResource {
  /** Id of the resource. */
  id: string;
  /** Metadata that the upload announced. */
  metadata: ResourceMetadata;
  /** Upload context; null without one. */
  contextId: string | null;
}

/** Resource that a quota policy is asked about. */
export interface QuotaSubject extends QuotaResource {
  /** Attributes of the upload context; none without one. */
  attributes: ContextAttributes;
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
  quota?: QuotaPolicy | undefined;
  /** Largest size of one resource in bytes; 1 TiB by default, which is also the most. */
  maxResourceBytes?: number | undefined;
}

/** Refuses what may not be stored. */
export class Quota {
  readonly #policy: QuotaPolicy | undefined;
  readonly #contexts: Contexts;
  /** Largest size of one resource, in bytes. */
  readonly maxBytes: number;

  /**
   * @param options Policy and limit.
   * @param contexts Know the attributes.
   */
  constructor({ quota, maxResourceBytes = Infinity }: QuotaOptions, contexts: Contexts) {
    this.#policy = quota;
    this.#contexts = contexts;
    this.maxBytes = Math.min(maxResourceBytes, LIMITS.resourceBytes);
  }

  /**
   * Asks before a resource is registered.
   * @throws {StreamError} QUOTA_EXCEEDED, or the policy's own code.
   */
  async checkRegistration(resource: QuotaResource): Promise<void> {
    await this.#ask((policy, subject) => policy.checkRegistration?.(subject), resource);
  }

  /**
   * Asks before a resource grows to a size in bytes.
   * @throws {StreamError} QUOTA_EXCEEDED, or the policy's own code.
   */
  async checkGrowth(resource: QuotaResource, size: number): Promise<void> {
    if (size > this.maxBytes) {
      throw new StreamError(
        "QUOTA_EXCEEDED",
        `a resource may hold ${this.maxBytes} bytes at most`,
      );
    }
    await this.#ask((policy, subject) => policy.checkGrowth?.(subject, size), resource);
  }

  /** Asks the policy, and takes what it throws for a refusal. */
  async #ask(
    question: (policy: QuotaPolicy, subject: QuotaSubject) => void | Promise<void>,
    resource: QuotaResource,
  ): Promise<void> {
    const policy = this.#policy;
    if (policy === undefined) return;
    const attributes = await this.#contexts.attributes(resource.contextId);
    try {
      await question(policy, { ...resource, attributes });
    } catch (error) {
      throw toStreamError(error, "QUOTA_EXCEEDED");
    }
  }
}
