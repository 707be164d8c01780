/**
 * Statuses in answers by HTTP.
 * @module
 */
import { decodeMessage, type MessageOf, type ResourceStatus } from "../../protocol.ts";
import { noServer } from "./http.ts";

/**
 * The status that JSON shows, checked like the message of a WebSocket.
 * @param json A ResourceStatus, or what holds one among others.
 * @throws {StreamError} UNREACHABLE when it holds none.
 */
export function statusIn(json: string): ResourceStatus {
  try {
    const message = decodeMessage(`{"@":"StatusChanged","resourceStatus":${json}}`);
    const shown = (message as MessageOf<"StatusChanged">).resourceStatus as ResourceStatus;
    const { transferStatus, currentSize, numberOfLines, durableSize, epoch, sequence } = shown;
    const { life, failure, outcome } = shown;
    return {
      transferStatus,
      currentSize,
      numberOfLines,
      durableSize,
      epoch,
      sequence,
      life,
      failure,
      ...outcome === undefined ? {} : { outcome },
    };
  } catch (error) {
    throw noServer(error);
  }
}
