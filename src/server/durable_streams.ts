/**
 * The face of Durable Streams, for clients that people have already (PROTOCOL.md 6.12;
 * https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md).
 * @module
 */
import { checkNew, checkResource, type Reach } from "./access/reach.ts";
import { append } from "./durable_streams/appending.ts";
import { create } from "./durable_streams/creating.ts";
import {
  APPEND_PARAMETERS,
  CREATION_PARAMETERS,
  ONE_STREAM,
  PATH_PARAMETER,
  READ_PARAMETERS,
} from "./durable_streams/fields.ts";
import { read } from "./durable_streams/reading.ts";
import type { StreamParts } from "./durable_streams/parts.ts";
import { streamId, type Streams } from "./durable_streams/streams.ts";
import type { Face } from "./face.ts";
import { answer, answerOf, type Route, route } from "./route.ts";

export { Streams } from "./durable_streams/streams.ts";

const SHOWN = ["Stream-Reference", "Stream-View"] as const;
const STATE = ["Stream-Next-Offset", "Stream-Closed", ...SHOWN] as const;

/** Errors of who names a stream. */
const STREAM_ERRORS = ["BAD_REQUEST", "NOT_FOUND", "GONE", "LIMIT_REACHED"] as const;
/** Errors of content that is taken in. */
const CONTENT_ERRORS = [
  ...["MESSAGE_TOO_LARGE", "CONFLICT", "NOT_OWNER", "QUOTA_EXCEEDED", "INTERRUPTED"] as const,
  ...["PEER_SILENT", "CHECKSUM_MISMATCH", "NOT_READY", "SHUTDOWN", "STORAGE_FAILED"] as const,
];

/** The stream that the path names. */
const ofStream: Reach = async (c, grant, resources) =>
  checkResource(grant, await streamId(c.req.param("path")!), resources);

/** A stream that may be made. */
const newStream: Reach = async (c, grant, resources) =>
  checkNew(c, grant, await streamId(c.req.param("path")!), resources);

/**
 * Makes the face of Durable Streams.
 * @param streams All streams.
 */
export function durableStreamsFace(streams: Streams): Face {
  return (parts) => routesOf({ ...parts, streams });
}

function routesOf(parts: StreamParts): Route[] {
  const { httpUploads, streams } = parts;
  const stream = { path: ONE_STREAM, section: "6.12" } as const;
  return [
    route({
      ...stream,
      name: "createStream",
      method: "PUT",
      summary: "Makes a durable stream, or finds it as it should be",
      access: { scope: "upload", reach: newStream },
      takes: "*/*",
      parameters: CREATION_PARAMETERS,
      answers: {
        200: answer("it was there", "Content-Type", ...STATE),
        201: answer("made", "Location", "Content-Type", ...STATE),
      },
      errors: [
        ...STREAM_ERRORS,
        ...CONTENT_ERRORS,
        ...["BAD_METADATA", "CONTEXT_REQUIRED", "CONTEXT_CLOSED", "DELETED"] as const,
      ],
      handle: (c, said) => httpUploads.during(() => create(c, parts, said)),
    }),
    route({
      ...stream,
      name: "appendToStream",
      method: "POST",
      summary: "Appends to a durable stream, closes it, or both",
      access: { scope: "upload", reach: ofStream },
      takes: "*/*",
      parameters: APPEND_PARAMETERS,
      answers: {
        200: answer("appended, for a producer", "Producer-Epoch", "Producer-Seq", ...STATE),
        204: answer("appended, closed, or known", "Producer-Epoch", "Producer-Seq", ...STATE),
      },
      errors: [...STREAM_ERRORS, ...CONTENT_ERRORS],
      handle: (c, said) => httpUploads.during(() => append(c, parts, said)),
    }),
    route({
      ...stream,
      name: "readStream",
      method: "GET",
      summary: "A durable stream, or any resource, from an offset on, and what comes",
      access: { scope: "read", reach: ofStream },
      parameters: READ_PARAMETERS,
      answers: {
        200: answerOf(
          "the bytes, or messages as JSON, or events",
          { "*/*": null },
          ...["ETag", "Stream-Up-To-Date", "Stream-Cursor", "Stream-SSE-Data-Encoding"],
          ...["Stream-TTL", "Stream-Expires-At", "Stream-Transfer-Status", ...STATE],
        ),
        204: answer("nothing came", "Stream-Up-To-Date", "Stream-Cursor", ...STATE),
        304: answer("not modified", "ETag", "Stream-Up-To-Date", "Stream-Cursor", ...STATE),
      },
      errors: [
        ...STREAM_ERRORS,
        ...["DELETED", "RANGE_NOT_AVAILABLE", "SHUTDOWN", "STORAGE_FAILED"] as const,
      ],
      handle: (c, said) => read(c, parts, said),
    }),
    route({
      ...stream,
      name: "deleteStream",
      method: "DELETE",
      summary: "Deletes a durable stream with its bytes",
      access: { scope: "admin", reach: ofStream },
      parameters: PATH_PARAMETER,
      answers: { 204: answer("deleted") },
      errors: [...STREAM_ERRORS, "WRONG_STATE", "STORAGE_FAILED"],
      async handle(c, { path }) {
        await streams.remove(await streams.find(await streamId(path)));
        return c.body(null, 204);
      },
    }),
  ];
}
