/**
 * The HTTP interface as an OpenAPI 3.1 document (PROTOCOL.md 6).
 * @module
 */
import { type ErrorCode, ERRORS, TRANSFER_STATUSES, VERSION } from "../protocol.ts";

type Json = Record<string, unknown>;

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const array = (items: Json): Json => ({ type: "array", items });
const object = (properties: Json, optional: string[] = []): Json => ({
  type: "object",
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});

const TEXT = { type: "string" };
const FLAG = { type: "boolean" };
const COUNT = { type: "integer", minimum: 0 };
const WHOLE = { type: "integer" };
const TIME = { type: "string", format: "date-time" };
const orNull = (schema: Json): Json => ({ oneOf: [schema, { type: "null" }] });

const STATUS_FIELDS = {
  transferStatus: { type: "string", enum: TRANSFER_STATUSES },
  currentSize: COUNT,
  numberOfLines: orNull(COUNT),
  durableSize: COUNT,
  epoch: COUNT,
  sequence: COUNT,
  failure: orNull(TEXT),
};

const SCHEMAS: Json = {
  Resource: object({
    id: TEXT,
    filename: TEXT,
    mimeType: TEXT,
    supportsLineAccess: FLAG,
    ...STATUS_FIELDS,
    contextId: orNull(TEXT),
    digest: orNull(object({ algorithm: TEXT, value: TEXT })),
    reference: { type: "string", format: "uri" },
    createdAt: TIME,
    updatedAt: TIME,
  }),
  ResourceStatus: object(STATUS_FIELDS),
  Context: object({ id: TEXT, createdAt: TIME, closedAt: orNull(TIME) }),
  Lines: object({
    startingLineIndex: COUNT,
    linesCount: COUNT,
    startOffset: COUNT,
    endOffset: COUNT,
    lines: array(TEXT),
    next: orNull({ type: ["integer", "object"] }),
  }, ["lines"]),
  Hit: {
    oneOf: [
      object({ line: COUNT, offset: COUNT, text: TEXT }),
      object({ end: { const: true }, nextLine: orNull(COUNT), truncated: FLAG }),
    ],
  },
  Share: object({ url: TEXT, reference: TEXT, expiresAt: TIME }),
  Problem: object({
    title: TEXT,
    status: WHOLE,
    detail: TEXT,
    code: { type: "string", enum: Object.keys(ERRORS) },
    instance: { type: "string", description: "names the request: urn:request:ID" },
  }),
};

const content = (types: Json): Json => ({ content: types });
const json = (schema: Json): Json => content({ "application/json": { schema } });
const plain = content({ "text/plain": { schema: TEXT } });
const binary = content({ "application/octet-stream": {} });
const events = content({ "text/event-stream": { schema: TEXT } });

/** A response by its description, with a body and headers. */
function answer(description: string, body: Json = {}, ...headers: string[]): Json {
  const named = headers.map((name) => [name, { schema: TEXT }]);
  return {
    description,
    ...body,
    ...(headers.length ? { headers: Object.fromEntries(named) } : {}),
  };
}

function inPath(name: string, description: string): Json {
  return { name, in: "path", required: true, description, schema: TEXT };
}

function inQuery(name: string, description: string, schema: Json = TEXT): Json {
  return { name, in: "query", description, schema };
}

function inHeader(name: string, description: string): Json {
  return { name, in: "header", description, schema: TEXT };
}

/** What one request does: its answers by status, and the codes of its errors. */
function operation(
  operationId: string,
  summary: string,
  responses: Record<number, Json>,
  codes: ErrorCode[] = [],
  more: Json = {},
): Json {
  const byStatus = Map.groupBy([...codes, ...COMMON], (code) => ERRORS[code].http);
  const problems = [...byStatus].filter(([status]) => !(status in responses));
  const failures = problems.map(([status, codes]) => [
    status,
    answer(codes.join(", "), content({ "application/problem+json": { schema: ref("Problem") } })),
  ]);
  return {
    operationId,
    summary,
    ...more,
    responses: { ...responses, ...Object.fromEntries(failures) },
  };
}

/** Errors that any request can end with. */
const COMMON: ErrorCode[] = ["ORIGIN_REFUSED", "UNAUTHORIZED", "FORBIDDEN", "RATE_LIMITED"];
const UPLOAD: ErrorCode[] = [
  ...["BAD_REQUEST", "BAD_METADATA", "CONTEXT_REQUIRED", "CONTEXT_UNKNOWN"] as const,
  ...["CONTEXT_CLOSED", "CONFLICT", "QUOTA_EXCEEDED", "LIMIT_REACHED"] as const,
  ...["CHECKSUM_MISMATCH", "SHUTDOWN", "STORAGE_FAILED"] as const,
];
const OWNER: ErrorCode[] = ["NOT_FOUND", "NOT_OWNER", "WRONG_STATE"];
const READ: ErrorCode[] = ["NOT_FOUND", "BAD_REQUEST", "DELETED"];

