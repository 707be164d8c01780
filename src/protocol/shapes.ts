/**
 * Shapes: what the properties of a message are, as a value that is checked and as a type that is inferred from it.
 * @module
 */
import { type DigestAlgorithm, DIGESTS } from "./digests.ts";
import { TRANSFER_STATUSES, type TransferStatus } from "./statuses.ts";

/** Values without properties of their own, by the name that shapes use. */
export interface Kinds {
  /** A text. */
  text: string;
  /** True or false. */
  flag: boolean;
  /** An integer from 0 to 2^53 - 1: a position, a count, an id. */
  offset: number;
  /** An integer of 53 bits with a sign. */
  integer: number;
  /** State of a transfer. */
  status: TransferStatus;
  /** Name of a digest algorithm. */
  algorithm: DigestAlgorithm;
}

/** The shape of a value: a kind, a list, null or something else, or an object. */
export type Shape =
  | keyof Kinds
  | readonly ["list of", Shape]
  | readonly ["null or", Shape]
  | Properties;

/** The shape of an object; a property whose name ends with `?` may be missing, and one that stands nowhere is ignored. */
export interface Properties {
  readonly [name: string]: Shape;
}

/** The type of the values that have a shape. */
export type ValueOf<S> = S extends keyof Kinds ? Kinds[S]
  : S extends readonly ["list of", infer Item] ? ValueOf<Item>[]
  : S extends readonly ["null or", infer Other] ? ValueOf<Other> | null
  : Flat<
    & { -readonly [Name in keyof S as RequiredName<Name>]: ValueOf<S[Name]> }
    & { -readonly [Name in keyof S as OptionalName<Name>]?: ValueOf<S[Name]> }
  >;

/** Name of a property that must be there. */
export type RequiredName<Name> = Name extends `${string}?` ? never : Name;

/** Name of a property that may be missing, without its mark. */
export type OptionalName<Name> = Name extends `${infer Plain}?` ? Plain : never;

/** One object type in place of an intersection. */
export type Flat<T> = { [Name in keyof T]: T[Name] };

/** Tells whether a value has a shape. */
export type Check = (value: unknown) => boolean;

const KINDS: { readonly [Kind in keyof Kinds]: Check } = {
  text: (value) => typeof value === "string",
  flag: (value) => typeof value === "boolean",
  offset: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  integer: (value) => Number.isSafeInteger(value),
  status: (value) => TRANSFER_STATUSES.includes(value as TransferStatus),
  algorithm: (value) => DIGESTS.includes(value as DigestAlgorithm),
};

/**
 * The checks of an object's properties, by their names.
 * @param shape The shape of the object.
 */
export function checksOf(shape: Properties): [name: string, check: Check][] {
  return Object.entries(shape).map(([name, inner]) => {
    const check = checkOf(inner);
    return name.endsWith("?")
      ? [name.slice(0, -1), (value) => value === undefined || check(value)]
      : [name, check];
  });
}

function checkOf(shape: Shape): Check {
  if (typeof shape === "string") return KINDS[shape];
  if (!isForm(shape)) return objectCheck(checksOf(shape));
  const [form, inner] = shape;
  const check = checkOf(inner);
  return form === "null or"
    ? (value) => value === null || check(value)
    : (value) => Array.isArray(value) && value.every(check);
}

function isForm(shape: Exclude<Shape, string>): shape is readonly ["list of" | "null or", Shape] {
  return Array.isArray(shape);
}

function objectCheck(checks: [name: string, check: Check][]): Check {
  return (value) =>
    typeof value === "object" && value !== null &&
    checks.every(([name, check]) => check((value as Record<string, unknown>)[name]));
}
