/**
 * What a command is, how its arguments are read, and how its help is shown.
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { editDistance } from "../distance.ts";
import { httpBase, toStreamError } from "../protocol.ts";
import { parseDurationMs, parseSizeBytes, parseTimeMs } from "./units.ts";

/** Exit codes, the same for every command (README, exit codes). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  resourceFailed: 3,
  unreachable: 4,
  refused: 5,
  late: 124,
  interrupted: 130,
} as const;

/** Kind of an option's value; decides how it is read. */
export type Kind = "flag" | "text" | "list" | "count" | "duration" | "size" | "time";

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
  /** Environment variable, besides `STREAM_COMMAND_OPTION`. */
  env?: string;
}

/** Environment variables. */
export type Environment = Record<string, string | undefined>;

/** A value that somebody set. */
export interface Setting {
  /** True or false of a flag, all texts of a list, the text of anything else. */
  value: string | boolean | string[];
  /** Where it was set. */
  source: string;
}

/** What a configuration file sets of one command's options. */
export type FileSettings = Record<string, Setting>;

/** Reads what a configuration file sets of a command's options; without a path, the usual file. */
export type ReadFile = (command: Command, path: string | undefined) => FileSettings;

/** Values of options by name; those that were not set are missing. */
export interface Options {
  /** Whether a flag is set. */
  flag(name: string): boolean;
  /** A text. */
  text(name: string): string | undefined;
  /** All texts of an option that can be repeated. */
  list(name: string): string[];
  /** A whole number, a duration in ms, a size in bytes, or a time in ms since 1970. */
  number(name: string): number | undefined;
  /** The error of a value that is set and cannot be one; it says where that was set. */
  wrong(name: string, why: string): UsageError;
}

/** One command of the program. */
export interface Command {
  /** Its name. */
  name: string;
  /** What it does, in one line. */
  summary: string;
  /**
   * Names of its positional arguments, as the help shows them; those in brackets may be missing, one with an ellipsis may
   * be repeated.
   */
  positionals: string[];
  /** Whether its arguments are another program's command line: what follows the first of them is not looked at. */
  runsCommand?: true;
  /** Its options by name. */
  options: Record<string, Option>;
  /** Names that the help lists behind the options, by title. */
  lists?: Record<string, readonly string[]>;
  /** Two examples. */
  examples: [string, string];
  /** Does it. Returns the exit code. */
  run(args: string[], options: Options): Promise<number>;
}

/** What REF stands for in the arguments of commands. */
export const REFERENCE_HELP =
  "REF is what a push printed, the address of a page, an id or the beginning of one, or CONTEXT/NAME";

/** What was typed cannot be understood: exit code 2. */
export class UsageError extends Error {}

/** Options that every client command has. */
export const SERVER_OPTION: Record<string, Option> = {
  server: {
    kind: "text",
    value: "URL",
    env: "STREAM_SERVER",
    help: "server to talk to, or several of one service: A,B (default http://127.0.0.1:8090)",
  },
  "token-file": {
    kind: "text",
    value: "FILE",
    help: "file with the token for that server (default: what STREAM_TOKEN holds)",
  },
  ca: {
    kind: "text",
    value: "FILE",
    env: "STREAM_CA",
    help: "trust these authorities, too: certificates in PEM (default: those of the system)",
  },
};

/** An option of commands that tell people how things go. */
export const QUIET_OPTION: Record<string, Option> = {
  quiet: { kind: "flag", short: "q", help: "say on stderr only what fails, and show no progress" },
};

/**
 * The server to talk to, or several of one service.
 * @throws {UsageError} For what is no address.
 */
export function serverOf(options: Options): string {
  const servers = options.text("server");
  if (servers === undefined) return "http://127.0.0.1:8090";
  try {
    for (const server of servers.split(",")) httpBase(server.trim());
  } catch (error) {
    throw options.wrong("server", toStreamError(error).message);
  }
  return servers;
}

