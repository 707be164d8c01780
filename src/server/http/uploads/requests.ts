/**
 * Requests of uploads: created, appended to, asked for their offset, given up.
 * @module
 */
import { createHash } from "node:crypto";
import type { Context } from "hono";
import {
  checkSecret,
  type Digest,
  DIGESTS,
  INTEROP_VERSION,
  isFinal,
  StreamError,
  toStreamError,
  UPLOADS_PATH,
} from "../../../protocol.ts";
import type { Content, HttpUpload, Intake } from "../../../session.ts";
import { type Inform, informerOf } from "../../answer/interim.ts";
import { json } from "../../answer/json.ts";
import { checkPlain, contentLength, contentOf, isOfType } from "../../content.ts";
import { problem } from "../../answer/problem.ts";
import type { FaceParts } from "../../face.ts";
import { begin, find, own } from "../../uploading.ts";
import { requiresContext } from "../../host.ts";
import {
  alreadyCompleted,
  inconsistentLength,
  limits,
  mismatchingOffset,
  represent,
  uploadState,
} from "./answers.ts";
import {
  announcedSize,
  type Append,
  type Creation,
  named,
  type Owner,
  PARTIAL_UPLOAD,
} from "./fields.ts";

/** `PUT /resources/NAME`: an upload, whole or as its first part. */
export async function create(
  c: Context,
  parts: FaceParts,
  said: Creation,
  segment: string | undefined,
): Promise<Response> {
  const { resources } = parts;
  const { id, metadata } = named(c, said, segment);
  checkPlain(c);
  const { complete: isComplete, contentDigest } = said;
  const isWhole = isComplete !== false;
  const digest = said.reprDigest ??
    (isWhole && said.digest === undefined ? contentDigest : undefined);
  const checksum = agreedDigest(digest?.value, said.digest);
  checkRepeatable(c, id, said);
  const content = contentOf(c, parts);
  const size = announcedSize(c, said.length, 0, isWhole);
  if (isComplete !== undefined) c.header("upload-limit", limits(parts));
  if (size === "INCONSISTENT") return inconsistentLength(c);
  const inform = informerFor(c, parts, said);
  const { upload, secret } = await begin(c, parts, {
    id,
    secret: said.secret,
    metadata,
    contextId: said.context || null,
    requiresContext: requiresContext(parts, c.req.raw),
    makeContext: true,
    ownedBy: isWhole && inform === null ? "CONNECTION" : "SECRET",
    digests: digest === undefined ? said.digests ?? DIGESTS : [digest.algorithm],
    announced: { size, checksum },
  });
  const { appender } = upload;
  const base = parts.references.base(c);
  const location = `${base}${UPLOADS_PATH}/${appender.resource.id}/${secret}`;
  c.header("stream-digest-algorithm", appender.digestAlgorithm);
  inform?.(104, {
    "upload-draft-interop-version": String(INTEROP_VERSION),
    "upload-limit": limits(parts),
    location,
  });
  return await own(c, upload, async (intake) => {
    await receive(upload, intake, content, digest === contentDigest ? undefined : contentDigest);
    if (isWhole) return await complete(c, parts, upload, said, 201);
    c.header("location", location);
    uploadState(c, appender.received, false);
    const record = await resources.get(appender.resource.id);
    return json(c, parts.references.info(record, base), 201);
  });
}

/** A creation whose secret was chosen can be repeated: nothing that it brought could be taken twice. */
function checkRepeatable(c: Context, id: string | undefined, { secret, complete }: Creation): void {
  if (secret === undefined) return;
  checkSecret(secret, id);
  if (complete === false && contentLength(c) === 0) return;
  throw new StreamError(
    "BAD_REQUEST",
    "Stream-Secret goes with Upload-Complete: ?0 and no content",
  );
}

/** Means to tell where an upload goes on if this request breaks off: for clients of this draft that send content. */
function informerFor(
  c: Context,
  parts: FaceParts,
  { interop, complete }: Creation,
): Inform | null {
  if (interop !== INTEROP_VERSION || complete === undefined || contentLength(c) === 0) return null;
  return informerOf(c, parts);
}

/** `PATCH /uploads/ID/SECRET`: the next part. */
export async function append(
  c: Context,
  parts: FaceParts,
  said: Owner & Append,
): Promise<Response> {
  const { offset, complete: isLast, contentDigest } = said;
  if (!isOfType(c, PARTIAL_UPLOAD) || offset === undefined || isLast === undefined) {
    throw new StreamError(
      "BAD_REQUEST",
      `an append has Content-Type: ${PARTIAL_UPLOAD}, Upload-Offset: BYTES and Upload-Complete: ?0 or ?1`,
    );
  }
  checkPlain(c);
  const content = contentOf(c, parts);
  const upload = await find(c, parts, said);
  if ("completed" in upload) return alreadyCompleted(c, upload, offset);
  return await own(c, upload, async (intake) => {
    const { appender } = upload;
    // Bytes of an earlier request may not be written yet.
    await upload.receive(intake, { body: null, byteCount: null });
    if (offset !== appender.received) return mismatchingOffset(c, appender.received, offset, false);
    const checksum = checksumFor(said, upload);
    const size = announcedSize(c, said.length, offset, isLast);
    const known = appender.announced.size;
    if (size === "INCONSISTENT" || size !== null && (size < offset || size !== (known ?? size))) {
      return inconsistentLength(c);
    }
    const announced = { size: size ?? known, checksum };
    // With the last part it is held at once.
    if (isLast) appender.announced = announced;
    else await appender.keepAnnounced(announced);
    await receive(upload, intake, content, contentDigest);
    if (isLast) return await complete(c, parts, upload, said, 200);
    uploadState(c, appender.received, false);
    // An owner that sends many parts wants to know how the resource stands, and may not be allowed to ask elsewhere.
    return said.representation ? await represent(c, parts, said) : c.body(null, 204);
  });
}

