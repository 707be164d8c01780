/** What client processes can be asked to do; `worker.ts` does it. */
import type { Form } from "../helpers/content.ts";
import type { Client } from "./connections.ts";

/** Uploads at full speed. */
export interface UploadJob {
  do: "upload";
  client: Client;
  server: string;
  form: Form;
  blocks: number;
}

/** Reads at full speed, live where the upload still runs. */
export interface FollowJob {
  do: "follow";
  client: Client;
  reference: string;
  /** Byte after the last; the end of the resource by default. */
  to?: number;
}

/** Uploads bursts at a steady pace, to one or many resources. */
export interface PaceJob {
  do: "pace";
  client: Client;
  server: string;
  uploads: number;
  burstBytes: number;
  intervalMs: number;
  bursts: number;
  /** Bytes of one more burst, after which nothing follows for so long. */
  trailing?: { burstBytes: number; silenceMs: number };
}

/** Follows what is uploaded at a steady pace; every resource has the same bursts. */
export interface WatchJob {
  do: "watch";
  client: Client;
  references: string[];
  /** Followers of each. */
  followers: number;
  burstBytes: number;
  bursts: number;
  trailingBytes?: number;
  /** A follower that is not through so long after the beginning is cut off. */
  limitMs: number;
}

export type RandomAccess = "chunk" | "follow" | "http" | "lines";

/** Reads here and there, one request after the other on each connection. */
export interface RandomJob {
  do: "random";
  reference: string;
  access: RandomAccess;
  connections: number;
  forMs: number;
  bytes: number;
  lines: number;
}

export type Job = UploadJob | FollowJob | PaceJob | WatchJob | RandomJob;

/** When something was done, by the clock that processes share, in ms. */
export interface Times {
  startedAtMs: number;
  endedAtMs: number;
}

/** What each job says when it is ready to begin, and when it is done. */
export interface Answers {
  upload: { ready: { references: string[] }; result: Times };
  follow: { ready: null; result: Times & { bytes: number } };
  pace: { ready: { references: string[] }; result: { writtenAtMs: number[][] } };
  watch: { ready: null; result: { arrivedAtMs: number[][] } };
  random: { ready: null; result: { latenciesMs: number[]; bytes: number } };
}

/** What every result comes with. */
export interface Effort {
  /** CPU time of the client from the begin of the work to its end. */
  cpuSeconds: number;
}

/** A job that waits for the word. */
export interface Prepared<Name extends Job["do"]> {
  ready: Answers[Name]["ready"];
  go(): Promise<Answers[Name]["result"]>;
}
