/**
 * What all nodes of a cluster must be given alike.
 * @module
 */
import { authInWords } from "../auth.ts";
import type { Option, Options } from "../command.ts";

/** What all nodes of a cluster must be given alike, besides who may do what. */
const COMMON = [
  ...["base-url", "resume-window", "require-context", "step-contexts"],
  ...["max-total", "max-context-size", "max-resource-size", "min-free", "retention"],
];

/**
 * What all nodes must be given alike, as it was given to this one.
 * @param options What it was given.
 * @param table The options of `stream serve`.
 */
export function commonOf(options: Options, table: Record<string, Option>): Record<string, string> {
  const settings = COMMON.map((name) => [`--${name}`, wordsFor(options, name, table[name])]);
  return { "--auth": authInWords(options), ...Object.fromEntries(settings) };
}

/** The value of an option: the same for the same, however it was written. */
function wordsFor(options: Options, name: string, { kind }: Option): string {
  if (kind === "flag") return options.flag(name) ? "given" : "not given";
  if (kind === "text") return options.text(name) ?? "not given";
  const value = options.number(name);
  if (value === undefined) return "not given";
  return kind === "duration" ? `${value / 1000} s` : `${value} bytes`;
}
