/**
 * What is kept of a stream with its bytes: the annotation of its resource.
 * @module
 */
import type { ResourceView } from "../../resources.ts";

/** How far a producer is. */
export interface Producer {
  /** Its epoch. */
  epoch: number;
  /** The number of its last append. */
  seq: number;
  /** When it appended last, in ms since 1970. */
  atMs: number;
}

/** The append that closed a stream. */
export interface Closer {
  /** Id of the producer. */
  id: string;
  /** Its epoch. */
  epoch: number;
  /** The number of the append. */
  seq: number;
}

/** Where a fork came from. */
export interface Origin {
  /** Id of the resource of the source. */
  id: string;
  /** Position at which it was forked. */
  byteOffset: number;
  /** Bytes or messages behind that, as it was asked for; 0 for none. */
  subOffset: number;
}

/** What is kept of a stream. */
export interface StreamFacts {
  /** Its content type, as it was created with. */
  contentType: string;
  /** Time without a read or an append after which it is gone, in s. */
  ttlS?: number;
  /** When it was created or appended to last, in ms since 1970; only with a time to live. */
  appendedMs?: number;
  /** When it is gone, as it was created with. */
  expiresAt?: string;
  /** The last `Stream-Seq`. */
  seq?: string;
  /** Producers with their ids. */
  producers?: [string, Producer][];
  /** Its last append closes it: a process that ended in between may have left it open. */
  closing?: true;
  /** Append that closed it, if that was a producer's. */
  closer?: Closer;
  /** Where it was forked from. */
  origin?: Origin;
  /** The lives that it was forked from, and where their bytes end in it. */
  lives?: [life: string, end: number][];
  /** Ids of the resources that were forked from it. */
  forks?: string[];
  /** It is being created: its first bytes are not there yet. */
  creating?: true;
  /** It was deleted, and its path is taken until its forks are gone. */
  gone?: true;
}

/** What is kept of a resource that is a stream; null for one that some other way brought here. */
export function factsOf({ annotation, ownedBy }: ResourceView): StreamFacts | null {
  return ownedBy === "ANYBODY" ? parseFacts(annotation) : null;
}

/** Reads an annotation. */
export function parseFacts(annotation: string | undefined): StreamFacts {
  return JSON.parse(annotation!) as StreamFacts;
}

/** Writes an annotation. */
export function annotationOf(facts: StreamFacts): string {
  return JSON.stringify(facts);
}

/** The media type of a content type, without parameters. */
export function mediaTypeOf(contentType: string): string {
  return contentType.split(";")[0].trim().toLowerCase();
}

/** Whether the messages of a stream are JSON. */
export function isJson({ contentType }: Pick<StreamFacts, "contentType">): boolean {
  return mediaTypeOf(contentType) === "application/json";
}
