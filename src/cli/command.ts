/**
 * What a command is, how its arguments are read, and how its help is shown.
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { editDistance } from "../distance.ts";
import { parseDurationMs, parseSizeBytes } from "./units.ts";

/** Exit codes, the same for every command (README, exit codes). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  resourceFailed: 3,
  unreachable: 4,
  refused: 5,
  interrupted: 130,
} as const;

/** Kind of an option's value; decides how it is read. */
type Kind = "flag" | "text" | "list" | "count" | "duration" | "size";

/** One option of a command. */
export interface Option {
  /** Kind of its value. */
  kind: Kind;
  /** What it does, with the unit and the default where there is one. */
  help: string;
  /** Stands for the value in the help. */
  value?: string;
  /** One-letter form. */
  short?: string;
  /** Environment variable that is read when the option is not given. */
  env?: string;
}

/** Values of options by name; those that were not given are missing. */
export interface Options {
  /** Whether a flag was given. */
  flag(name: string): boolean;
  /** A text. */
  text(name: string): string | undefined;
  /** All texts of an option that can be repeated. */
  list(name: string): string[];
  /** A whole number, a duration in ms or a size in bytes. */
  number(name: string): number | undefined;
}

/** One command of the program. */
export interface Command {
  /** Its name. */
  name: string;
  /** What it does, in one line. */
  summary: string;
  /** Names of its positional arguments, as the help shows them; those in brackets may be missing. */
  positionals: string[];
  /** Its options by name. */
  options: Record<string, Option>;
  /** Two examples. */
  examples: [string, string];
  /** Does it. Returns the exit code. */
  run(args: string[], options: Options): Promise<number>;
}

/** What was typed cannot be understood: exit code 2. */
export class UsageError extends Error {}

/** Options that every client command has. */
export const SERVER_OPTION: Record<string, Option> = {
  server: {
    kind: "text",
    value: "URL",
    env: "STREAM_SERVER",
    help: "server to talk to (default http://127.0.0.1:8090)",
  },
  "token-file": {
    kind: "text",
    value: "FILE",
    help: "file with the token for that server (default: what STREAM_TOKEN holds)",
  },
};

/** The server to talk to. */
export function serverOf(options: Options): string {
  return options.text("server") ?? "http://127.0.0.1:8090";
}

/**
 * Reads the arguments of a command.
 *
 * @param command The command.
 * @param argv What stands behind its name.
 * @param environment Environment variables.
 * @returns Positional arguments and options; null when help was asked for.
 * @throws {UsageError} That says what is wrong and what is right.
 */
export function readArguments(
  command: Command,
  argv: string[],
  environment: Record<string, string | undefined>,
): { args: string[]; options: Options } | null {
  const entries = Object.entries(command.options);
  const named = (wanted: (kind: Kind) => boolean) =>
    entries.filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  const unknown: string[] = [];
  const parsed: Record<string, unknown> & { _: (string | number)[] } = parseArgs(argv, {
    string: ["_", ...named((kind) => kind !== "flag")],
    boolean: ["help", ...named((kind) => kind === "flag")],
    collect: named((kind) => kind === "list"),
    alias: Object.fromEntries([
      ["h", "help"],
      ...entries.flatMap(([name, { short }]) => short === undefined ? [] : [[short, name]]),
    ]),
    unknown: (argument, key) => {
      if (key !== undefined) unknown.push(argument);
      return key === undefined;
    },
  });
  if (parsed.help === true) return null;
  if (unknown.length > 0) throw unknownOption(command, unknown[0]);
  const args = parsed._.map(String);
  checkPositionals(command, args);
  return { args, options: optionReader(command, parsed, environment) };
}

/** The help of one command. */
export function commandHelp({ name, summary, positionals, options, examples }: Command): string {
  const rows = Object.entries({ ...options, help: HELP_OPTION }).map(([option, about]) => {
    const short = about.short === undefined ? "    " : `-${about.short}, `;
    const value = about.value === undefined ? "" : ` ${about.value}`;
    const env = about.env === undefined ? "" : ` [${about.env}]`;
    return [`  ${short}--${option}${value}`, about.help + env];
  });
  return [
    `${summary}`,
    "",
    `usage: stream ${[name, ...positionals].join(" ")} [options]`,
    "",
    "options:",
    ...table(rows),
    "",
    "examples:",
    ...examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}

/** Two columns. */
export function table(rows: string[][]): string[] {
  const width = Math.max(...rows.map(([first]) => first.length)) + 2;
  return rows.map(([first, second]) => first.padEnd(width) + second);
}

/**
 * The known name that is nearest to a wrong one.
 *
 * @returns The name, or undefined when none is near.
 */
export function nearest(wrong: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(wrong, name) }))
    .sort((a, b) => a.distance - b.distance);
  const begun = known.find((name) => wrong.length > 1 && name.startsWith(wrong));
  const best = ranked[0];
  const limit = Math.min(wrong.length - 1, Math.max(2, wrong.length / 3));
  return begun ?? (best?.distance <= limit ? best.name : undefined);
}

const HELP_OPTION: Option = { kind: "flag", short: "h", help: "show this help" };

function unknownOption(command: Command, argument: string): UsageError {
  const known = [...Object.keys(command.options), "help"].map((name) => `--${name}`);
  const suggestion = nearest(argument.split("=")[0], known);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  return new UsageError(`${command.name} has no option ${argument}${hint}`);
}

function checkPositionals({ name, positionals }: Command, args: string[]): void {
  const required = positionals.filter((positional) => !positional.startsWith("["));
  if (args.length < required.length) {
    throw new UsageError(`${name} wants ${positionals[args.length]}`);
  }
  if (args.length > positionals.length) {
    throw new UsageError(
      `${name} does not know what to do with ${JSON.stringify(args[positionals.length])}`,
    );
  }
}

function optionReader(
  { options }: Command,
  parsed: Record<string, unknown>,
  environment: Record<string, string | undefined>,
): Options {
  const given = (name: string): string | undefined => {
    const value = parsed[name] as string | undefined;
    if (value === "") throw missingValue(name, options[name]);
    const variable = options[name].env;
    return value ?? (variable === undefined ? undefined : environment[variable] || undefined);
  };
  for (const [name, { kind }] of Object.entries(options)) {
    // Wrong values are found before anything is done.
    if (kind === "count" || kind === "duration" || kind === "size") {
      numberOf(name, kind, given(name));
    } else if (kind === "text") given(name);
    else if (kind === "list" && (parsed[name] as string[] | undefined)?.includes("")) {
      throw missingValue(name, options[name]);
    }
  }
  return {
    flag: (name) => parsed[name] === true,
    text: given,
    list: (name) => parsed[name] as string[] | undefined ?? [],
    number: (name) => numberOf(name, options[name].kind, given(name)),
  };
}

function missingValue(name: string, { value }: Option): UsageError {
  return new UsageError(`--${name} wants a value: ${value}`);
}

function numberOf(name: string, kind: Kind, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = kind === "duration"
    ? parseDurationMs(text)
    : kind === "size"
    ? parseSizeBytes(text)
    : /^\d+$/.test(text)
    ? Number(text)
    : null;
  if (value !== null && Number.isSafeInteger(value)) return value;
  const wanted = kind === "duration"
    ? "a duration such as 50ms, 30s, 10m, 1h or 7d"
    : kind === "size"
    ? "a size such as 4096, 64KiB, 256MB or 1GiB"
    : "a whole number";
  throw new UsageError(`--${name} ${text}: that is not ${wanted}`);
}
