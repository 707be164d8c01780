/**
 * Ownership of an upload by a request, for as long as its grant lasts.
 * @module
 */
import type { Context } from "hono";
import type { HttpUpload, Intake } from "../../session.ts";
import { whileGranted } from "../access.ts";

/** Owns an upload until the end of a request, or of what it was granted. */
export function ownWhileGranted<T>(
  c: Context,
  upload: HttpUpload,
  step: (intake: Intake) => Promise<T>,
): Promise<T> {
  return upload.own(async (intake) => {
    const stopWaiting = whileGranted(c, (reason) => intake.stop(reason));
    try {
      return await step(intake);
    } finally {
      stopWaiting();
    }
  });
}
