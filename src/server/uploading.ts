/**
 * Uploads by HTTP as every face begins, finds and owns them: within the share of a client, and while it is granted.
 * @module
 */
import type { Context } from "hono";
import {
  AlreadyBegun,
  type CompletedUpload,
  type OwnedUpload,
  type Registration,
} from "../resources.ts";
import type { HttpUpload, Intake } from "../session.ts";
import { grantOf, whileGranted } from "./access.ts";
import { checkUpload } from "./access/reach.ts";
import type { FaceParts } from "./face.ts";
import { clientsOf } from "./access/clients.ts";

/** An upload that was registered, and what its requests go on with. */
export interface BegunUpload {
  /** The upload. */
  upload: HttpUpload;
  /** What proves that it is the uploader's; null where it cannot be resumed. */
  secret: string | null;
}

/**
 * Registers an upload, or goes on with it where its uploader chose the secret and did not hear that it was registered.
 * @param c The request.
 * @param parts What the server has for it.
 * @param registration What is registered.
 * @throws {StreamError} LIMIT_REACHED where the client has its share; what registering throws.
 */
export async function begin(
  c: Context,
  parts: FaceParts,
  registration: Registration,
): Promise<BegunUpload> {
  const clients = clientsOf(c, parts.references);
  const givePlaceBack = parts.uploadShares.take(clients);
  let owned: OwnedUpload;
  try {
    owned = await parts.resources.register(registration);
  } catch (error) {
    givePlaceBack();
    if (error instanceof AlreadyBegun) return await goOn(c, parts, error, registration.secret!);
    throw error;
  }
  return { upload: parts.httpUploads.add(owned, givePlaceBack, clients), secret: owned.secret };
}

/** The upload that a creation began whose answer was lost. */
async function goOn(
  c: Context,
  parts: FaceParts,
  begun: AlreadyBegun,
  secret: string,
): Promise<BegunUpload> {
  await checkUpload(grantOf(c), begun.id, parts.resources);
  const upload = await find(c, parts, { id: begun.id, secret });
  if ("completed" in upload) throw begun;
  return { upload, secret };
}

/**
 * The upload of an address that a client was given.
 * @throws {StreamError} NOT_FOUND, NOT_OWNER; WRONG_STATE when it is FAILED; LIMIT_REACHED, STORAGE_FAILED.
 */
export function find(
  c: Context,
  parts: FaceParts,
  { id, secret }: { id: string; secret: string },
): Promise<HttpUpload | CompletedUpload> {
  const clients = clientsOf(c, parts.references);
  return parts.httpUploads.find(id, secret, () => parts.uploadShares.take(clients), clients);
}

/** Owns an upload until the end of a request, or of what it was granted. */
export function own<T>(
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
