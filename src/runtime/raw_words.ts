/**
 * Arguments and variables that are not UTF-8: the runtimes hand them on with replacement characters, variables on Deno
 * not at all. A shell makes them of their bytes again.
 * @module
 */
import { readFileSync } from "node:fs";

/** What stands for bytes that are none of UTF-8. */
export const REPLACED = "\ufffd";

/**
 * The bytes of an argument of this process, where the system tells them.
 * @param text The argument as the runtime hands it over.
 */
export function rawArgument(text: string): Uint8Array | undefined {
  return piecesOf("/proc/self/cmdline").find((word) => decoded(word) === text);
}

/**
 * The command line, if need be behind a shell, that gives a program the bytes of our last arguments and our environment.
 * @param words Our last arguments, as the runtime hands them over.
 */
export function asGiven(words: readonly string[]): readonly string[] {
  const raw = piecesOf("/proc/self/cmdline").slice(-words.length);
  const variables = piecesOf("/proc/self/environ").filter(isReplaced).flatMap(exported);
  const replaced = words.map((word, at) =>
    word.includes(REPLACED) && raw[at] !== undefined && decoded(raw[at]) === word
  );
  if (variables.length === 0 && !replaced.includes(true)) return words;
  const made = words.flatMap((_, at) => replaced[at] ? [`word_${at}=${substituted(raw[at])}`] : []);
  const given = words.map((_, at) => replaced[at] ? `"\${word_${at}%.}"` : `"\${${at + 1}}"`);
  return [
    "sh",
    "-c",
    [...variables, ...made, `exec ${given.join(" ")}`].join("; "),
    "sh",
    ...words,
  ];
}

/** Bytes as a text of ASCII that the shell's `printf %b` makes them of. */
export function octal(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\0${byte.toString(8).padStart(3, "0")}`).join("");
}

/** A substitution loses line breaks at its end, but for the dot behind them. */
function substituted(bytes: Uint8Array): string {
  return `$(printf %b. '${octal(bytes)}')`;
}

function exported(variable: Uint8Array): string[] {
  const at = variable.indexOf("=".charCodeAt(0));
  const name = decoded(variable.subarray(0, at));
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return [];
  const value = substituted(variable.subarray(at + 1));
  return [`${name}=${value}; ${name}=\${${name}%.}; export ${name}`];
}

function isReplaced(bytes: Uint8Array): boolean {
  return decoded(bytes).includes(REPLACED);
}

function decoded(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

function piecesOf(path: string): Uint8Array[] {
  try {
    const bytes = readFileSync(path);
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(0, at);
      pieces.push(bytes.subarray(at, end < 0 ? bytes.length : end));
      at += pieces.at(-1)!.length + 1;
    }
    return pieces;
  } catch {
    return [];
  }
}
