/**
 * JSON schemas (2020-12, as OpenAPI 3.1 has them): how they are written, and those that several rooms share.
 * @module
 */
import { ERRORS, TRANSFER_STATUSES } from "../../protocol.ts";

/** A schema; one with a `title` stands under that name, once, in the OpenAPI document. */
export type Schema = Readonly<Record<string, unknown>>;

/** Any text. */
export const TEXT: Schema = { type: "string" };
/** Yes or no. */
export const FLAG: Schema = { type: "boolean" };
/** How many, or where: never negative. */
export const COUNT: Schema = { type: "integer", minimum: 0 };
/** A time of RFC 3339. */
export const TIME: Schema = { type: "string", format: "date-time" };
/** An address. */
export const ADDRESS: Schema = { type: "string", format: "uri" };

/** One of some words. */
export function oneOf(words: readonly string[]): Schema {
  return { type: "string", enum: words };
}

/** A value of the schema, or null. */
export function orNull(schema: Schema): Schema {
  return { oneOf: [schema, { type: "null" }] };
}

/** Any number of what the schema says. */
export function array(items: Schema): Schema {
  return { type: "array", items };
}

/** All of these members, and perhaps some others. */
export function object(
  properties: Record<string, Schema>,
  optional: Record<string, Schema> = {},
): Schema {
  return {
    type: "object",
    properties: { ...properties, ...optional },
    required: Object.keys(properties),
  };
}

/** Code of an error. */
export const CODE: Schema = oneOf(Object.keys(ERRORS));

/** Members of a status. */
export const STATUS_MEMBERS: Readonly<Record<string, Schema>> = {
  transferStatus: oneOf(TRANSFER_STATUSES),
  currentSize: COUNT,
  numberOfLines: orNull(COUNT),
  durableSize: COUNT,
  epoch: COUNT,
  sequence: COUNT,
  life: TEXT,
  failure: orNull(TEXT),
};

/** Members of a status that may be missing. */
export const STATUS_EXTRAS: Readonly<Record<string, Schema>> = {
  outcome: object({ exitCode: orNull(COUNT), signal: orNull(TEXT) }),
};

/** A status. */
export const STATUS: Schema = {
  title: "ResourceStatus",
  ...object(STATUS_MEMBERS, STATUS_EXTRAS),
};

/** A resource as the HTTP interface shows it. */
export const RESOURCE: Schema = {
  title: "Resource",
  ...object({
    id: TEXT,
    filename: TEXT,
    mimeType: TEXT,
    supportsLineAccess: FLAG,
    ...STATUS_MEMBERS,
    contextId: orNull(TEXT),
    digest: orNull(object({ algorithm: TEXT, value: TEXT })),
    reference: ADDRESS,
    view: orNull(ADDRESS),
    createdAt: TIME,
    updatedAt: TIME,
  }, { ...STATUS_EXTRAS, stepReference: ADDRESS }),
};

/** An error as RFC 9457 has it. */
export const PROBLEM: Schema = {
  title: "Problem",
  ...object({
    title: TEXT,
    status: { type: "integer" },
    detail: TEXT,
    code: CODE,
    instance: { type: "string", description: "names the request: urn:request:ID" },
  }, {
    servers: { type: "array", items: TEXT, description: "where the service goes on" },
  }),
};
