/**
 * `stream man`: the manual page, made of the same table as the help.
 * @module
 */
import { VERSION } from "../../protocol.ts";
import {
  type Command,
  COMMON_OPTIONS,
  EXIT,
  type Option,
  REFERENCE_HELP,
  usageOf,
  wrap,
} from "../command.ts";
import { printLine } from "../output/output.ts";

/** Prints the manual page. */
export function manCommand(commands: () => Promise<readonly Command[]>): Command {
  return {
    name: "man",
    summary: "print the manual page",
    positionals: [],
    options: {},
    examples: ["stream man | man -l -", "stream man > /usr/local/share/man/man1/stream.1"],
    async run() {
      await printLine(page(await commands()));
      return EXIT.ok;
    },
  };
}

function page(commands: readonly Command[]): string {
  return [
    `.TH STREAM 1 "" "stream ${VERSION}" "User Commands"`,
    ".SH NAME",
    text("stream - moves files that are still being written"),
    ".SH SYNOPSIS",
    ".B stream",
    ".I COMMAND",
    text("[arguments] [options]"),
    ".PP",
    text(`${REFERENCE_HELP}.`),
    ".SH COMMANDS",
    ...commands.flatMap(section),
    ".SH OPTIONS OF EVERY COMMAND",
    ...Object.entries(COMMON_OPTIONS).flatMap(option),
    ".SH ENVIRONMENT",
    text(
      "Every option can stand in the environment, as STREAM_COMMAND_OPTION (STREAM_PUSH_RETRY_FOR=1h), and in a " +
        "configuration file. An option that was typed comes before the environment, that before the file.",
    ),
    ".SH EXIT STATUS",
    ...EXIT_TEXTS.flatMap(([code, meaning]) => [".TP", `.B ${code}`, text(meaning)]),
    ".PP",
    text("stream run ends with the exit code of its command, stream search as grep does."),
  ].join("\n");
}

const EXIT_TEXTS: readonly [number, string][] = [
  [EXIT.ok, "done"],
  [EXIT.failed, "failed; also: there is no such resource or context, or several are called so"],
  [EXIT.usage, "what was typed makes no sense"],
  [EXIT.resourceFailed, "the resource is FAILED; wait: or the command that wrote it failed"],
  [EXIT.unreachable, "the server cannot be reached, or is not ready"],
  [EXIT.refused, "the server refused"],
  [EXIT.late, "wait: the resource had not ended in time"],
  [EXIT.interrupted, "interrupted"],
];

function section(command: Command): string[] {
  const { name, summary, options, lists = {}, examples } = command;
  return [
    `.SS ${text(name)}`,
    `.B ${text(usageOf(command))}`,
    ".PP",
    text(`${summary[0].toUpperCase()}${summary.slice(1)}.`),
    ...Object.entries(options).flatMap(option),
    ...Object.entries(lists).flatMap(([title, names]) => [
      ...[".PP", `${title[0].toUpperCase()}${title.slice(1)}:`],
      ...[".PP", ".nf", ...wrap(names).map((line) => `  ${text(line)}`), ".fi"],
    ]),
    ".PP",
    "Examples:",
    ".PP",
    ".nf",
    ...examples.map((example) => `    ${text(example)}`),
    ".fi",
  ];
}

function option([name, { short, value, help, env }]: [string, Option]): string[] {
  const words = [...short === undefined ? [] : [`-${short}`], `--${name}`].join(", ");
  const variable = env === undefined ? "" : ` [${env}]`;
  return [
    ".TP",
    `.BR "${text(words)}" "${text(value === undefined ? "" : ` ${value}`)}"`,
    text(help + variable),
  ];
}

/** Text as troff takes it: no request, no escape, and hyphens that can be copied. */
function text(plain: string): string {
  return plain.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll('"', "\\(dq")
    .replaceAll("…", "...").replace(/^[.']/, "\\&$&");
}
