/**
 * Uploads by HTTP: in one request, or resumable in any number of them (PROTOCOL.md 6.6 and 6.7).
 *
 * Neither runtime can send 104, so that only a creation that was answered can be resumed.
 * @module
 */
import { createHash } from "node:crypto";
import type { Context, Hono } from "hono";
import {
  type Digest,
  isFinal,
  RESOURCES_PATH,
  StreamError,
  toStreamError,
  UPLOADS_PATH,
} from "../../protocol.ts";
import type { CompletedUpload } from "../../resources.ts";
import type { HttpUpload, HttpUploads } from "../../session/request.ts";
import type { Content, Intake } from "../../session/intake.ts";
import { problem } from "../problem.ts";
import type { RouteParts } from "../routes.ts";
import {
  checkCoding,
  contentLength,
  digestIn,
  digestNames,
  named,
  uploadComplete,
  uploadNumber,
} from "./upload_fields.ts";

/** What uploads need besides what all routes do. */
export interface UploadParts extends RouteParts {
  /** Uploads by HTTP that are open. */
  httpUploads: HttpUploads;
}

/** The media type of a PATCH that appends. */
const PARTIAL_UPLOAD = "application/partial-upload";
/** Where the draft's problem types are. */
const PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#";

/** Adds the routes. */
export function uploadRoutes(app: Hono, parts: UploadParts): void {
  const { httpUploads } = parts;
  const answer = (step: (c: Context) => Promise<Response>) => (c: Context) =>
    httpUploads.during(() => step(c));
  app.on(["PUT", "POST"], RESOURCES_PATH, answer((c) => create(c, parts)));
  app.on(["PUT", "POST"], `${RESOURCES_PATH}/`, answer((c) => create(c, parts)));
  app.put(`${RESOURCES_PATH}/:name`, answer((c) => create(c, parts)));
  const upload = `${UPLOADS_PATH}/:id/:secret`;
  // HEAD is routed as GET, and says the same.
  app.get(upload, answer((c) => tellOffset(c, parts)));
  app.patch(upload, answer((c) => append(c, parts)));
  app.delete(upload, answer((c) => cancel(c, parts)));
  for (const path of [RESOURCES_PATH, `${RESOURCES_PATH}/:name`, upload]) {
    app.options(path, (c) => {
      c.header("accept-patch", PARTIAL_UPLOAD);
      return c.body(null, 204, { "upload-limit": limits(parts) });
    });
  }
}

/** `PUT /resources/NAME`: an upload, whole or as its first part. */
async function create(c: Context, parts: UploadParts): Promise<Response> {
  const { resources, httpUploads } = parts;
  const { id, metadata } = named(c, c.req.param("name"));
  checkCoding(c);
  const isComplete = uploadComplete(c);
  const isWhole = isComplete !== false;
  const contentDigest = digestIn(c, "content-digest");
  const digest = digestIn(c, "repr-digest") ?? (isWhole ? contentDigest : null);
  const content = contentOf(c);
  const size = announcedSize(c, 0, isWhole);
  if (isComplete !== null) c.header("upload-limit", limits(parts));
  if (size === "INCONSISTENT") return inconsistentLength(c);
  const owned = await resources.register({
    id,
    metadata,
    contextId: c.req.query("context") || null,
    makeContext: true,
    resumable: !isWhole,
    digests: digest === null ? digestNames(c) : [digest.algorithm],
    announced: { size, checksum: digest?.value ?? null },
  });
  const upload = httpUploads.open(owned);
  const { appender } = upload;
  c.header("stream-digest-algorithm", appender.digestAlgorithm);
  return await upload.own(async (intake) => {
    await receive(upload, intake, content, digest === contentDigest ? null : contentDigest);
    if (isWhole) return await complete(c, parts, upload, null, 201);
    const base = parts.references.base(c);
    c.header("location", `${base}${UPLOADS_PATH}/${appender.resource.id}/${owned.secret}`);
    uploadState(c, appender.received, false);
    const record = await resources.get(appender.resource.id);
    return c.json(parts.references.info(record, base), 201);
  });
}

