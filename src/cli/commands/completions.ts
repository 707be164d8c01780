/**
 * `stream completions`: what shells complete, made of the same table as the help.
 * @module
 */
import {
  type Command,
  COMMON_OPTIONS,
  EXIT,
  type Option,
  SERVER_OPTION,
  UsageError,
} from "../command.ts";
import { credentialsOf } from "../credentials.ts";
import { printLine, visible } from "../output/output.ts";
import { referencesFrom } from "../references.ts";

/** What stands for a value: words to choose from, or what a shell or the server knows. */
type Values = readonly string[] | "files" | "references" | "contexts" | "programs" | "anything";

const SHELLS: Record<string, (commands: readonly Command[]) => string> = { bash, zsh, fish };

/** What those ask for while somebody types. */
const REFERENCES = "references";

/** Takes the name of a command, but is none: nothing else can follow. */
const HELP: Command = {
  name: "help",
  summary: "tell what there is, or what a command does",
  positionals: ["[COMMAND]"],
  options: {},
  examples: ["stream help", "stream help push"],
  run: () => Promise.resolve(EXIT.ok),
};

/** Words that ask the server, which may be away; `references` wants what was typed behind. */
const ASK = {
  references: "stream completions references",
  contexts: "stream ls --contexts -q --limit 100",
};

/** Prints what a shell needs. */
export function completionsCommand(commands: () => Promise<readonly Command[]>): Command {
  return {
    name: "completions",
    summary: "print what makes a shell complete commands, options, ids and contexts",
    positionals: [[...Object.keys(SHELLS), REFERENCES].join("|"), "[WORD]"],
    options: SERVER_OPTION,
    examples: [
      "source <(stream completions bash)",
      "stream completions fish > ~/.config/fish/completions/stream.fish",
    ],
    async run([shell, word = ""], options) {
      if (shell === REFERENCES) {
        for (const found of await referencesFrom(word, await credentialsOf(options))) {
          // What would be shown otherwise than it is cannot be typed.
          if (visible(found) === found) await printLine(found);
        }
        return EXIT.ok;
      }
      if (!Object.hasOwn(SHELLS, shell)) {
        throw new UsageError(
          `completions ${shell}: that is none of ${Object.keys(SHELLS).join(", ")}`,
        );
      }
      await printLine(SHELLS[shell]([...await commands(), HELP]));
      return EXIT.ok;
    },
  };
}

/** Words of which one is to be chosen, as the help shows them. */
const CHOICE = /^[A-Za-z_]+(\|[A-Za-z_]+)+$/;

function valuesOf(name: string, { value = "" }: Option): Values {
  if (/FILE|DIR|PATH|DATA/.test(value)) return "files";
  if (CHOICE.test(value)) return value.split("|");
  if (name === "context" && value === "ID") return "contexts";
  return "anything";
}

/** What a command takes besides options; one of several kinds is told by its last. */
function positionalValues(
  { positionals, runsCommand }: Command,
  commands: readonly Command[],
): Values {
  const [first = ""] = positionals;
  if (runsCommand) return "programs";
  if (CHOICE.test(first)) return first.split("|");
  if (first === "[COMMAND]") return commands.map(({ name }) => name);
  if (/REF/.test(first)) return "references";
  if (first === "CONTEXT") return "contexts";
  return /FILE|DIR/.test(first) ? "files" : "anything";
}

function optionsOf(command: Command): [name: string, option: Option][] {
  return command === HELP ? [] : Object.entries({ ...command.options, ...COMMON_OPTIONS });
}

function bash(commands: readonly Command[]): string {
  const reply = (values: Values) => {
    switch (values) {
      case "files":
        return '_stream_offer < <(compgen -f -- "$cur")';
      case "programs":
        return 'COMPREPLY=($(compgen -c -- "$cur"))';
      case "references":
        return `_stream_offer < <(${ASK.references} "$cur" 2>/dev/null)`;
      case "contexts":
        return `_stream_offer < <(${ASK.contexts} 2>/dev/null)`;
      case "anything":
        return ":";
      default:
        return `COMPREPLY=($(compgen -W "${values.join(" ")}" -- "$cur"))`;
    }
  };
  const cases = commands.map((command) => {
    const options = optionsOf(command);
    const valued = options.filter(([, { kind }]) => kind !== "flag").map(([name, option]) => {
      const words = [`--${name}`, ...option.short === undefined ? [] : [`-${option.short}`]];
      return `        ${words.join("|")}) ${reply(valuesOf(name, option))}; return ;;`;
    });
    return [
      `    ${command.name})`,
      '      case "$prev" in',
      ...valued,
      "      esac",
      '      if [[ "$cur" == -* ]]; then',
      `        COMPREPLY=($(compgen -W "${
        options.map(([name]) => `--${name}`).join(" ")
      }" -- "$cur"))`,
      "      else",
      `        ${reply(positionalValues(command, commands))}`,
      "      fi ;;",
    ].join("\n");
  });
  return [
    "# bash completion of stream",
    "# A word a line, as it is: compgen -W would expand what somebody else called a file.",
    "_stream_offer() {",
    "  local word",
    '  while IFS= read -r word; do [[ "$word" == "$cur"* ]] && COMPREPLY+=("$word"); done',
    '  [[ "${COMPREPLY[0]-}" == */ ]] && compopt -o nospace 2>/dev/null',
    "}",
    "_stream() {",
    '  local cur="${COMP_WORDS[COMP_CWORD]//\\\\/}" prev="${COMP_WORDS[COMP_CWORD-1]}"',
    "  COMPREPLY=()",
    "  if ((COMP_CWORD == 1)); then",
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(" ")}" -- "$cur"))`,
    "    return",
    "  fi",
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    "  esac",
    "}",
    "complete -o filenames -F _stream stream",
  ].join("\n");
}

