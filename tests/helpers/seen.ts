/** What a server of programs has, seen from the process of the tests: a start of a program less for each look. */
import {
  getResource,
  listResources,
  open,
  push,
  type PushOptions,
  type ResourceInfo,
} from "../../mod.ts";
import { utf8 } from "./bytes.ts";
import type { Workspace } from "./cli.ts";

/** What is known of a resource. */
export function known({ server }: Workspace, reference: string): Promise<ResourceInfo> {
  return getResource(reference, { server });
}

/** All resources, or those of a context; the newest first. */
export function listed({ server }: Workspace, contextId?: string): Promise<ResourceInfo[]> {
  return Array.fromAsync(listResources(server, { contextId }));
}

/** A text to its end, however that comes, or only so many bytes as soon as they are there. */
export async function content(
  { server }: Workspace,
  reference: string,
  to?: number,
): Promise<string> {
  const download = await open(reference, { server });
  try {
    return await new Response(download.read({ to })).text();
  } finally {
    await download.close();
  }
}

/** Puts a text there; returns its reference. */
export async function uploaded(
  { server }: Workspace,
  text: string | Uint8Array,
  { name = "a.log", ...options }: PushOptions & { name?: string } = {},
): Promise<string> {
  const metadata = { filename: name, mimeType: "text/plain", supportsLineAccess: true };
  const upload = await push(server, metadata, options);
  const writer = upload.writable.getWriter();
  await writer.write(typeof text === "string" ? utf8(text) : text);
  await writer.close();
  await upload.done;
  return upload.reference;
}
