/**
 * Uploads by HTTP: in one request, or resumable in any number of them (PROTOCOL.md 6.6 and 6.7).
 *
 * Neither runtime can send 104, so that only a creation that was answered can be resumed.
 * @module
 */
import { createHash } from "node:crypto";
import type { Context } from "hono";
import { serializeDictionary, serializeItem } from "structured-headers";
import {
  type Digest,
  DIGESTS,
  isFinal,
  StreamError,
  toStreamError,
  UPLOADS_PATH,
} from "../../protocol.ts";
import type { CompletedUpload } from "../../resources.ts";
import type { Content, Intake } from "../../session/intake.ts";
import type { HttpUpload } from "../../session/request.ts";
import type { FaceParts } from "../face.ts";
import { json } from "../json.ts";
import { inPath, inQuery, secretInPath, text, type Values } from "../parameters.ts";
import { problem } from "../problem.ts";
import { namedResource, ofResource, unnamedResource } from "../reach.ts";
import { answer, answerOf, jsonOf, type Route, route } from "../route.ts";
import { RESOURCE } from "../schemas.ts";
import { LIST, ONE, resourceId } from "./listing.ts";
import {
  type Append,
  APPEND_PARAMETERS,
  checkCoding,
  contentLength,
  contentType,
  type Creation,
  CREATION_PARAMETERS,
  named,
} from "./upload_fields.ts";

/** The media type of a PATCH that appends. */
const PARTIAL_UPLOAD = "application/partial-upload";
/** Where the draft's problem types are. */
const PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#";

/** Errors of content that is taken in. */
const CONTENT_ERRORS = [
  ...["CONFLICT", "FENCED", "QUOTA_EXCEEDED", "CHECKSUM_MISMATCH", "INTERRUPTED"] as const,
  ...["PEER_SILENT", "SHUTDOWN", "LIMIT_REACHED", "STORAGE_FAILED"] as const,
];
/** Errors of who is not the owner of an upload, or not any more. */
const OWNER_ERRORS = ["NOT_FOUND", "NOT_OWNER", "WRONG_STATE", "FENCED", "LIMIT_REACHED"] as const;

const OFFSET = ["Upload-Offset", "Upload-Complete"] as const;
const AGREED = ["Upload-Limit", "Stream-Digest-Algorithm"] as const;
const TOLD = [...OFFSET, ...AGREED, "Upload-Length", "Location"];

/** The address of one upload. */
const UPLOAD = {
  path: `${UPLOADS_PATH}/:id/:secret`,
  section: "6.7",
  access: { scope: "upload", reach: ofResource },
} as const;
const OWNER = {
  id: resourceId,
  secret: secretInPath("secret", "secret of the upload: who knows it owns it"),
};
type Owner = Values<typeof OWNER>;
const NAME = { id: inPath("id", "filename of the resource, or its id: a UUID in lower case") };

/** Routes of uploads. */
export function uploadRoutes(parts: FaceParts): Route[] {
  return [...creationRoutes(parts), ...ownerRoutes(parts), ...optionsRoutes(parts)];
}

function creationRoutes(parts: FaceParts): Route[] {
  const creation = {
    section: "6.6",
    summary: "Uploads a resource, readable while it is sent, or begins an upload in parts",
    takes: "*/*",
    answers: { 201: answerOf("the resource", jsonOf(RESOURCE), "Location", ...OFFSET, ...AGREED) },
    errors: [
      ...["BAD_REQUEST", "BAD_METADATA", "CONTEXT_REQUIRED", "CONTEXT_UNKNOWN"] as const,
      ...["CONTEXT_CLOSED", ...CONTENT_ERRORS] as const,
    ],
  };
  const unnamed = {
    ...creation,
    ...LIST,
    access: { scope: "upload", reach: unnamedResource },
    parameters: CREATION_PARAMETERS,
    handle: (c: Context, said: Creation) => during(parts, () => create(c, parts, said, undefined)),
  } as const;
  return [
    route({ ...unnamed, name: "createResource", method: "POST" }),
    route({ ...unnamed, name: "uploadResource", method: "PUT" }),
    route({
      ...creation,
      name: "putResource",
      method: "PUT",
      path: ONE,
      access: { scope: "upload", reach: namedResource },
      parameters: { ...NAME, ...CREATION_PARAMETERS },
      handle: (c, said) => during(parts, () => create(c, parts, said, said.id)),
    }),
  ];
}

