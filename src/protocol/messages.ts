/**
 * Messages: one table of their shapes, from which their types and checks are made (PROTOCOL.md 2.2, 3 and 4).
 * @module
 */
import { StreamError } from "./errors.ts";
import { jsonDepth } from "./json_depth.ts";
import { LIMITS } from "./limits.ts";
import { checksOf, type Flat, type Properties, type ValueOf } from "./shapes.ts";
import { excerpt } from "./text.ts";

const OUTCOME = { exitCode: ["null or", "offset"], signal: ["null or", "text"] } as const;

/**
 * Every message by its sender and its name `@`, with the shapes of its properties: kinds are those of {@link Kinds}, and
 * what ends with `?` may be missing (PROTOCOL.md 3 and 4).
 */
export const MESSAGES = {
  /** Messages an uploading client sends (PROTOCOL.md 3). */
  uploader: {
    StartUpload: {
      // A base client may leave the last one out.
      metadata: { filename: "text", mimeType: "text", "supportsLineAccess?": "flag" },
      "digests?": ["list of", "text"],
      "id?": "text",
      "secret?": "text",
      "messageBytes?": "offset",
    },
    ResumeUpload: { id: "text", secret: "text", "messageBytes?": "offset" },
    FinishUpload: { checksum: "text", "size?": "offset", "outcome?": OUTCOME },
    AbortUpload: { reason: "text" },
  },
  /** Messages a downloading client sends (PROTOCOL.md 4). */
  downloader: {
    RequestChunk: { startOffset: "offset", endOffset: "offset" },
    RequestLines: {
      startingLineIndex: "offset",
      linesCount: "offset",
      "startingByteOffset?": "offset",
    },
    LocateLines: { startingLineIndex: "integer", linesCount: "offset" },
    Follow: {
      from: "offset",
      "to?": ["null or", "offset"],
      "epoch?": ["null or", "offset"],
      "life?": ["null or", "text"],
      window: "offset",
      "messageBytes?": "offset",
    },
    Consumed: { offset: "offset" },
  },
  /** Messages a server sends (PROTOCOL.md 3, 4 and 5). */
  server: {
    ReadyForUpload: {
      reference: { uri: "text" },
      "id?": "text",
      "epoch?": "offset",
      "offset?": "offset",
      "limit?": "offset",
      "secret?": "text",
      "digest?": "algorithm",
      "stepReference?": "text",
      "messageBytes?": "offset",
    },
    Credit: { limit: "offset", acknowledged: "offset" },
    UploadAcknowledged: {
      size: "offset",
      "numberOflines?": ["null or", "offset"],
      checksum: "text",
      "digest?": "text",
    },
    StatusChanged: {
      resourceStatus: {
        transferStatus: "status",
        currentSize: "offset",
        numberOfLines: ["null or", "offset"],
        "durableSize?": "offset",
        "epoch?": "offset",
        "sequence?": "offset",
        "life?": "text",
        "failure?": ["null or", "text"],
        "outcome?": OUTCOME,
      },
    },
    Lines: {
      lines: ["list of", "text"],
      "startingLineIndex?": "offset",
      "startingByteOffset?": "offset",
      "next?": ["null or", { lineIndex: "offset", byteOffset: "offset" }],
    },
    LinesLocated: {
      startingLineIndex: "offset",
      linesCount: "offset",
      startOffset: "offset",
      endOffset: "offset",
    },
    FollowEnd: { offset: "offset" },
    Error: { code: "text", message: "text", "servers?": ["list of", "text"] },
  },
  /** Messages both ends of a native connection send (PROTOCOL.md 2.3). */
  both: {
    Ping: { id: "offset" },
    Pong: { id: "offset" },
  },
} as const;

/** The messages of one sender: objects with their name as `@` and the properties of their shape. */
export type MessagesOf<Sender extends keyof typeof MESSAGES> = {
  [Name in keyof typeof MESSAGES[Sender]]: Flat<
    { "@": Name } & ValueOf<typeof MESSAGES[Sender][Name]>
  >;
}[keyof typeof MESSAGES[Sender]];

/** Messages an uploading client sends (PROTOCOL.md 3). */
export type UploadRequest = MessagesOf<"uploader">;

/** Messages a downloading client sends (PROTOCOL.md 4). */
export type DownloadRequest = MessagesOf<"downloader">;

/** Messages a server sends (PROTOCOL.md 3, 4 and 5). */
export type ServerMessage = MessagesOf<"server">;

/** Messages both ends of a native connection send (PROTOCOL.md 2.3). */
export type Heartbeat = MessagesOf<"both">;

