/**
 * Sessions: uploads and downloads as state machines, over a connection or over HTTP requests; the door of this room.
 * @module
 */
export {
  type ControlSession,
  HEARTBEAT,
  type HeartbeatTimes,
  type OwnMessages,
} from "./session/control.ts";
export { DownloadSession, type DownloadSessionOptions } from "./session/download.ts";
export { type HttpUpload, HttpUploads } from "./session/http_upload.ts";
export type { Content, Intake } from "./session/intake.ts";
export { Gatherer } from "./session/gather.ts";
export { SharedUploads } from "./session/shared_uploads.ts";
export { UploadSession, type UploadSessionOptions } from "./session/upload.ts";
