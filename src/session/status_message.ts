/**
 * What sessions tell of a new status.
 * @module
 */
import { encodeMessage, type ResourceStatus, type StepStatus } from "../protocol.ts";

/** A status is encoded once for all who are told, on native connections and on others. */
const encodedForNative = new WeakMap<ResourceStatus, string>();
const encodedForStep = new WeakMap<ResourceStatus, string>();

/**
 * The text of a StatusChanged.
 * @param status The status.
 * @param native Whether a native connection is told; others know three of its properties.
 */
export function statusMessage(status: ResourceStatus, native: boolean): string {
  const known = native ? encodedForNative : encodedForStep;
  const text = known.get(status) ?? encode(status, native);
  known.set(status, text);
  return text;
}

function encode(status: ResourceStatus, native: boolean): string {
  const { transferStatus, currentSize, numberOfLines } = status;
  const stepStatus: StepStatus = { transferStatus, currentSize, numberOfLines };
  return encodeMessage({ "@": "StatusChanged", resourceStatus: native ? status : stepStatus });
}
