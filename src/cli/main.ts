/**
 * The program: finds the command, runs it, turns errors into one line and an exit code.
 * @module
 */
import process from "node:process";
import { StreamError, VERSION } from "../protocol.ts";
import { keepFreedMemory } from "../runtime/allocator.ts";
import { adoptProxies } from "../runtime/proxies.ts";
import {
  type Command,
  commandHelp,
  EXIT,
  nearest,
  readArguments,
  REFERENCE_HELP,
  table,
  UsageError,
} from "./command.ts";
import { trustAuthorities } from "./authorities.ts";
import { configCommand, configReader, isConfigured } from "./config.ts";
import { described, exitCodeOf } from "./exit_codes.ts";
import { printLine, ReaderGone, visible } from "./output/output.ts";
import { beQuiet, complain, flush, writeLine } from "./output/stderr.ts";

/** Commands with options that a file may set; a command's program is loaded when it is run. */
const CONFIGURED: Record<string, () => Promise<Command>> = {
  serve: async () => (await import("./commands/serve.ts")).serve,
  push: async () => (await import("./commands/push.ts")).pushCommand,
  run: async () => (await import("./commands/run.ts")).run,
  follow: async () => (await import("./commands/follow.ts")).follow,
  get: async () => (await import("./commands/get.ts")).get,
  status: async () => (await import("./commands/status.ts")).status,
  search: async () => (await import("./commands/search.ts")).search,
  wait: async () => (await import("./commands/wait.ts")).wait,
  ls: async () => (await import("./commands/ls.ts")).ls,
  rm: async () => (await import("./commands/rm.ts")).rm,
  close: async () => (await import("./commands/close.ts")).close,
  share: async () => (await import("./commands/share.ts")).share,
  token: async () => (await import("./commands/token.ts")).token,
  check: async () => (await import("./commands/check.ts")).check,
  adopt: async () => (await import("./commands/adopt.ts")).adopt,
  cluster: async () => (await import("./commands/cluster.ts")).cluster,
};
const COMMANDS: Record<string, () => Promise<Command>> = {
  ...CONFIGURED,
  config: async () => {
    const commands = await all(CONFIGURED);
    return configCommand(commands, configReader(commands));
  },
  completions: async () =>
    (await import("./commands/completions.ts")).completionsCommand(() => all(COMMANDS)),
  man: async () => (await import("./commands/man.ts")).manCommand(() => all(COMMANDS)),
};

function all(commands: Record<string, () => Promise<Command>>): Promise<Command[]> {
  return Promise.all(Object.values(commands).map((load) => load()));
}

/**
 * Runs the program.
 *
 * @param argv Arguments without the program's name.
 * @returns The exit code; what goes wrong is told on stderr, never thrown.
 *
 * @example
 * ```ts
 * import { main } from "@stream/live/cli";
 *
 * const code = await main(["help", "push"]);
 * console.log(code); // 0
 * ```
 */
export async function main(argv: string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    return await report(error, argv[0]);
  } finally {
    await flush();
  }
}

async function dispatch([name, ...argv]: string[]): Promise<number> {
  if (process.pid === 1) (await import("./signals.ts")).endAsFirstProcess();
  if (name === undefined) throw new UsageError("which command?");
  if (name === "--version" || name === "-V" || name === "version") {
    return print(`stream ${VERSION}`);
  }
  if (name === "--help" || name === "-h") return print(await overview());
  if (name === "help") return await help(argv);
  const command = await find(name);
  // Whether a file makes sense depends on the options of all commands.
  const known = isConfigured(argv, process.env) ? await all(CONFIGURED) : [];
  const read = readArguments(command, argv, process.env, configReader(known));
  if (read === null) return print(commandHelp(command));
  if (read.options.flag("quiet")) beQuiet();
  await trustAuthorities(read.options);
  adoptProxies(process.env);
  keepFreedMemory();
  return await command.run(read.args, read.options);
}

async function help([name = "help"]: string[]): Promise<number> {
  const isOverview = ["help", "--help", "-h"].includes(name);
  return await print(isOverview ? await overview() : commandHelp(await find(name)));
}

async function find(name: string): Promise<Command> {
  if (Object.hasOwn(COMMANDS, name)) return await COMMANDS[name]();
  const suggestion = nearest(name, [...Object.keys(COMMANDS), "help"]);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  throw new UsageError(`there is no command ${JSON.stringify(name)}${hint}`);
}

async function overview(): Promise<string> {
  const commands = await all(COMMANDS);
  return [
    `stream ${VERSION}: moves files that are still being written`,
    "",
    "usage: stream COMMAND [arguments] [options]",
    "",
    "commands:",
    ...table(commands.map(({ name, summary }) => [`  ${name}`, summary])),
    "",
    `${REFERENCE_HELP}.`,
    "stream COMMAND --help tells more about one; --version tells the version.",
    "",
    "exit codes: 0 done, 1 failed or not found, 2 usage, 3 the resource is FAILED, 4 server unreachable,",
    "            5 refused by the server, 124 too late (wait), 130 interrupted; run ends with that",
    "            of its command, search as grep",
    "",
  ].join("\n");
}

async function print(text: string): Promise<number> {
  await printLine(text.trimEnd());
  return EXIT.ok;
}

async function report(error: unknown, name: string | undefined): Promise<number> {
  if (error instanceof ReaderGone) return EXIT.ok;
  if (error instanceof UsageError) {
    const isKnown = name !== undefined && Object.hasOwn(COMMANDS, name);
    const where = isKnown ? `stream ${name} --help` : "stream help";
    complain(visible(error.message));
    writeLine(`see '${where}'`);
    return EXIT.usage;
  }
  complain(described(error));
  if (!(error instanceof StreamError) && process.env.STREAM_DEBUG) {
    writeLine((await import("node:util")).inspect(error));
  }
  return exitCodeOf(error);
}
