/**
 * Resources as every face opens them for a request: of the life (PROTOCOL.md 1.4) that was looked at and granted.
 * @module
 */
import type { Context } from "hono";
import { checkLife } from "../protocol.ts";
import type { OpenResource, ResourceView } from "../resources.ts";
import { grantOf } from "./access.ts";
import type { FaceParts } from "./face.ts";

/**
 * Opens a resource, until it is released.
 * @param c The request.
 * @param parts What the server has for it.
 * @param id Its id, which may be another life's since the grant was checked.
 * @param view What was looked at before; asked for by default.
 * @throws {StreamError} NOT_FOUND, LIMIT_REACHED; DELETED for another life.
 */
export async function openFor(
  c: Context,
  { resources }: Pick<FaceParts, "resources">,
  id: string,
  view?: ResourceView,
): Promise<OpenResource> {
  const opened = await resources.open(id, view);
  try {
    const { status } = opened.resource;
    checkLife(status, grantOf(c)?.life);
    checkLife(status, view?.status.life);
  } catch (error) {
    await opened.release();
    throw error;
  }
  return opened;
}
