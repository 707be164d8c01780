/**
 * Parameters of requests: one description checks a value and documents it (PROTOCOL.md 6).
 * @module
 */
import type { Context } from "hono";
import { StreamError } from "../../protocol.ts";
import { oneOf, type Schema, TEXT } from "./schemas.ts";

/** Kind of value that a parameter's text stands for. */
export interface Kind<Value> {
  /** The values that are allowed. */
  readonly schema: Schema;
  /**
   * Reads a value.
   * @param text The text; of the first one where a request has several.
   * @param name The name, for errors.
   * @throws {StreamError} BAD_REQUEST for a text that the schema does not allow.
   */
  read(text: string, name: string): Value;
}

/** One parameter of a request. */
export interface Parameter<Value = unknown> {
  /** Where it stands. */
  readonly in: "path" | "query" | "header";
  /** Its name there. */
  readonly name: string;
  /** Its meaning. */
  readonly description: string;
  /** The values that are allowed, and the default. */
  readonly schema: Schema;
  /** Whether it is the rest of a path, slashes included. */
  readonly isRest?: true;
  /** Whether who knows it owns something: it is kept out of logs. */
  readonly isSecret: boolean;
  /**
   * Reads it from a request.
   * @throws {StreamError} BAD_REQUEST.
   */
  valueIn(c: Context): Value;
}

/** Parameters by the names that a handler gives them. */
export type Parameters = Readonly<Record<string, Parameter>>;

/** The values of parameters. */
export type Values<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer Value> ? Value : never;
};

/** Names and texts in errors are cut to so many characters. */
const EXCERPT_CHARS = 80;

/** Any text. */
export const text: Kind<string> = { schema: TEXT, read: (text) => text };

/** Yes or no. */
export const flag: Kind<boolean> = {
  schema: { type: "boolean" },
  read(text, name) {
    if (text === "true" || text === "false") return text === "true";
    throw wrong(name, text, "is neither true nor false");
  },
};

/**
 * A whole number.
 * @param min The least.
 * @param max The most.
 */
export function integer(min: number, max: number): Kind<number> {
  return {
    schema: { type: "integer", minimum: min, maximum: max },
    read(text, name) {
      const number = Number(text);
      if (/^-?\d+$/.test(text) && number >= min && number <= max) return number;
      throw wrong(name, text, `is not a whole number from ${min} to ${max}`);
    },
  };
}

/** One of some words. */
export function choice<Word extends string>(words: readonly Word[]): Kind<Word> {
  return {
    schema: oneOf(words),
    read(text, name) {
      if (words.includes(text as Word)) return text as Word;
      throw wrong(name, text, `is none of ${words.join(", ")}`);
    },
  };
}

/** A part of the path. */
export function inPath(name: string, description: string): Parameter<string> {
  const valueIn = (c: Context) => c.req.param(name)!;
  return { in: "path", name, description, schema: TEXT, isSecret: false, valueIn };
}

/** The rest of the path, slashes included. */
export function restOfPath(name: string, description: string): Parameter<string> {
  return { ...inPath(name, description), isRest: true };
}

/** A part of the path that is told to nobody, logs included; nor is what follows it. */
export function secretInPath(name: string, description: string): Parameter<string> {
  return { ...inPath(name, description), isSecret: true };
}

/** A parameter of the query; the first, where there are several of its name. */
export function inQuery<Value>(
  name: string,
  description: string,
  kind: Kind<Value>,
): Parameter<Value | undefined>;
/** The same, with a value for requests without it. */
export function inQuery<Value>(
  name: string,
  description: string,
  kind: Kind<Value>,
  byDefault: Value,
): Parameter<Value>;
export function inQuery<Value>(
  name: string,
  description: string,
  kind: Kind<Value>,
  byDefault?: Value,
): Parameter<Value | undefined> {
  return {
    in: "query",
    name,
    description,
    schema: byDefault === undefined ? kind.schema : { ...kind.schema, default: byDefault },
    isSecret: false,
    valueIn(c) {
      const text = c.req.query(name);
      return text === undefined ? byDefault : kind.read(text, name);
    },
  };
}

/**
 * A parameter of the query that may be repeated.
 * @param maxItems How often.
 */
export function listInQuery<Value>(
  name: string,
  description: string,
  kind: Kind<Value>,
  maxItems: number,
): Parameter<Value[] | undefined> {
  return {
    in: "query",
    name,
    description,
    schema: { type: "array", items: kind.schema, maxItems },
    isSecret: false,
    valueIn(c) {
      const texts = c.req.queries(name);
      if (texts === undefined || texts.length <= maxItems) {
        return texts?.map((text) => kind.read(text, name));
      }
      throw new StreamError(
        "BAD_REQUEST",
        `${name}= is given ${texts.length} times: ${maxItems} are the most`,
      );
    },
  };
}

/** A field of the head; undefined without it. */
export function inHeader<Value>(
  name: string,
  description: string,
  kind: Kind<Value>,
): Parameter<Value | undefined> {
  return {
    in: "header",
    name,
    description,
    schema: kind.schema,
    isSecret: false,
    valueIn(c) {
      const text = c.req.header(name);
      return text === undefined ? undefined : kind.read(text, name);
    },
  };
}

function wrong(name: string, text: string, how: string): StreamError {
  return new StreamError("BAD_REQUEST", `${name}=${text.slice(0, EXCERPT_CHARS)} ${how}`);
}
