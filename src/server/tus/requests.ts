/**
 * Requests of tus, as what uploads by HTTP can do already.
 * @module
 */
import type { Context } from "hono";
import { DIGESTS, ERRORS, StreamError, toStreamError } from "../../protocol.ts";
import type { CompletedUpload, ResourceView } from "../../resources.ts";
import type { HttpUpload, Intake } from "../../session.ts";
import { json } from "../answer/json.ts";
import { checkPlain, contentLength, contentOf, isOfType } from "../content.ts";
import type { FaceParts } from "../face.ts";
import * as uploading from "../uploading.ts";
import { requiresContext } from "../host.ts";
import {
  type Append,
  checkExtensions,
  checkVersion,
  type Creation,
  type Owner,
  TUS_PATH,
} from "./fields.ts";
import { metadataIn } from "./metadata.ts";

const CONTENT_TYPE = "application/offset+octet-stream";

/** `POST /tus`: a new upload, with or without its first bytes. */
export async function create(
  c: Context,
  parts: FaceParts,
  said: Creation & { context?: string },
): Promise<Response> {
  checkVersion(c, said);
  checkExtensions(said);
  const { length, deferred, context } = said;
  if ((length === undefined) !== (deferred === true)) {
    throw new StreamError("BAD_REQUEST", "one of Upload-Length and Upload-Defer-Length must be");
  }
  const { metadata, contextId } = metadataIn(said.metadata);
  if (context !== undefined && contextId !== null && context !== contextId) {
    throw new StreamError("BAD_REQUEST", "?context= and the context in Upload-Metadata differ");
  }
  const brings = isOfType(c, CONTENT_TYPE);
  if (brings) checkContent(c, 0, length ?? null);
  const { upload, secret } = await uploading.begin(c, parts, {
    metadata,
    contextId: context || contextId,
    requiresContext: requiresContext(parts, c.req.raw),
    makeContext: true,
    ownedBy: "SECRET",
    digests: DIGESTS,
    announced: { size: length ?? null, checksum: null },
    annotation: said.metadata,
  });
  const { id } = upload.appender.resource;
  c.header("location", `${parts.references.base(c)}${TUS_PATH}/${id}/${secret}`);
  return await uploading.own(c, upload, async (intake) => {
    if (brings) await upload.receive(intake, contentOf(c, parts));
    await completeIfWhole(upload);
    tellReferences(c, parts, id);
    tellState(c, parts, upload);
    return c.body(null, 201);
  });
}

/** `PATCH /tus/ID/SECRET`: the next bytes. */
export async function append(c: Context, parts: FaceParts, said: Append): Promise<Response> {
  checkVersion(c, said);
  checkExtensions(said);
  const { offset } = said;
  if (!isOfType(c, CONTENT_TYPE)) {
    throw new StreamError("WRONG_TYPE", `an append has Content-Type: ${CONTENT_TYPE}`);
  }
  if (offset === undefined) {
    throw new StreamError("BAD_REQUEST", "an append has Upload-Offset: BYTES");
  }
  const upload = await find(c, parts, said);
  tellReferences(c, parts, said.id);
  if ("completed" in upload) return appendToCompleted(c, upload, offset);
  return await uploading.own(c, upload, async (intake) => {
    const { appender } = upload;
    await settle(upload, intake);
    // Told with a conflict, too: some clients go on from there.
    c.header("upload-offset", String(appender.received));
    checkOffset(offset, appender.received);
    const size = sizeAfter(said, upload);
    checkContent(c, offset, size);
    await appender.keepAnnounced({ ...appender.announced, size });
    await upload.receive(intake, contentOf(c, parts));
    await completeIfWhole(upload);
    tellState(c, parts, upload);
    return c.body(null, 204);
  });
}

/**
 * `HEAD` and `GET /tus/ID/SECRET`: how much arrived; a request that still goes on is ended.
 * @throws {StreamError} LOCKED to `HEAD` for what will pass: after any other error tus-js-client begins anew.
 */
export async function tellOffset(c: Context, parts: FaceParts, said: Owner): Promise<Response> {
  try {
    return await tellOffsetNow(c, parts, said);
  } catch (thrown) {
    const { code, message } = toStreamError(thrown);
    // Whoever was faster may be done the next time.
    const mayPass = ERRORS[code].http === 503 || ERRORS[code].http === 409;
    if (c.req.method !== "HEAD" || !mayPass) throw thrown;
    throw new StreamError("LOCKED", message, { cause: thrown });
  }
}