/** `PATCH /uploads/ID/SECRET`: the next part. */
async function append(c: Context, parts: UploadParts): Promise<Response> {
  const type = c.req.header("content-type")?.split(";")[0].trim();
  const offset = uploadNumber(c, "upload-offset");
  const isLast = uploadComplete(c);
  if (type !== PARTIAL_UPLOAD || offset === null || isLast === null) {
    throw new StreamError(
      "BAD_REQUEST",
      `an append has Content-Type: ${PARTIAL_UPLOAD}, Upload-Offset: BYTES and Upload-Complete: ?0 or ?1`,
    );
  }
  checkCoding(c);
  const content = contentOf(c);
  const contentDigest = digestIn(c, "content-digest");
  const upload = await find(c, parts);
  if ("completed" in upload) return alreadyCompleted(c, upload, offset);
  return await upload.own(async (intake) => {
    const { appender } = upload;
    // What an earlier request brought may not be written yet.
    await upload.receive(intake, { body: null, byteCount: null });
    if (offset !== appender.received) return mismatchingOffset(c, appender.received, offset, false);
    const checksum = checksumFor(c, upload);
    const size = announcedSize(c, offset, isLast);
    const known = appender.announced.size;
    if (size === "INCONSISTENT" || size !== null && known !== null && size !== known) {
      return inconsistentLength(c);
    }
    appender.announced = {
      size: size ?? known,
      checksum: checksum ?? appender.announced.checksum,
    };
    await receive(upload, intake, content, contentDigest);
    if (isLast) return await complete(c, parts, upload, checksum, 200);
    uploadState(c, appender.received, false);
    return wantsRepresentation(c) ? await represent(c, parts) : c.body(null, 204);
  });
}

/** RFC 7240: who sends many parts wants to know how the resource stands, and may not be allowed to ask elsewhere. */
function wantsRepresentation(c: Context): boolean {
  return /(?:^|[,;])\s*return=representation\s*(?:$|[,;])/i.test(c.req.header("prefer") ?? "");
}

/** The resource of an upload, for its owner. */
async function represent(c: Context, { resources, references }: UploadParts): Promise<Response> {
  const record = await resources.get(c.req.param("id")!);
  return c.json(references.info(record, references.base(c)));
}

/** `HEAD` and `GET /uploads/ID/SECRET`: how much there is; a request that still goes on is ended. */
async function tellOffset(c: Context, parts: UploadParts): Promise<Response> {
  const answer = () => c.req.method === "HEAD" ? c.body(null, 204) : represent(c, parts);
  const upload = await find(c, parts);
  c.header("cache-control", "no-store");
  c.header("upload-limit", limits(parts));
  if ("completed" in upload) {
    const { size } = upload.completed;
    c.header("upload-length", String(size));
    c.header("location", parts.references.url(c.req.param("id")!, parts.references.base(c)));
    uploadState(c, size, true);
    return await answer();
  }
  return await upload.own(async (intake) => {
    await upload.receive(intake, { body: null, byteCount: null });
    const { received, announced, digestAlgorithm } = upload.appender;
    if (announced.size !== null) c.header("upload-length", String(announced.size));
    c.header("stream-digest-algorithm", digestAlgorithm);
    uploadState(c, received, false);
    return await answer();
  });
}

/** `DELETE /uploads/ID/SECRET?reason=`: gives it up; what arrived stays. */
async function cancel(c: Context, parts: UploadParts): Promise<Response> {
  const upload = await find(c, parts);
  if ("completed" in upload) {
    throw new StreamError(
      "WRONG_STATE",
      `upload ${c.req.param("id")} is completed: delete the resource`,
    );
  }
  return await upload.own(async () => {
    const reason = c.req.query("reason") ?? "its owner gave the upload up";
    await upload.appender.fail(new StreamError("ABORTED", reason));
    return c.body(null, 204);
  });
}

function find(c: Context, { httpUploads }: UploadParts): Promise<HttpUpload | CompletedUpload> {
  return httpUploads.find(c.req.param("id")!, c.req.param("secret")!);
}

