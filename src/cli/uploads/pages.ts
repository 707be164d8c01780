/**
 * The page where people watch what is uploaded.
 * @module
 */
import { getResource } from "../../client.ts";
import { parseReference } from "../../protocol.ts";
import type { Options } from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { visible } from "../output/output.ts";
import { notice } from "../output/stderr.ts";

/** The server may take so long to say where the page is. */
const ANSWER_MS = 2000;

/**
 * Asks the server for the page of an upload. A server that does not say is no reason to wait or to fail.
 * @param options Options of the command: server and token.
 * @param reference What was uploaded.
 * @param resumed What was typed as the upload to go on with, which may be at another server.
 * @returns The address; null where there is no page, or who may upload may not read.
 */
export async function pageOf(
  options: Options,
  reference: string,
  resumed?: string,
): Promise<string | null> {
  try {
    // The reference may name an address for others (serve --base-url); what the bytes go to is there for us.
    const asked = resumed === undefined ? parseReference(reference).id : reference;
    const credentials = await credentialsOf(options, resumed);
    const signal = AbortSignal.timeout(ANSWER_MS);
    const { view } = await getResource(asked, { ...credentials, signal });
    return view ?? null;
  } catch {
    return null;
  }
}

/**
 * The page of an upload context.
 * @param page The page of one of its resources.
 * @param contextId Id of the context.
 */
function contextPage(page: string, contextId: string): string {
  return page.replace(/\/[^/]+$/, `?context=${encodeURIComponent(contextId)}`);
}

/**
 * Tells a person where the upload of a push can be watched.
 * @param reference What was uploaded.
 * @param options Options of the command.
 */
export async function showPage(reference: string, options: Options): Promise<void> {
  const page = await pageOf(options, reference, options.text("resume"));
  if (page !== null) notice(`watch it at ${visible(page)}`);
}

/**
 * Tells a person where all uploads of a context can be watched.
 * @param reference One of them.
 * @param contextId Id of the context.
 * @param options Options of the command.
 */
export async function showContext(
  reference: string,
  contextId: string,
  options: Options,
): Promise<void> {
  const page = await pageOf(options, reference);
  if (page !== null) notice(`watch them at ${visible(contextPage(page, contextId))}`);
}
