/**
 * Names that go over the wire: subprotocols, paths, parameters (PROTOCOL.md 2 to 6).
 * @module
 */
/** WebSocket subprotocol of native connections; without it a connection is a Step connection (PROTOCOL.md 2). */
export const SUBPROTOCOL = "stream.v1";

/** A subprotocol with this prefix carries a bearer token, as browsers can set no header (PROTOCOL.md 8.2). */
export const TOKEN_SUBPROTOCOL = "stream.bearer.";

/** Path on which uploads are opened (PROTOCOL.md 3). */
export const UPLOAD_PATH = "/ws/streaming/upload";

/** Path below which downloads are opened; the resource id follows (PROTOCOL.md 4). */
export const DOWNLOAD_PATH = "/ws/streaming/download";

/** Path of the HTTP interface; `/<id>` follows for one resource (PROTOCOL.md 6). */
export const RESOURCES_PATH = "/resources";

/** Path of uploads that can be continued by HTTP; `/<id>/<secret>` follows (PROTOCOL.md 6.7). */
export const UPLOADS_PATH = "/uploads";

/** Interop version of the draft of resumable uploads that is spoken (PROTOCOL.md 6.7). */
export const INTEROP_VERSION = 8;

/** Path of the upload contexts; `/<id>` follows for one of them (PROTOCOL.md 6.8). */
export const CONTEXTS_PATH = "/contexts";

/** Path of the pages for people; `/<id>` follows for one resource (PROTOCOL.md 6.10). */
export const VIEW_PATH = "/view";

/** Path of what happens to resources (PROTOCOL.md 6.5). */
export const EVENTS_PATH = "/events";

/** Query parameter that names the upload context (PROTOCOL.md 3.1). */
export const CONTEXT_PARAMETER = "streamingUploadContextId";