/** Takes the content in and holds it against its digest. */
async function receive(
  upload: HttpUpload,
  intake: Intake,
  content: Content,
  expected: Digest | null,
): Promise<void> {
  if (expected === null) return await upload.receive(intake, content);
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
  { resources, references }: UploadParts,
  upload: HttpUpload,
  checksum: string | null,
  status: 200 | 201,
): Promise<Response> {
  const { appender } = upload;
  const { id } = appender.resource;
  if (uploadComplete(c) !== null) uploadState(c, appender.received, true);
  try {
    await upload.complete(checksum);
  } catch (thrown) {
    const error = toStreamError(thrown);
    if (!isFinal(appender.resource.status.transferStatus)) throw error;
    return problem(c, error);
  }
  const base = references.base(c);
  c.header("location", references.url(id, base));
  return c.json(references.info(await resources.get(id), base), status);
}

function contentOf(c: Context): Content {
  return { body: c.req.raw.body, byteCount: contentLength(c) };
}

/** The size of the whole as a request says it, in one of two ways or in both. */
function announcedSize(
  c: Context,
  offset: number,
  isLast: boolean,
): number | null | "INCONSISTENT" {
  const said = uploadNumber(c, "upload-length");
  const length = isLast ? contentLength(c) : null;
  const implied = length === null ? null : offset + length;
  if (said !== null && implied !== null && said !== implied) return "INCONSISTENT";
  return said ?? implied;
}

/**
 * The digest of the whole that an append brings.
 * @throws {StreamError} BAD_REQUEST when it is of another algorithm than the upload's.
 */
function checksumFor(c: Context, { appender }: HttpUpload): string | null {
  const { digestAlgorithm } = appender;
  const own = c.req.header("stream-digest")?.trim().toLowerCase();
  if (own !== undefined && /^[0-9a-f]{32,64}$/.test(own)) return own;
  if (own !== undefined) {
    throw new StreamError("BAD_REQUEST", `Stream-Digest is no ${digestAlgorithm} in hexadecimal`);
  }
  const digest = digestIn(c, "repr-digest");
  if (digest === null || digest.algorithm === digestAlgorithm) return digest?.value ?? null;
  throw otherAlgorithm(digest, digestAlgorithm);
}

function otherAlgorithm({ algorithm }: Digest, agreed: string): StreamError {
  return new StreamError(
    "BAD_REQUEST",
    `Repr-Digest is ${algorithm}, this upload's digest is ${agreed}: create it with ` +
      `Stream-Digests: ${algorithm}`,
  );
}

function uploadState(c: Context, offset: number, isComplete: boolean): void {
  c.header("upload-offset", String(offset));
  c.header("upload-complete", isComplete ? "?1" : "?0");
}

function limits({ resources }: RouteParts): string {
  const maxAgeSeconds = Math.floor(resources.resumeWindowMs / 1000);
  return `max-size=${resources.maxResourceBytes}, max-age=${maxAgeSeconds}`;
}

function mismatchingOffset(
  c: Context,
  expected: number,
  provided: number,
  isComplete: boolean,
): Response {
  uploadState(c, expected, isComplete);
  return problem(
    c,
    new StreamError("CONFLICT", `the upload has ${expected} bytes, the append is at ${provided}`),
    {
      type: `${PROBLEM_TYPES}mismatching-upload-offset`,
      "expected-offset": expected,
      "provided-offset": provided,
    },
  );
}

function alreadyCompleted(c: Context, { completed }: CompletedUpload, offset: number): Response {
  if (offset !== completed.size) return mismatchingOffset(c, completed.size, offset, true);
  uploadState(c, completed.size, true);
  const error = new StreamError("BAD_REQUEST", "the upload is completed already");
  return problem(c, error, { type: `${PROBLEM_TYPES}completed-upload` });
}

function inconsistentLength(c: Context): Response {
  const error = new StreamError(
    "BAD_REQUEST",
    "Upload-Length, Content-Length and what was said before do not agree",
  );
  return problem(c, error, { type: `${PROBLEM_TYPES}inconsistent-upload-length` });
}