async function tellOffsetNow(c: Context, parts: FaceParts, said: Owner): Promise<Response> {
  const { resources, references } = parts;
  const isHead = c.req.method === "HEAD";
  // A browser that is given the address speaks no version.
  if (isHead) checkVersion(c, said);
  const view = await resources.get(said.id);
  const upload = await find(c, parts, said);
  const answer = async () =>
    isHead
      ? c.body(null)
      : json(c, references.info(await resources.get(said.id), references.base(c)));
  c.header("cache-control", "no-store");
  tellReferences(c, parts, said.id);
  if ("completed" in upload) {
    tellOfHead(c, view, upload.completed.size);
    c.header("upload-offset", String(upload.completed.size));
    return await answer();
  }
  return await uploading.own(c, upload, async (intake) => {
    await settle(upload, intake);
    tellOfHead(c, view, upload.appender.announced.size);
    tellState(c, parts, upload);
    return await answer();
  });
}

/** `DELETE /tus/ID/SECRET`: gives it up; what arrived stays, as others may have read it. */
export async function terminate(c: Context, parts: FaceParts, said: Owner): Promise<Response> {
  checkVersion(c, said);
  const upload = await find(c, parts, said);
  if ("completed" in upload) {
    throw new StreamError("BAD_REQUEST", `upload ${said.id} is completed: delete the resource`);
  }
  return await uploading.own(c, upload, async () => {
    await upload.appender.giveUp(new StreamError("ABORTED", "its owner gave the upload up"));
    return c.body(null, 204);
  });
}

/** An upload that is FAILED goes on no more, which tus calls gone. */
async function find(
  c: Context,
  parts: FaceParts,
  owner: Owner,
): Promise<HttpUpload | CompletedUpload> {
  try {
    return await uploading.find(c, parts, owner);
  } catch (error) {
    if (!(error instanceof StreamError) || error.code !== "WRONG_STATE") throw error;
    throw new StreamError("GONE", error.message);
  }
}

/** Bytes of an earlier request may not be written yet. */
function settle(upload: HttpUpload, intake: Intake): Promise<void> {
  return upload.receive(intake, { body: null, byteCount: null });
}

/** Whoever lost the answer to the last append sends nothing more, or the same again. */
function appendToCompleted(c: Context, { completed }: CompletedUpload, offset: number): Response {
  checkOffset(offset, completed.size);
  checkContent(c, offset, completed.size);
  // How much that is, is not waited for: nothing of it would be kept.
  if (c.req.header("transfer-encoding") !== undefined) {
    throw new StreamError("MESSAGE_TOO_LARGE", "the upload is completed: it takes no more content");
  }
  c.header("upload-offset", String(completed.size));
  return c.body(null, 204);
}

/** @throws {StreamError} CONFLICT. */
function checkOffset(offset: number, received: number): void {
  if (offset === received) return;
  throw new StreamError("CONFLICT", `the upload has ${received} bytes, the append is at ${offset}`);
}

/** @throws {StreamError} BAD_REQUEST for content that is coded, MESSAGE_TOO_LARGE for more than was announced. */
function checkContent(c: Context, offset: number, size: number | null): void {
  checkPlain(c);
  const end = offset + (contentLength(c) ?? 0);
  if (size === null || end <= size) return;
  throw new StreamError(
    "MESSAGE_TOO_LARGE",
    `Upload-Length is ${size}, the content ends at ${end}`,
  );
}

/**
 * The size of the whole as it is known from now on.
 * @throws {StreamError} BAD_REQUEST when announcements do not agree.
 */
function sizeAfter({ length }: Append, { appender }: HttpUpload): number | null {
  const known = appender.announced.size;
  if (length === undefined) return known;
  if (known === null ? length >= appender.received : length === known) return length;
  throw new StreamError(
    "BAD_REQUEST",
    known === null
      ? `Upload-Length is ${length}, ${appender.received} bytes arrived`
      : `Upload-Length is ${length}, it was ${known} before`,
  );
}

/** The end of an upload is where its length says. */
async function completeIfWhole(upload: HttpUpload): Promise<void> {
  const { received, announced } = upload.appender;
  if (received === announced.size) await upload.complete();
}

/** Tells how far an upload is, and until when it goes on. */
function tellState(c: Context, { resources }: FaceParts, { appender }: HttpUpload): void {
  c.header("upload-offset", String(appender.received));
  const expiresAtMs = Date.now() + resources.resumeWindowMs;
  if (appender.isOver || !Number.isFinite(new Date(expiresAtMs).getTime())) return;
  c.header("upload-expires", new Date(expiresAtMs).toUTCString());
}

function tellOfHead(c: Context, { annotation }: ResourceView, size: number | null): void {
  if (size === null) c.header("upload-defer-length", "1");
  else c.header("upload-length", String(size));
  if (annotation) c.header("upload-metadata", annotation);
}

/** Tells where others follow it. */
function tellReferences(c: Context, { references }: FaceParts, id: string): void {
  const base = references.base(c);
  c.header("stream-reference", references.reference(id, base));
  const view = references.view(id, base);
  if (view !== null) c.header("stream-view", view);
}
