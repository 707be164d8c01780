/**
 * Structured header fields (RFC 9651) as kinds of parameters; one that cannot be read makes the request malformed.
 * @module
 */
import { parseDictionary, parseItem, parseList, Token } from "structured-headers";
import { StreamError } from "../../protocol.ts";
import type { Kind } from "./parameters.ts";

/** `?1` or `?0`. */
export const structuredFlag: Kind<boolean> = {
  schema: { type: "string", enum: ["?0", "?1"] },
  read(text, name) {
    const value = parsed(parseItem, text)?.[0];
    if (typeof value === "boolean") return value;
    throw malformed(name, text, "neither ?0 nor ?1");
  },
};

/** A number of bytes. */
export const structuredCount: Kind<number> = {
  schema: { type: "integer", minimum: 0, maximum: 999_999_999_999_999 },
  read(text, name) {
    const value = parsed(parseItem, text)?.[0];
    if (Number.isInteger(value) && (value as number) >= 0) return value as number;
    throw malformed(name, text, "no whole number");
  },
};

/** Names, in order. */
export const structuredNames: Kind<readonly string[]> = {
  schema: { type: "string", description: "a list of names" },
  read(text) {
    return (parsed(parseList, text) ?? []).map(([value]) => String(value));
  },
};

/**
 * The byte sequences of a dictionary, by their names.
 * @param text The field.
 */
export function byteSequencesIn(text: string): Map<string, Uint8Array> {
  const members = [...parsed(parseDictionary, text) ?? []].map(([name, [value]]) =>
    [name, value] as const
  );
  return new Map(
    members.flatMap(([name, value]) =>
      value instanceof ArrayBuffer ? [[name, new Uint8Array(value)]] : []
    ),
  );
}

/**
 * Tells whether a dictionary has a name with a word as its value.
 * @param text The field.
 */
export function saysInDictionary(text: string, name: string, word: string): boolean {
  const value = parsed(parseDictionary, text)?.get(name)?.[0];
  return value instanceof Token && value.toString() === word;
}

/** What cannot be read was said all the same: nothing may be done as if it was not. */
function malformed(name: string, text: string, how: string): StreamError {
  return new StreamError("BAD_REQUEST", `${name}: ${text.slice(0, 80)} is ${how}`);
}

function parsed<Value>(parse: (text: string) => Value, text: string): Value | null {
  try {
    return parse(text);
  } catch {
    return null;
  }
}
