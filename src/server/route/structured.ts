/**
 * Structured header fields (RFC 9651) as kinds of parameters; a malformed one counts as none, as the RFC has it.
 * @module
 */
import { parseDictionary, parseItem, parseList, Token } from "structured-headers";
import type { Kind } from "./parameters.ts";

/** `?1` or `?0`. */
export const structuredFlag: Kind<boolean | undefined> = {
  schema: { type: "string", enum: ["?0", "?1"] },
  read(text) {
    const value = parsed(parseItem, text)?.[0];
    return typeof value === "boolean" ? value : undefined;
  },
};

/** A number of bytes. */
export const structuredCount: Kind<number | undefined> = {
  schema: { type: "integer", minimum: 0, maximum: 999_999_999_999_999 },
  read(text) {
    const value = parsed(parseItem, text)?.[0];
    return Number.isInteger(value) && (value as number) >= 0 ? value as number : undefined;
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

function parsed<Value>(parse: (text: string) => Value, text: string): Value | null {
  try {
    return parse(text);
  } catch {
    return null;
  }
}