const RESOURCE_ID = inPath("id", "id of a resource");
const UPLOAD_HEADERS = ["Upload-Offset", "Upload-Complete"];
const UPLOAD_OPTIONS = [
  inQuery("name", "filename"),
  inQuery("type", "MIME type"),
  inQuery("lines", "whether lines can be asked for (default: for text)", FLAG),
  inQuery("context", "upload context"),
  inHeader("Upload-Complete", "?0 or ?1: begins an upload that can be resumed"),
];
const BYTES = { requestBody: { content: { "*/*": {} } } };
const RANGE = [inHeader("Range", "bytes to send"), inHeader("If-Range", "ETag the range is of")];
const CREATED = {
  201: answer("the resource", json(ref("Resource")), "Location", ...UPLOAD_HEADERS),
};
const SWITCHED = { 101: answer("a WebSocket connection: see PROTOCOL.md") };
const OK = { 200: answer("ok", plain) };

const CONTENT_ANSWERS = {
  200: answer("all bytes, live until the end", binary, "ETag"),
  206: answer("the range", binary, "Content-Range", "ETag"),
  304: answer("not modified"),
};

const RESOURCES_PATHS: Json = {
  "/resources": {
    get: operation(
      "listResources",
      "Lists resources, newest first",
      { 200: answer("a page", json(array(ref("Resource"))), "Link") },
      ["BAD_REQUEST"],
      {
        parameters: [
          inQuery("context", "only those of one upload context"),
          inQuery("status", "only those with one of these", array(TEXT)),
          inQuery("limit", "most resources of a page (default 100)", COUNT),
          inQuery("after", "where the page begins: as a Link has it"),
        ],
      },
    ),
    post: operation("createResource", "Uploads a resource, readable while it is sent", CREATED, [
      ...UPLOAD,
    ], { parameters: UPLOAD_OPTIONS, ...BYTES }),
    put: operation("uploadResource", "The same, for clients that can only PUT", CREATED, [
      ...UPLOAD,
    ], { parameters: UPLOAD_OPTIONS, ...BYTES }),
  },
  "/resources/{id}": {
    parameters: [inPath("id", "id of a resource; of an upload also a filename")],
    get: operation("getResource", "Shows a resource", {
      200: answer("the resource", json(ref("Resource"))),
    }, ["NOT_FOUND"]),
    put: operation("putResource", "Uploads a resource, readable while it is sent", CREATED, [
      ...UPLOAD,
    ], { parameters: UPLOAD_OPTIONS, ...BYTES }),
    delete: operation("deleteResource", "Deletes a finished resource", {
      204: answer("deleted"),
    }, ["NOT_FOUND", "WRONG_STATE"]),
  },
  "/resources/{id}/content": {
    parameters: [RESOURCE_ID, ...RANGE],
    get: operation("getContent", "The bytes, live until the end", CONTENT_ANSWERS, [
      ...READ,
      "RANGE_NOT_AVAILABLE",
    ]),
    head: operation("headContent", "The headers of the bytes", CONTENT_ANSWERS, [
      ...READ,
      "RANGE_NOT_AVAILABLE",
    ]),
  },
  "/resources/{id}/lines": {
    parameters: [RESOURCE_ID],
    get: operation(
      "getLines",
      "Lines by their index",
      {
        200: answer(
          "the lines",
          content({
            "text/plain": { schema: TEXT },
            "application/json": { schema: ref("Lines") },
          }),
          "Link",
        ),
      },
      [...READ, "NO_LINE_ACCESS", "LINES_NOT_AVAILABLE"],
      {
        parameters: [
          inQuery("start", "index of the first line; a negative one counts from the end", WHOLE),
          inQuery("count", "most lines; 0 in JSON only locates", COUNT),
          inQuery("tail", "so many lines before the end", COUNT),
          inQuery("locate", "in JSON: only where the lines are, cut to what is there", FLAG),
        ],
      },
    ),
  },
  "/resources/{id}/search": {
    parameters: [RESOURCE_ID],
    get: operation(
      "searchLines",
      "Lines that contain a text",
      {
        200: answer(
          "hits, then an end",
          content({ "application/x-ndjson": { schema: ref("Hit") } }),
        ),
      },
      [...READ, "NO_LINE_ACCESS"],
      {
        parameters: [
          inQuery("q", "the text"),
          inQuery("regex", "whether it is a regular expression", FLAG),
          inQuery("from", "index of the first line to look at", COUNT),
          inQuery("ignoreCase", "whether case does not matter", FLAG),
          inQuery("limit", "most hits", COUNT),
        ],
      },
    ),
  },
  "/resources/{id}/events": {
    parameters: [RESOURCE_ID],
    get: operation("followStatus", "Every new status, as server-sent events", {
      200: answer("events status and deleted", events),
      204: answer("Last-Event-ID names the final status"),
    }, ["NOT_FOUND"]),
  },
  "/resources/{id}/share": {
    parameters: [RESOURCE_ID],
    post: operation(
      "shareResource",
      "Makes links that expire",
      { 200: answer("the links", json(ref("Share"))) },
      ["NOT_FOUND", "BAD_REQUEST"],
      { parameters: [inQuery("expires", "when they do, in s from now", COUNT)] },
    ),
  },
};

