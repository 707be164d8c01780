/**
 * The program: finds the command, runs it, turns errors into one line and an exit code.
 * @module
 */
import process from "node:process";
import { inspect } from "node:util";
import { StreamError, VERSION } from "../protocol.ts";
import { adoptProxies } from "../runtime/proxies.ts";
import {
  type Command,
  commandHelp,
  EXIT,
  nearest,
  readArguments,
  table,
  UsageError,
} from "./command.ts";
import { trustAuthorities } from "./authorities.ts";
import { adopt } from "./commands/adopt.ts";
import { check } from "./commands/check.ts";
import { close } from "./commands/close.ts";
import { completionsCommand } from "./commands/completions.ts";
import { configCommand, configReader } from "./config.ts";
import { described, exitCodeOf } from "./exit_codes.ts";
import { follow } from "./commands/follow.ts";
import { get } from "./commands/get.ts";
import { ls } from "./commands/ls.ts";
import { manCommand } from "./commands/man.ts";
import { printLine, ReaderGone, visible } from "./output/output.ts";
import { pushCommand } from "./commands/push.ts";
import { rm } from "./commands/rm.ts";
import { run } from "./commands/run.ts";
import { search } from "./commands/search.ts";
import { serve } from "./commands/serve.ts";
import { share } from "./commands/share.ts";
import { status } from "./commands/status.ts";
import { flush, notice, writeLine } from "./output/stderr.ts";
import { token } from "./commands/token.ts";
import { wait } from "./commands/wait.ts";

const CONFIGURED: readonly Command[] = [
  ...[serve, pushCommand, run, follow, get, status, search, wait, ls, rm, close, share],
  ...[token, check, adopt],
];
const readConfig = configReader(CONFIGURED);
const COMMANDS: readonly Command[] = [
  ...CONFIGURED,
  configCommand(CONFIGURED, readConfig),
  completionsCommand(() => COMMANDS),
  manCommand(() => COMMANDS),
];

/**
 * Runs the program.
 *
 * @param argv Arguments without the program's name.
 * @returns The exit code.
 */
export async function main(argv: string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    return report(error, argv[0]);
  } finally {
    await flush();
  }
}

async function dispatch([name, ...argv]: string[]): Promise<number> {
  if (name === undefined) throw new UsageError("which command?");
  if (name === "--version" || name === "-V" || name === "version") {
    return print(`stream ${VERSION}`);
  }
  if (name === "--help" || name === "-h") return print(overview());
  if (name === "help") return help(argv);
  const command = find(name);
  const read = readArguments(command, argv, process.env, readConfig);
  if (read === null) return print(commandHelp(command));
  await trustAuthorities(read.options);
  adoptProxies(process.env);
  return await command.run(read.args, read.options);
}

function help([name]: string[]): Promise<number> {
  return print(name === undefined ? overview() : commandHelp(find(name)));
}

function find(name: string): Command {
  const command = COMMANDS.find((command) => command.name === name);
  if (command !== undefined) return command;
  const suggestion = nearest(name, [...COMMANDS.map(({ name }) => name), "help"]);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  throw new UsageError(`there is no command ${JSON.stringify(name)}${hint}`);
}

function overview(): string {
  return [
    `stream ${VERSION}: moves files that are still being written`,
    "",
    "usage: stream COMMAND [arguments] [options]",
    "",
    "commands:",
    ...table(COMMANDS.map(({ name, summary }) => [`  ${name}`, summary])),
    "",
    "stream COMMAND --help tells more about one; --version tells the version.",
    "",
    "exit codes: 0 done, 1 failed, 2 usage, 3 the resource is FAILED, 4 server unreachable,",
    "            5 refused by the server, 124 too late (wait), 130 interrupted; run ends with that",
    "            of its command, search as grep",
    "",
  ].join("\n");
}

async function print(text: string): Promise<number> {
  await printLine(text.trimEnd());
  return EXIT.ok;
}

function report(error: unknown, name: string | undefined): number {
  if (error instanceof ReaderGone) return EXIT.ok;
  if (error instanceof UsageError) {
    const known = COMMANDS.some((command) => command.name === name);
    const where = known ? `stream ${name} --help` : "stream help";
    notice(visible(error.message));
    writeLine(`see '${where}'`);
    return EXIT.usage;
  }
  notice(described(error));
  if (!(error instanceof StreamError) && process.env.STREAM_DEBUG) writeLine(inspect(error));
  return exitCodeOf(error);
}