/** `HEAD` and `GET /uploads/ID/SECRET`: how much there is; a request that still goes on is ended. */
export async function tellOffset(c: Context, parts: FaceParts, owner: Owner): Promise<Response> {
  const answer = () => c.req.method === "HEAD" ? c.body(null, 204) : represent(c, parts, owner);
  const upload = await find(c, parts, owner);
  c.header("cache-control", "no-store");
  c.header("upload-limit", limits(parts));
  if ("completed" in upload) {
    const { size } = upload.completed;
    c.header("upload-length", String(size));
    c.header("location", parts.references.url(owner.id, parts.references.base(c)));
    uploadState(c, size, true);
    return await answer();
  }
  return await own(c, upload, async (intake) => {
    await upload.receive(intake, { body: null, byteCount: null });
    const { received, announced, digestAlgorithm } = upload.appender;
    if (announced.size !== null) c.header("upload-length", String(announced.size));
    c.header("stream-digest-algorithm", digestAlgorithm);
    uploadState(c, received, false);
    return await answer();
  });
}

/** `DELETE /uploads/ID/SECRET?reason=`: gives it up; what arrived stays. */
export async function cancel(
  c: Context,
  parts: FaceParts,
  { reason = "its owner gave the upload up", ...owner }: Owner & { reason?: string },
): Promise<Response> {
  const upload = await find(c, parts, owner);
  if ("completed" in upload) {
    throw new StreamError("WRONG_STATE", `upload ${owner.id} is completed: delete the resource`);
  }
  return await own(c, upload, async () => {
    await upload.appender.giveUp(new StreamError("ABORTED", reason));
    return c.body(null, 204);
  });
}

/** Takes the content in and holds it against its digest. */
async function receive(
  upload: HttpUpload,
  intake: Intake,
  content: Content,
  expected: Digest | undefined,
): Promise<void> {
  if (expected === undefined) return await upload.receive(intake, content);
  const hash = createHash(expected.algorithm);
  await upload.receive(intake, { ...content, seen: (bytes) => void hash.update(bytes) });
  const value = hash.digest("hex");
  if (value === expected.value) return;
  // The bytes can be read already: they cannot be taken back, only be disowned with all others.
  const error = new StreamError(
    "CHECKSUM_MISMATCH",
    `Content-Digest says ${expected.algorithm} ${expected.value}, what arrived has ${value}`,
  );
  await upload.appender.fail(error);
  throw error;
}

/** Completes an upload and shows what became of it. */
async function complete(
  c: Context,
  { resources, references }: FaceParts,
  upload: HttpUpload,
  { complete: isComplete, outcome }: Pick<Append, "complete" | "outcome">,
  status: 200 | 201,
): Promise<Response> {
  const { appender } = upload;
  const { id } = appender.resource;
  const tellComplete = () => {
    if (isComplete !== undefined) uploadState(c, appender.received, true);
  };
  try {
    await upload.complete(outcome);
  } catch (thrown) {
    const error = toStreamError(thrown);
    if (!isFinal(appender.resource.status.transferStatus)) throw error;
    tellComplete();
    return problem(c, error);
  }
  tellComplete();
  const base = references.base(c);
  c.header("location", references.url(id, base));
  return json(c, references.info(await resources.get(id), base), status);
}

/**
 * The digest of the whole as it is known with an append.
 * @throws {StreamError} BAD_REQUEST when it is of another algorithm than the upload's, or was another one before.
 */
function checksumFor({ digest, reprDigest }: Append, { appender }: HttpUpload): string | null {
  const { digestAlgorithm, announced } = appender;
  if (reprDigest !== undefined && reprDigest.algorithm !== digestAlgorithm) {
    throw otherAlgorithm(reprDigest, digestAlgorithm);
  }
  return agreedDigest(announced.checksum ?? undefined, reprDigest?.value, digest);
}

/**
 * The one digest that was said, however often; null for none.
 * @throws {StreamError} BAD_REQUEST for two.
 */
function agreedDigest(...said: (string | undefined)[]): string | null {
  const [digest = null, ...others] = new Set(said.filter((value) => value !== undefined));
  if (others.length === 0) return digest;
  throw new StreamError(
    "BAD_REQUEST",
    `the digest of the whole is said to be ${digest}, and ${others[0]}: it cannot be both`,
  );
}

function otherAlgorithm({ algorithm }: Digest, agreed: string): StreamError {
  return new StreamError(
    "BAD_REQUEST",
    `Repr-Digest is ${algorithm}, this upload's digest is ${agreed}: create it with ` +
      `Stream-Digests: ${algorithm}`,
  );
}