function zsh(commands: readonly Command[]): string {
  const told = (text: string) => text.replace(/[[\]:\\]/g, "\\$&").replaceAll("'", "'\\''");
  const action = (values: Values) => {
    switch (values) {
      case "files":
        return "_files";
      case "programs":
        return " _normal";
      case "references":
      case "contexts":
        return `_stream_${values}`;
      case "anything":
        return " ";
      default:
        return `(${values.join(" ")})`;
    }
  };
  const cases = commands.map((command) => {
    const specs = optionsOf(command).flatMap(([name, option]) => {
      const value = option.kind === "flag"
        ? ""
        : `:${told(option.value ?? "")}:${action(valuesOf(name, option))}`;
      const star = option.kind === "list" ? "*" : "";
      const words = [`--${name}`, ...option.short === undefined ? [] : [`-${option.short}`]];
      return words.map((word) => `'${star}${word}[${told(option.help)}]${value}'`);
    });
    // Behind two colons only the words of the other program are looked at.
    const rest = command.runsCommand ? "*::" : "*:";
    const argument = `'${rest}${command.positionals[0] ?? "argument"}:${
      action(positionalValues(command, commands))
    }'`;
    return `    ${command.name}) _arguments ${[...specs, argument].join(" ")} ;;`;
  });
  return [
    "#compdef stream",
    "# zsh completion of stream",
    `_stream_contexts() { local -a found; found=(\${(f)"$(${ASK.contexts} 2>/dev/null)"}); compadd -a found; }`,
    "_stream_references() {",
    "  local -a found begun whole",
    `  found=(\${(f)"$(${ASK.references} "\${(Q)PREFIX}" 2>/dev/null)"})`,
    "  begun=(\${(M)found:#*/}) whole=(\${found:#*/})",
    "  compadd -S '' -a begun",
    "  compadd -a whole",
    "}",
    "_stream() {",
    "  if (( CURRENT == 2 )); then",
    "    local -a commands",
    `    commands=(${commands.map(({ name, summary }) => `'${name}:${told(summary)}'`).join(" ")})`,
    "    _describe command commands",
    "    return",
    "  fi",
    "  shift words",
    "  (( CURRENT-- ))",
    "  case $words[1] in",
    ...cases,
    "  esac",
    "}",
    "compdef _stream stream",
    "# Found in $fpath this file is the function itself.",
    'if [[ $funcstack[1] == _stream ]]; then _stream "$@"; fi',
  ].join("\n");
}

function fish(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;
  const action = (values: Values) => {
    switch (values) {
      case "files":
        return " -F";
      case "programs":
        return " -a '(__fish_complete_command)'";
      case "references":
        return ` -a '(${ASK.references} (commandline -ct) 2>/dev/null)'`;
      case "contexts":
        return ` -a '(${ASK.contexts} 2>/dev/null)'`;
      case "anything":
        return "";
      default:
        return ` -a '${values.join(" ")}'`;
    }
  };
  const lines = commands.flatMap((command) => {
    const seen = `complete -c stream -n '__fish_seen_subcommand_from ${command.name}'`;
    return [
      `complete -c stream -n __fish_use_subcommand -a ${command.name} -d ${
        quoted(command.summary)
      }`,
      `${seen}${action(positionalValues(command, commands))}`,
      ...optionsOf(command).map(([name, option]) => {
        const short = option.short === undefined ? "" : ` -s ${option.short}`;
        const values = valuesOf(name, option);
        const value = option.kind === "flag"
          ? ""
          : `${values === "files" ? " -r" : " -x"}${action(values)}`;
        return `${seen} -l ${name}${short}${value} -d ${quoted(option.help)}`;
      }),
    ];
  });
  return ["# fish completion of stream", "complete -c stream -f", ...lines].join("\n");
}