function ownerRoutes(parts: FaceParts): Route[] {
  return [
    route({
      ...UPLOAD,
      name: "getUpload",
      method: "GET",
      summary: "How many bytes arrived, and the resource; to HEAD without it",
      parameters: OWNER,
      answers: {
        200: answerOf("to GET: the resource", jsonOf(RESOURCE), ...TOLD),
        204: answer("to HEAD", ...TOLD),
      },
      errors: OWNER_ERRORS,
      handle: (c, owner) => during(parts, () => tellOffset(c, parts, owner)),
    }),
    route({
      ...UPLOAD,
      name: "appendToUpload",
      method: "PATCH",
      summary: "Sends more bytes",
      takes: PARTIAL_UPLOAD,
      parameters: { ...OWNER, ...APPEND_PARAMETERS },
      answers: {
        200: answerOf("the resource", jsonOf(RESOURCE), "Location", ...OFFSET),
        204: answer("more is awaited", ...OFFSET),
      },
      errors: ["BAD_REQUEST", ...OWNER_ERRORS, ...CONTENT_ERRORS],
      handle: (c, said) => during(parts, () => append(c, parts, said)),
    }),
    route({
      ...UPLOAD,
      name: "abortUpload",
      method: "DELETE",
      summary: "Gives the upload up: it is FAILED and keeps what arrived",
      parameters: { ...OWNER, reason: inQuery("reason", "why; others are told", text) },
      answers: { 204: answer("given up") },
      errors: OWNER_ERRORS,
      handle: (c, said) => during(parts, () => cancel(c, parts, said)),
    }),
  ];
}

/** What a server can do, not what it has. */
function optionsRoutes(parts: FaceParts): Route[] {
  const options = {
    method: "OPTIONS",
    section: "6.7",
    summary: "Tells which uploads are taken",
    access: "everybody",
    answers: { 204: answer("what is taken", "Allow", "Accept-Patch", "Upload-Limit") },
    errors: [],
    handle(c: Context) {
      c.header("accept-patch", PARTIAL_UPLOAD);
      return c.body(null, 204, { "upload-limit": limits(parts) });
    },
  } as const;
  return [
    route({ ...options, ...LIST, name: "optionsOfResources", parameters: {} }),
    route({ ...options, path: ONE, name: "optionsOfResource", parameters: NAME }),
    route({ ...options, path: UPLOAD.path, name: "optionsOfUpload", parameters: OWNER }),
  ];
}

/** A server is not shut down before such a request is answered. */
function during(
  { httpUploads }: FaceParts,
  step: () => Promise<Response>,
): Promise<Response> {
  return httpUploads.during(step);
}

/** `PUT /resources/NAME`: an upload, whole or as its first part. */
async function create(
  c: Context,
  parts: FaceParts,
  said: Creation,
  segment: string | undefined,
): Promise<Response> {
  const { resources, httpUploads } = parts;
  const { id, metadata } = named(c, said, segment);
  checkCoding(c);
  const { complete: isComplete, contentDigest } = said;
  const isWhole = isComplete !== false;
  const digest = said.reprDigest ?? (isWhole ? contentDigest : undefined);
  const content = contentOf(c);
  const size = announcedSize(c, said.length, 0, isWhole);
  if (isComplete !== undefined) c.header("upload-limit", limits(parts));
  if (size === "INCONSISTENT") return inconsistentLength(c);
  const owned = await resources.register({
    id,
    metadata,
    contextId: said.context || null,
    makeContext: true,
    resumable: !isWhole,
    digests: digest === undefined ? said.digests ?? DIGESTS : [digest.algorithm],
    announced: { size, checksum: digest?.value ?? null },
  });
  const upload = httpUploads.open(owned);
  const { appender } = upload;
  c.header("stream-digest-algorithm", appender.digestAlgorithm);
  return await upload.own(async (intake) => {
    await receive(upload, intake, content, digest === contentDigest ? undefined : contentDigest);
    if (isWhole) return await complete(c, parts, upload, said, null, 201);
    const base = parts.references.base(c);
    c.header("location", `${base}${UPLOADS_PATH}/${appender.resource.id}/${owned.secret}`);
    uploadState(c, appender.received, false);
    const record = await resources.get(appender.resource.id);
    return json(c, parts.references.info(record, base), 201);
  });
}

