/** Messages as no peer should send them. */
import type { Chance } from "../random.ts";

/** Stands in a message for what JSON has no value for; see {@link RAW}. */
const MARK = "raw value";

/** What a number may be replaced with in the text. */
const RAW = [
  ...["NaN", "-Infinity", "undefined", "1e999", "-1e999", "1e-400", "-0", "0x10", "01", "1_000"],
  ...["9".repeat(400), "0." + "3".repeat(400), "'1'", "1n", ""],
];

const STRINGS = [
  ...["", " ", "NaN", "0", "-1", "null", "__proto__", "constructor", "toString", "hasOwnProperty"],
  ...["\0", "\r\n", "\u001b[31m", "\ud800", "\udc00\ud800", "\u202e", "..", "../../etc/passwd"],
  ...["%2e%2e%2f", "a\\b", "ＣＯＮ", "text/plain", "text/plain; charset=utf-8", "md5", "xxh128"],
];

const NUMBERS = [
  ...[0, -0, 1, -1, 0.5, 65_535, 65_536, 65_537, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53, 2 ** 64],
  ...[Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, Number.MAX_VALUE, Number.MIN_VALUE],
];

/** Any value that a property should not have. */
export function weird(chance: Chance): unknown {
  switch (chance.whole(0, 8)) {
    case 0:
      return null;
    case 1:
      return chance.happens(0.5);
    case 2:
      return [];
    case 3:
      return {};
    case 4:
      return nested(chance.whole(1, 40));
    case 5:
      return "x".repeat(chance.pick([256, 257, 1024, 1025, 70_000]));
    case 6:
      return chance.pick(NUMBERS);
    case 7:
      return MARK;
    default:
      return chance.pick(STRINGS);
  }
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { value };
  return value;
}

type Properties = Record<string, unknown>;

/** The text of a message after a few changes. */
export function mutate(chance: Chance, message: object): string {
  const changed = structuredClone(message) as Properties;
  const times = chance.whole(1, 3);
  for (let time = 0; time < times; time++) change(chance, anyObjectIn(chance, changed));
  const text = JSON.stringify(changed).replaceAll(`"${MARK}"`, () => chance.pick(RAW));
  return chance.happens(0.2) ? damage(chance, text) : text;
}

/** The message, or an object within it. */
function anyObjectIn(chance: Chance, message: Properties): Properties {
  const inner = Object.values(message).filter((value) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
  ) as Properties[];
  return chance.pick([message, ...inner]);
}

function change(chance: Chance, properties: Properties): void {
  const names = Object.keys(properties);
  const name = chance.pick(names.length === 0 ? ["@"] : names);
  switch (chance.whole(0, 4)) {
    case 0:
      delete properties[name];
      return;
    case 1:
      return define(properties, chance.pick(STRINGS), weird(chance));
    case 2:
      return define(properties, chance.pick(STRINGS), properties[name]);
    default:
      return define(properties, name, weird(chance));
  }
}

/** An assignment would change the prototype. */
function define(properties: Properties, name: string, value: unknown): void {
  const settings = { enumerable: true, configurable: true, writable: true };
  Object.defineProperty(properties, name, { value, ...settings });
}

/** A text that is cut, doubled or changed somewhere. */
function damage(chance: Chance, text: string): string {
  const at = chance.whole(0, text.length);
  const end = chance.whole(at, text.length);
  switch (chance.whole(0, 4)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, end) + text.slice(at);
    case 2:
      return text.slice(0, at) + chance.pick(STRINGS) + text.slice(end);
    case 3:
      return `[${text}]`;
    default:
      return chance.pick(["[", "{", '{"@":']).repeat(chance.whole(1, 20_000));
  }
}

/** An upload as its peers know it. */
export interface Known {
  id: string;
  secret: string;
}

/** A number that a message may well hold, or just not. */
function numberNear(chance: Chance, near: number): number {
  return chance.pick([0, 1, 2, near, near + 1, near - 1, 65_536, 10 ** 6, Number.MAX_SAFE_INTEGER]);
}

/** Any message of the protocol, of either side. */
export function anyMessage(chance: Chance, known: readonly Known[], near: number): object {
  const number = () => numberNear(chance, near);
  const { id, secret } = known.length === 0 ? { id: "", secret: "" } : chance.pick(known);
  return chance.pick<() => object>([
    () => startUpload(chance),
    () => ({ "@": "ResumeUpload", id, secret: chance.pick([secret, "", "0".repeat(64)]) }),
    () => ({ "@": "FinishUpload", checksum: "0".repeat(32), size: number() }),
    () => ({ "@": "AbortUpload", reason: chance.pick(["enough", "\0\u001b[31m", ""]) }),
    () => ({ "@": "RequestChunk", startOffset: number(), endOffset: number() }),
    () => ({ "@": "RequestLines", startingLineIndex: number(), linesCount: number() }),
    () => ({
      ...{ "@": "RequestLines", startingLineIndex: number(), linesCount: number() },
      startingByteOffset: number(),
    }),
    () => ({ "@": "LocateLines", startingLineIndex: -number(), linesCount: number() }),
    () => ({ "@": "Follow", from: number(), to: number(), epoch: 1, window: number() }),
    () => ({ "@": "Consumed", offset: number() }),
    () => ({ "@": "Ping", id: number() }),
    () => ({ "@": "Pong", id: number() }),
    () => ({ "@": "Credit", limit: number(), acknowledged: number() }),
    () => ({ "@": "StatusChanged", resourceStatus: {} }),
    () => ({ "@": "Error", code: "INTERNAL", message: "no" }),
    () => ({ "@": chance.pick(["__proto__", "constructor", "toString", "Nobody", ""]) }),
  ])();
}

export function startUpload(chance: Chance): object {
  const metadata = {
    filename: chance.pick(["a.log", "../../etc/passwd", "\u001b[31m\r\n", "名前"]),
    mimeType: chance.pick(["text/plain", "application/octet-stream"]),
    supportsLineAccess: chance.happens(0.7),
  };
  const digests = chance.pick([undefined, ["md5"], ["nothing", "sha256"], ["xxh128", "md5"]]);
  return { "@": "StartUpload", metadata, digests };
}
