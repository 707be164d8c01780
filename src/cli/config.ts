/**
 * The configuration file, and `stream config`, which shows what holds in the end.
 * @module
 */
import { isUtf8 } from "node:buffer";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parse, TomlError, type TomlTable } from "smol-toml";
import {
  type Command,
  type Environment,
  EXIT,
  type FileSettings,
  type Kind,
  nearest,
  type ReadFile,
  type Setting,
  settingsOf,
  table,
  UsageError,
} from "./command.ts";
import { reasonOf } from "../reasons.ts";
import { userDirectory } from "./home.ts";
import { printLine, visibleJson } from "./output/output.ts";

/**
 * Reads configuration files: a section for each command, and before the first section what holds for
 * every command that has such an option.
 *
 * @param commands All commands; whatever else a file names is an error.
 */
export function configReader(commands: readonly Command[]): ReadFile {
  return (command, path) => {
    const file = path ?? usualPath();
    const document = file === null ? null : load(file, path !== undefined);
    if (file === null || document === null) return {};
    const shared = Object.entries(document).filter(([, value]) => !isTable(value));
    for (const [key] of shared) checkName(file, "", key, commands.flatMap(optionNames));
    for (const [section, values] of Object.entries(document)) {
      if (isTable(values)) checkSection(file, section, values, commands);
    }
    const own = document[command.name] as TomlTable | undefined ?? {};
    return {
      ...settings(file, "", command, Object.fromEntries(shared)),
      ...settings(file, command.name, command, own),
    };
  };
}

/** Shows the settings of commands. */
export function configCommand(commands: readonly Command[], read: ReadFile): Command {
  return {
    name: "config",
    summary: "show the options of commands, as environment and configuration file set them",
    positionals: ["[COMMAND]"],
    options: {
      json: { kind: "flag", help: "print one JSON object: what is set, by command and option" },
    },
    examples: ["stream config", "stream config serve --config /etc/stream/stream.toml"],
    async run([name], options) {
      const path = options.text("config");
      const shown = name === undefined ? commands : commands.filter((known) => known.name === name);
      if (shown.length === 0) {
        throw new UsageError(`no command ${JSON.stringify(name)} has options`);
      }
      const file = path ?? usualPath();
      if (options.flag("json")) {
        const all = shown.map((command) => [command.name, setOf(command, read(command, path))]);
        await printLine(visibleJson({ file, commands: Object.fromEntries(all) }));
        return EXIT.ok;
      }
      await printLine(`file: ${file ?? "none, as no home directory is known"}`);
      for (const command of shown) {
        await printLine(
          `\n[${command.name}]\n${describe(command, process.env, read(command, path))}`,
        );
      }
      return EXIT.ok;
    },
  };
}

/** What is set of a command's options, by name; others have their defaults. */
function setOf(command: Command, file: FileSettings): Record<string, Setting> {
  return Object.fromEntries(settingsOf(command, {}, process.env, file));
}

/**
 * Tells whether there is a configuration file to read.
 * @param argv Arguments of a command.
 * @param environment Environment variables.
 */
export function isConfigured(argv: readonly string[], environment: Environment): boolean {
  if (argv.some((word) => word.startsWith("--config")) || environment.STREAM_CONFIG) return true;
  const path = usualPath();
  return path !== null && existsSync(path);
}

/** Never the working directory: a stranger's checkout must not say where a push goes. Null where there is no home. */
function usualPath(): string | null {
  const directory = userDirectory("XDG_CONFIG_HOME", ".config");
  return directory === null ? null : join(directory, "stream.toml");
}

/** The document of a file; null when the usual one does not exist, or lies where this user cannot look. */
function load(path: string, isWanted: boolean): TomlTable | null {
  if (!isWanted && !existsSync(path)) return null;
  try {
    const bytes = readFileSync(path);
    if (!isUtf8(bytes)) throw new Error("it is not UTF-8");
    return parse(bytes.toString());
  } catch (error) {
    const isMalformed = error instanceof TomlError;
    const reason = isMalformed ? error.message.trim().split("\n")[0] : reasonOf(error);
    const place = isMalformed ? `, line ${error.line}` : "";
    throw new UsageError(`the configuration ${path}${place} cannot be read: ${reason}`);
  }
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}

function optionNames({ options }: Command): string[] {
  return Object.keys(options);
}

function checkSection(
  file: string,
  section: string,
  values: TomlTable,
  commands: readonly Command[],
): void {
  checkName(file, "", section, commands.map(({ name }) => name));
  const command = commands.find(({ name }) => name === section)!;
  for (const key of Object.keys(values)) checkName(file, section, key, optionNames(command));
  settings(file, section, command, values);
}

function checkName(file: string, section: string, name: string, known: string[]): void {
  if (known.includes(name)) return;
  const suggestion = nearest(name, known);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  throw new UsageError(`${placeOf(file, section, name)}: there is no such option${hint}`);
}

function placeOf(file: string, section: string, key: string): string {
  return `${file}: ${section === "" ? "" : `[${section}] `}${key}`;
}

/** What a table sets of a command's options; others are left out. */
function settings(
  file: string,
  section: string,
  command: Command,
  values: TomlTable,
): FileSettings {
  const set: FileSettings = {};
  for (const [key, value] of Object.entries(values)) {
    const option = command.options[key];
    if (option === undefined) continue;
    const source = placeOf(file, section, key);
    const { is, wanted } = TYPES[option.kind];
    if (!is(value)) throw new UsageError(`${source}: that is not ${wanted}`);
    set[key] = { value: typeof value === "number" ? String(value) : value as string, source };
  }
  // Numbers that are none are found here.
  settingsOf(command, {}, {}, set);
  return set;
}

const isText = (value: unknown) => typeof value === "string" && value !== "";
const isWhole = (value: unknown) => Number.isSafeInteger(value);

/** What an option may be in a file. */
const TYPES: Record<Kind, { is: (value: unknown) => boolean; wanted: string }> = {
  flag: { is: (value) => typeof value === "boolean", wanted: "true or false" },
  text: { is: isText, wanted: "a text in quotes" },
  list: {
    is: (value) => Array.isArray(value) && value.every(isText),
    wanted: "an array of texts in quotes",
  },
  count: { is: isWhole, wanted: "a whole number" },
  duration: { is: isText, wanted: 'a duration such as "50ms" or "10m"' },
  time: { is: isText, wanted: 'a time such as "2h" or "2026-11-28T10:00Z"' },
  size: {
    is: (value) => isWhole(value) || isText(value),
    wanted: 'a size such as 4096 or "64KiB"',
  },
};

/** The options of a command, each with its value and where it was set. */
export function describe(command: Command, environment: Environment, file: FileSettings): string {
  const set = settingsOf(command, {}, environment, file);
  return table(
    Object.entries(command.options).map(([name, { help }]) => {
      const setting = set.get(name);
      if (setting !== undefined) {
        return [name, `${visibleJson(setting.value)}  # ${setting.source}`];
      }
      const fallback = /\(default:? (.+)\)$/.exec(help)?.[1] ?? "not set";
      return [name, `# default: ${fallback}`];
    }),
  ).join("\n");
}