/**
 * Reads the arguments of a command.
 *
 * @param command The command.
 * @param argv What stands behind its name.
 * @param environment Environment variables.
 * @param readFile Reads the configuration file; there is none by default.
 * @returns Positional arguments and options; null when help was asked for.
 * @throws {UsageError} That says what is wrong and what is right.
 */
export function readArguments(
  command: Command,
  argv: string[],
  environment: Environment,
  readFile: ReadFile = () => ({}),
): { args: string[]; options: Options } | null {
  const entries = Object.entries(command.options);
  const named = (wanted: (kind: Kind) => boolean) =>
    entries.filter(([, { kind }]) => wanted(kind)).map(([name]) => name);
  const unknown: string[] = [];
  const valued = valueNames(command);
  const ownLength = command.runsCommand ? startOfCommand(argv, valued) : argv.length;
  const words = withEmptyValues(takenApart(argv.slice(0, ownLength), command), valued);
  const parsed: Record<string, unknown> & { _: (string | number)[] } = parseArgs(words, {
    string: ["_", "config", ...named((kind) => kind !== "flag")],
    boolean: ["help", ...named((kind) => kind === "flag")],
    default: Object.fromEntries(named((kind) => kind === "flag").map((name) => [name, undefined])),
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
  checkFlags(command, words);
  const args = [...parsed._.map(String), ...argv.slice(ownLength)];
  checkPositionals(command, args);
  checkEnvironment(command, environment);
  const config = typed("config", CONFIG_OPTION, parsed.config) ??
    inEnvironment(["STREAM_CONFIG"], "text", environment);
  const file = readFile(command, config?.value as string | undefined);
  const settings = settingsOf(command, parsed, environment, file);
  if (config !== undefined) settings.set("config", config);
  return { args, options: optionReader(command, settings) };
}

/** The help of one command. */
export function commandHelp(command: Command): string {
  const { summary, options, lists = {}, examples } = command;
  const rows = Object.entries({ ...options, ...COMMON_OPTIONS }).map(([option, about]) => {
    const short = about.short === undefined ? "    " : `-${about.short}, `;
    const value = about.value === undefined ? "" : ` ${about.value}`;
    const env = about.env === undefined ? "" : ` [${about.env}]`;
    return [`  ${short}--${option}${value}`, about.help + env];
  });
  return [
    `${summary}`,
    "",
    `usage: ${usageOf(command)}`,
    ...command.positionals.some((name) => name.includes("REF")) ? ["", REFERENCE_HELP] : [],
    "",
    "options:",
    ...table(rows),
    ...Object.entries(lists).flatMap(([title, names]) => ["", `${title}:`, ...wrap(names)]),
    "",
    "examples:",
    ...examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}

/** How a command is typed. */
export function usageOf({ name, positionals, runsCommand }: Command): string {
  const words = runsCommand ? ["[options]", "--", ...positionals] : [...positionals, "[options]"];
  return ["stream", name, ...words].join(" ");
}

/** Lines of at most 80 columns. */
export function wrap(names: readonly string[]): string[] {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + name.length < 79) lines.push(`${lines.pop()} ${name}`);
    else lines.push(`  ${name}`);
  }
  return lines;
}

/** Two columns. */
export function table(rows: string[][]): string[] {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from(
    { length: columns - 1 },
    (_, at) => Math.max(...rows.map((row) => row[at].length)) + 2,
  );
  return rows.map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(""));
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

const CONFIG_OPTION: Option = {
  kind: "text",
  value: "FILE",
  env: "STREAM_CONFIG",
  help: "take options from FILE (default ~/.config/stream/stream.toml)",
};

/** Options that every command has. */
export const COMMON_OPTIONS: Record<string, Option> = {
  config: CONFIG_OPTION,
  help: { kind: "flag", short: "h", help: "show this help" },
};

/** What stands before the value of an option: `--name`, and `-n` where there is such a form. */
function valueNames({ options }: Command): Set<string> {
  const valued = Object.entries({ ...options, ...COMMON_OPTIONS })
    .filter(([, { kind }]) => kind !== "flag");
  return new Set(
    valued.flatMap((
      [name, { short }],
    ) => [`--${name}`, ...short === undefined ? [] : [`-${short}`]]),
  );
}

/** Index of the first word of another program's command line: behind two dashes, or the first that is no option of ours. */
function startOfCommand(argv: string[], valued: Set<string>): number {
  for (let at = 0; at < argv.length; at++) {
    if (argv[at] === "--") return at + 1;
    if (!argv[at].startsWith("-")) return at;
    if (valued.has(argv[at])) at++;
  }
  return argv.length;
}

/** @throws {UsageError} For a flag with a value that is neither true nor false: the parser would take it for true. */
function checkFlags({ options }: Command, words: string[]): void {
  for (const word of words) {
    if (word === "--") return;
    const [, name, value] = /^--([^=]+)=(.*)$/s.exec(word) ?? [];
    const isFlag = Object.hasOwn(options, name ?? "") && options[name].kind === "flag";
    if (!isFlag || value === "true" || value === "false") continue;
    throw new UsageError(`${word}: a flag is given without a value, or is true or false`);
  }
}

/** Letters one by one, `-nC2` as `-n --context=2`: the parser takes everything before a digit for the value of the first. */
function takenApart(argv: string[], { options }: Command): string[] {
  const names = new Map(
    Object.entries({ ...options, ...COMMON_OPTIONS }).map(([name, { short }]) => [short, name]),
  );
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const apart = (word: string): string[] => {
    const [, letter, rest] = /^-([^-])(.+)$/s.exec(word) ?? [];
    const name = names.get(letter);
    if (letter === undefined) return [word];
    if (name === undefined) return [`-${letter}`];
    if (options[name]?.kind !== "flag") return [`--${name}=${rest.replace(/^=/, "")}`];
    return [`-${letter}`, ...apart(`-${rest}`)];
  };
  return [...argv.slice(0, end).flatMap(apart), ...argv.slice(end)];
}

/** Ties empty values to their options: the parser would take them for arguments. */
function withEmptyValues(argv: string[], names: Set<string>): string[] {
  const words: string[] = [];
  for (const word of argv) {
    const before = words.at(-1) ?? "";
    if (word === "" && names.has(before) && !words.includes("--")) words[words.length - 1] += "=";
    else words.push(word);
  }
  return words;
}

/** @throws {UsageError} For a variable that is meant for this command and names none of its options. */
function checkEnvironment(command: Command, environment: Environment): void {
  const prefix = `STREAM_${command.name.toUpperCase()}_`;
  const known = Object.keys(command.options).flatMap((name) => variablesOf(command, name));
  for (const [name, value] of Object.entries(environment)) {
    if (!value || !name.startsWith(prefix) || known.includes(name)) continue;
    const suggestion = nearest(name, known);
    const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
    throw new UsageError(`${name} is set, and ${command.name} has no such option${hint}`);
  }
}

function unknownOption(command: Command, argument: string): UsageError {
  const known = [...Object.keys(command.options), ...Object.keys(COMMON_OPTIONS)].map((name) =>
    `--${name}`
  );
  const suggestion = nearest(argument.split("=")[0], known);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  return new UsageError(`${command.name} has no option ${argument}${hint}`);
}

function checkPositionals({ name, positionals, runsCommand }: Command, args: string[]): void {
  const required = positionals.filter((positional) => !positional.startsWith("["));
  if (args.length < required.length) {
    throw new UsageError(`${name} wants ${positionals[args.length]}`);
  }
  const takesMore = positionals.at(-1)?.includes("…") === true;
  if (args.length > positionals.length && !takesMore) {
    throw new UsageError(
      `${name} does not know what to do with ${JSON.stringify(args[positionals.length])}`,
    );
  }
  const empty = args.indexOf("");
  if (empty < 0 || runsCommand && empty > 0) return;
  const wanted = positionals[Math.min(empty, positionals.length - 1)];
  throw new UsageError(`${name} wants ${wanted}, which is empty`);
}

/**
 * What is set of a command's options: the command line first, then the environment, then the file.
 *
 * @param command The command.
 * @param parsed What was typed, by option.
 * @param environment Environment variables.
 * @param file What the configuration file sets.
 * @returns Values by option; those that nobody set are missing.
 * @throws {UsageError} That names the place of a value that cannot be one.
 */
export function settingsOf(
  command: Command,
  parsed: Record<string, unknown>,
  environment: Environment,
  file: FileSettings,
): Map<string, Setting> {
  const settings = new Map<string, Setting>();
  for (const [name, option] of Object.entries(command.options)) {
    const setting = typed(name, option, parsed[name]) ??
      inEnvironment(variablesOf(command, name), option.kind, environment) ?? file[name];
    if (setting === undefined) continue;
    settings.set(name, setting);
    // Wrong values are found before anything is done.
    numberOf(option.kind, setting);
  }
  return settings;
}

/** Environment variables of an option, the more specific one first. */
function variablesOf({ name, options }: Command, option: string): string[] {
  const own = `STREAM_${name}_${option}`.toUpperCase().replaceAll("-", "_");
  const { env } = options[option];
  return env === undefined ? [own] : [own, env];
}

function typed(name: string, option: Option, value: unknown): Setting | undefined {
  if (value === "" || Array.isArray(value) && value.includes("")) {
    throw new UsageError(`--${name} wants a value: ${option.value}`);
  }
  if (value === undefined || Array.isArray(value) && value.length === 0) return undefined;
  return { value: value as Setting["value"], source: `--${name}` };
}

function inEnvironment(
  variables: string[],
  kind: Kind,
  environment: Environment,
): Setting | undefined {
  const source = variables.find((variable) => environment[variable]);
  if (source === undefined) return undefined;
  const text = environment[source]!;
  if (kind === "list") return { value: text.split(","), source };
  if (kind !== "flag") return { value: text, source };
  if (text !== "true" && text !== "false") {
    throw new UsageError(`${source} ${text}: that is neither true nor false`);
  }
  return { value: text === "true", source };
}

function optionReader({ options }: Command, settings: Map<string, Setting>): Options {
  const value = (name: string) => settings.get(name)?.value;
  return {
    flag: (name) => value(name) === true,
    text: (name) => value(name) as string | undefined,
    list: (name) => value(name) as string[] | undefined ?? [],
    number: (name) => numberOf(options[name].kind, settings.get(name)),
    wrong: (name, why) => wrongValue(settings.get(name)!, why),
  };
}

/** The number of a setting that is one. */
function numberOf(kind: Kind, setting: Setting | undefined): number | undefined {
  if (setting === undefined || !(kind in NUMBERS)) return undefined;
  const { wanted, parse } = NUMBERS[kind as keyof typeof NUMBERS];
  const value = parse(String(setting.value));
  if (value !== null && Number.isSafeInteger(value)) return value;
  throw wrongValue(setting, `that is not ${wanted}`);
}

function wrongValue({ source, value }: Setting, why: string): UsageError {
  // What a log shows is no place for a password.
  const shown = String(value).replace(/\/\/[^/]*@/g, "//…@");
  return new UsageError(`${source} ${shown}: ${why}`);
}

const NUMBERS = {
  count: {
    wanted: "a whole number",
    parse: (text: string) => /^\d+$/.test(text) ? Number(text) : null,
  },
  duration: { wanted: "a duration such as 50ms, 30s, 10m, 1h or 7d", parse: parseDurationMs },
  time: {
    wanted: "a duration such as 2h, or a time such as 2026-11-28T10:00Z",
    parse: parseTimeMs,
  },
  size: { wanted: "a size such as 4096, 64KiB, 256MB or 1GiB", parse: parseSizeBytes },
};