/** Every message of the protocol. */
export type Message = UploadRequest | DownloadRequest | ServerMessage | Heartbeat;

/** The message with a given name. */
export type MessageOf<Name extends Message["@"]> = Extract<Message, { "@": Name }>;

/** Position of a page's continuation within the lines of a resource (PROTOCOL.md 4.3). */
export interface LinePosition {
  /** Index of the line, from 0. */
  lineIndex: number;
  /** Bytes of that line which were delivered already. */
  byteOffset: number;
}

const CHECKS = new Map(
  Object.values(MESSAGES).flatMap((messages) =>
    Object.entries(messages as Record<string, Properties>)
      .map(([name, shape]) => [name, checksOf(shape)] as const)
  ),
);

/**
 * Writes a message as the text of one WebSocket message.
 *
 * @param message The message; properties that are `undefined` are left out.
 * @returns JSON.
 *
 * @example
 * ```ts
 * import { encodeMessage } from "@stream/live/protocol";
 *
 * console.log(encodeMessage({ "@": "Credit", limit: 65536, acknowledged: 0 }));
 * ```
 */
export function encodeMessage(message: Message): string {
  return JSON.stringify(message);
}

/**
 * Reads a control message and checks its shape (PROTOCOL.md 2.2).
 *
 * @param text The text of one WebSocket message.
 * @returns The message; properties this version does not know are kept and mean nothing.
 * @throws {StreamError} BAD_MESSAGE when it is no JSON object or a property is missing or of the wrong type;
 * UNKNOWN_MESSAGE when nobody knows its name.
 *
 * @example
 * ```ts
 * import { decodeMessage } from "@stream/live/protocol";
 *
 * const message = decodeMessage('{"@":"Credit","limit":65536,"acknowledged":0}');
 * if (message["@"] === "Credit") console.log(message.limit); // 65536
 * ```
 */
export function decodeMessage(text: string): Message {
  return checkMessage(parseMessage(text));
}

/** A message of whichever kind: an object with its name as `@`. */
export type NamedMessage = { readonly "@": string; readonly [property: string]: unknown };

/**
 * Reads a control message of whichever kind; its properties are not looked at (PROTOCOL.md 2.2).
 *
 * @param text The text of one WebSocket message.
 * @returns The message.
 * @throws {StreamError} BAD_MESSAGE when it is no JSON object with a name, or nested too deep.
 *
 * @example
 * ```ts
 * import { parseMessage } from "@stream/live/protocol";
 *
 * console.log(parseMessage('{"@":"Mark","label":"begin"}')["@"]); // Mark
 * ```
 */
export function parseMessage(text: string): NamedMessage {
  if (jsonDepth(text) > LIMITS.jsonDepth) {
    throw new StreamError(
      "BAD_MESSAGE",
      `a message is nested deeper than ${LIMITS.jsonDepth} levels`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new StreamError("BAD_MESSAGE", `a message is no JSON: ${excerpt(text)}`);
  }
  const name = typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)["@"]
    : undefined;
  if (typeof name !== "string") {
    throw new StreamError("BAD_MESSAGE", `a message has no property "@": ${excerpt(text)}`);
  }
  return value as NamedMessage;
}

/**
 * Checks the shape of a message that was read.
 *
 * @param value The message.
 * @returns The same.
 * @throws {StreamError} BAD_MESSAGE when a property is missing or of the wrong type; UNKNOWN_MESSAGE when nobody knows
 * its name.
 *
 * @example
 * ```ts
 * import { checkMessage } from "@stream/live/protocol";
 *
 * console.log(checkMessage({ "@": "FollowEnd", offset: 5 })["@"]); // FollowEnd
 * ```
 */
export function checkMessage(value: NamedMessage): Message {
  const name = value["@"];
  const checks = CHECKS.get(name);
  if (checks === undefined) {
    throw new StreamError("UNKNOWN_MESSAGE", `there is no message ${excerpt(name)}`);
  }
  for (const [property, check] of checks) {
    if (!check(value[property])) {
      throw new StreamError(
        "BAD_MESSAGE",
        `property "${property}" of ${name} is missing or malformed: ${
          excerpt(JSON.stringify(value))
        }`,
      );
    }
  }
  return value as Message;
}

/**
 * Whether a message of this name is part of the protocol.
 *
 * @param name What stands in `@`.
 *
 * @example
 * ```ts
 * import { isMessageName } from "@stream/live/protocol";
 *
 * console.log(isMessageName("Follow"), isMessageName("Mark")); // true false
 * ```
 */
export function isMessageName(name: string): boolean {
  return CHECKS.has(name);
}