const UPLOAD_PATHS: Json = {
  "/uploads/{id}/{secret}": {
    parameters: [RESOURCE_ID, inPath("secret", "secret of the upload")],
    head: operation("getUploadOffset", "How many bytes arrived", {
      204: answer("the offset", {}, ...UPLOAD_HEADERS),
    }, OWNER),
    get: operation("getUpload", "How many bytes arrived, and the resource", {
      200: answer("the resource", json(ref("Resource")), ...UPLOAD_HEADERS),
    }, OWNER),
    patch: operation(
      "appendToUpload",
      "Sends more bytes",
      {
        ...CREATED,
        200: answer("complete already", json(ref("Resource"))),
        204: answer("more is awaited", {}, ...UPLOAD_HEADERS),
      },
      [...OWNER, ...UPLOAD],
      {
        parameters: [
          inHeader("Upload-Offset", "offset of the first byte sent"),
          inHeader("Upload-Complete", "whether these bytes are the last: ?0 or ?1"),
          inHeader("Prefer", "return=representation answers with the resource"),
        ],
        requestBody: { content: { "application/partial-upload": {} } },
      },
    ),
    delete: operation(
      "abortUpload",
      "Gives the upload up: it is FAILED",
      {
        204: answer("given up"),
      },
      OWNER,
      { parameters: [inQuery("reason", "why; others are told", TEXT)] },
    ),
  },
  "/ws/streaming/upload": {
    get: operation("connectUpload", "An upload over WebSocket", SWITCHED, [
      "BAD_REQUEST",
      "LIMIT_REACHED",
    ], { parameters: [inQuery("streamingUploadContextId", "upload context")] }),
  },
  "/ws/streaming/download/{id}": {
    parameters: [RESOURCE_ID],
    get: operation("connectDownload", "A download over WebSocket", SWITCHED, [
      "BAD_REQUEST",
      "LIMIT_REACHED",
    ]),
  },
};

const CONTEXT_ID = inPath("id", "id of an upload context");

const CONTEXT_PATHS: Json = {
  "/contexts": {
    get: operation(
      "listContexts",
      "Lists upload contexts, newest first",
      { 200: answer("a page", json(array(ref("Context"))), "Link") },
      ["BAD_REQUEST"],
      {
        parameters: [
          inQuery("limit", "most contexts of a page (default 100)", COUNT),
          inQuery("after", "where the page begins: as a Link has it"),
        ],
      },
    ),
  },
  "/contexts/{id}": {
    parameters: [CONTEXT_ID],
    get: operation("getContext", "Shows an upload context", {
      200: answer("the context", json(ref("Context"))),
    }, ["NOT_FOUND"]),
    put: operation("createContext", "Makes an upload context unless it exists", {
      200: answer("it exists", json(ref("Context"))),
      201: answer("made", json(ref("Context"))),
    }, ["BAD_METADATA"]),
    delete: operation("closeContext", "Takes no more uploads; nothing is deleted", {
      200: answer("closed", json(ref("Context"))),
    }, ["NOT_FOUND"]),
  },
  "/contexts/{id}/events": {
    parameters: [CONTEXT_ID],
    get: operation("followContext", "What happens in an upload context, as server-sent events", {
      200: answer("events created, status, refused and deleted", events),
    }, ["NOT_FOUND"]),
  },
};

const OPERATION_PATHS: Json = {
  "/metrics": { get: operation("getMetrics", "Metrics, as Prometheus reads them", OK) },
  "/healthz": { get: operation("getHealth", "Whether the process answers", OK) },
  "/readyz": {
    get: operation("getReadiness", "Whether uploads can be sent here", OK, ["NOT_READY"]),
  },
  "/openapi.json": {
    get: operation("getDescription", "This document", { 200: answer("the document", json({})) }),
  },
};

/** The document, without `servers`. */
export const OPENAPI: Json = {
  openapi: "3.1.0",
  info: {
    title: "stream",
    summary: "Moves files that are still being written",
    version: VERSION,
    license: { name: "MIT", identifier: "MIT" },
  },
  security: [{}, { token: [] }, { link: [] }],
  paths: { ...RESOURCES_PATHS, ...UPLOAD_PATHS, ...CONTEXT_PATHS, ...OPERATION_PATHS },
  components: {
    schemas: SCHEMAS,
    securitySchemes: {
      token: { type: "http", scheme: "bearer" },
      link: { type: "apiKey", in: "query", name: "access" },
    },
  },
};