/** `PATCH /uploads/ID/SECRET`: the next part. */
async function append(c: Context, parts: FaceParts, said: Owner & Append): Promise<Response> {
  const { offset, complete: isLast, contentDigest } = said;
  if (contentType(c) !== PARTIAL_UPLOAD || offset === undefined || isLast === undefined) {
    throw new StreamError(
      "BAD_REQUEST",
      `an append has Content-Type: ${PARTIAL_UPLOAD}, Upload-Offset: BYTES and Upload-Complete: ?0 or ?1`,
    );
  }
  checkCoding(c);
  const content = contentOf(c);
  const upload = await find(parts, said);
  if ("completed" in upload) return alreadyCompleted(c, upload, offset);
  return await upload.own(async (intake) => {
    const { appender } = upload;
    // What an earlier request brought may not be written yet.
    await upload.receive(intake, { body: null, byteCount: null });
    if (offset !== appender.received) return mismatchingOffset(c, appender.received, offset, false);
    const checksum = checksumFor(said, upload);
    const size = announcedSize(c, said.length, offset, isLast);
    const known = appender.announced.size;
    if (size === "INCONSISTENT" || size !== null && known !== null && size !== known) {
      return inconsistentLength(c);
    }
    appender.announced = {
      size: size ?? known,
      checksum: checksum ?? appender.announced.checksum,
    };
    await receive(upload, intake, content, contentDigest);
    if (isLast) return await complete(c, parts, upload, said, checksum, 200);
    uploadState(c, appender.received, false);
    // Who sends many parts wants to know how the resource stands, and may not be allowed to ask elsewhere.
    return said.representation ? await represent(c, parts, said) : c.body(null, 204);
  });
}

/** The resource of an upload, for its owner. */
async function represent(
  c: Context,
  { resources, references }: FaceParts,
  { id }: Owner,
): Promise<Response> {
  const record = await resources.get(id);
  return json(c, references.info(record, references.base(c)));
}

/** `HEAD` and `GET /uploads/ID/SECRET`: how much there is; a request that still goes on is ended. */
async function tellOffset(c: Context, parts: FaceParts, owner: Owner): Promise<Response> {
  const answer = () => c.req.method === "HEAD" ? c.body(null, 204) : represent(c, parts, owner);
  const upload = await find(parts, owner);
  c.header("cache-control", "no-store");
  c.header("upload-limit", limits(parts));
  if ("completed" in upload) {
    const { size } = upload.completed;
    c.header("upload-length", String(size));
    c.header("location", parts.references.url(owner.id, parts.references.base(c)));
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
async function cancel(
  c: Context,
  parts: FaceParts,
  { reason = "its owner gave the upload up", ...owner }: Owner & { reason?: string },
): Promise<Response> {
  const upload = await find(parts, owner);
  if ("completed" in upload) {
    throw new StreamError("WRONG_STATE", `upload ${owner.id} is completed: delete the resource`);
  }
  return await upload.own(async () => {
    await upload.appender.fail(new StreamError("ABORTED", reason));
    return c.body(null, 204);
  });
}

function find(
  { httpUploads }: FaceParts,
  { id, secret }: Owner,
): Promise<HttpUpload | CompletedUpload> {
  return httpUploads.find(id, secret);
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
  { complete: isComplete }: Pick<Append, "complete">,
  checksum: string | null,
  status: 200 | 201,
): Promise<Response> {
  const { appender } = upload;
  const { id } = appender.resource;
  if (isComplete !== undefined) uploadState(c, appender.received, true);
  try {
    await upload.complete(checksum);
  } catch (thrown) {
    const error = toStreamError(thrown);
    if (!isFinal(appender.resource.status.transferStatus)) throw error;
    return problem(c, error);
  }
  const base = references.base(c);
  c.header("location", references.url(id, base));
  return json(c, references.info(await resources.get(id), base), status);
}

function contentOf(c: Context): Content {
  return { body: c.req.raw.body, byteCount: contentLength(c) };
}

/** The size of the whole as a request says it, in one of two ways or in both. */
function announcedSize(
  c: Context,
  said: number | undefined,
  offset: number,
  isLast: boolean,
): number | null | "INCONSISTENT" {
  const length = isLast ? contentLength(c) : null;
  const implied = length === null ? undefined : offset + length;
  if (said !== undefined && implied !== undefined && said !== implied) return "INCONSISTENT";
  return said ?? implied ?? null;
}

/**
 * The digest of the whole that an append brings.
 * @throws {StreamError} BAD_REQUEST when it is of another algorithm than the upload's.
 */
function checksumFor({ digest: own, reprDigest }: Append, { appender }: HttpUpload): string | null {
  const { digestAlgorithm } = appender;
  if (own !== undefined || reprDigest === undefined) return own ?? null;
  if (reprDigest.algorithm === digestAlgorithm) return reprDigest.value;
  throw otherAlgorithm(reprDigest, digestAlgorithm);
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
  c.header("upload-complete", serializeItem(isComplete));
}

function limits({ resources }: FaceParts): string {
  return serializeDictionary({
    "max-size": resources.maxResourceBytes,
    "max-age": Math.floor(resources.resumeWindowMs / 1000),
  });
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
