/**
 * The upload of output that others see at the same time: of a command, or of a pipe.
 * @module
 */
import { push, type PushOptions } from "../../client.ts";
import { RETRY_FOR_MS } from "../../client/connection/retry.ts";
import type { ResourceMetadata } from "../../protocol.ts";
import { merge } from "../../source/merge.ts";
import { spool } from "../../source/spool.ts";
import type { Tee } from "../../source/tee.ts";
import { BackgroundUpload, BEGIN_MS, FINISH_MS } from "./background_upload.ts";
import type { Options } from "../command.ts";
import type { credentialsOf } from "../credentials.ts";
import { connectStep, transportOf } from "../transport.ts";

/** Most bytes that are kept while they cannot be sent. */
export const SPOOL_BYTES = 256_000_000;

/** Lines that follow one another are sent together so often: what a line costs here, the build does without. */
const GATHER_MS = 25;

/** What is uploaded, and how. */
export interface OutputUpload {
  /** The output; of several what comes first is sent first. */
  tees: readonly Tee[];
  /** What the upload announces. */
  metadata: ResourceMetadata;
  /** Id, context and outcome. */
  push: Pick<PushOptions, "id" | "contextId" | "outcome">;
  /** Server and token; what is wrong with them fails the upload, not who prints. */
  credentials: ReturnType<typeof credentialsOf>;
  /** Whether the upload is given up rather than hold the producer. */
  bestEffort: boolean;
  /** Tells where it can be followed. */
  begun(reference: string): void;
  /** Tells a person how things go. */
  say(text: string): void;
  /** Tells a person what failed, also one who wants to hear nothing else. */
  complain(text: string): void;
}

/**
 * Begins an upload in the background.
 * @param options Options of the command: transport, retries, limit of the spool.
 * @param output What is uploaded, and how.
 */
export function uploadOutput(options: Options, output: OutputUpload): BackgroundUpload {
  const { tees, metadata, credentials, bestEffort, begun, say, complain } = output;
  const { filename } = metadata;
  let isAway = false;
  let endMs = BEGIN_MS;
  const limitBytes = options.number("spool-limit") ?? SPOOL_BYTES;
  const upload = new BackgroundUpload({
    filename,
    bytes: spool(merge(tees.map(({ stream }) => stream)), limitBytes, {
      warn: say,
      gatherMs: GATHER_MS,
    }),
    begin: async (signal) => {
      const { server, token } = await credentials;
      return await push(server, metadata, {
        ...output.push,
        token,
        signal,
        // A server that is not there yet costs nothing as long as nobody waits for it.
        retryForMs: options.number("retry-for") ?? (bestEffort ? RETRY_FOR_MS : undefined),
        onRetry: ({ message }) => {
          const atMost = bestEffort ? `, at most ${endMs / 1000} s beyond its end` : "";
          if (!isAway) say(`${message}; ${filename} is kept until it can be sent${atMost}`);
          isAway = true;
        },
        onReconnect: () => {
          say("connected again");
          isAway = false;
        },
        stepTransport: connectStep,
        ...transportOf(options),
      });
    },
    begun: ({ reference }) => {
      isAway = false;
      endMs = FINISH_MS;
      begun(reference);
    },
    isAway: () => isAway,
    heldMs: () => Math.max(...tees.map(({ heldMs }) => heldMs)),
    bestEffort,
  });
  upload.over.then((failure) => {
    if (failure !== null && bestEffort) {
      complain(`${filename} is not uploaded as a whole: ${failure.message}`);
    }
  });
  return upload;
}
