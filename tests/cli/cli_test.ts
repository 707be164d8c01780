/** How the command line is read: arguments, units, help, and the lock of a data directory. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Command,
  commandHelp,
  nearest,
  readArguments,
  table,
  UsageError,
} from "../../src/cli/command.ts";
import { lockDirectory } from "../../src/cli/lock.ts";
import { visible, visibleJson } from "../../src/cli/output/output.ts";
import { formatBytes, parseDurationMs, parseSizeBytes, parseTimeMs } from "../../src/cli/units.ts";
import { StreamError } from "../../src/protocol.ts";

/** A command with an option of every kind. */
const brew: Command = {
  name: "brew",
  summary: "make something hot",
  positionals: ["POT"],
  options: {
    strong: { kind: "flag", short: "s", help: "take more of it" },
    "no-sugar": { kind: "flag", help: "leave the sugar out" },
    kind: { kind: "text", short: "k", value: "KIND", env: "BREW_KIND", help: "tea or coffee" },
    guest: { kind: "list", value: "NAME", help: "who drinks it; can be repeated" },
    cups: { kind: "count", value: "N", help: "how many cups (default 1)" },
    time: { kind: "duration", value: "TIME", env: "BREW_TIME", help: "how long (default 3m)" },
    volume: { kind: "size", value: "SIZE", help: "how much" },
  },
  examples: ["stream brew kettle", "stream brew kettle --strong --time 4m"],
  run: () => Promise.resolve(0),
};

function read(argv: string[], environment: Record<string, string | undefined> = {}) {
  return readArguments(brew, argv, environment)!;
}

function message(argv: string[], environment?: Record<string, string | undefined>): string {
  return assertThrows(() => read(argv, environment), UsageError).message;
}

test("arguments and options of every kind are read, in any order", () => {
  const { args, options } = read([
    ...["--strong", "--time", "90s", "pot", "--volume=1.5MB"],
    ...["--guest", "Ann", "-k", "tea", "--guest", "Bob", "--cups", "12", "--no-sugar"],
  ]);
  assertEquals(args, ["pot"]);
  assertEquals([options.flag("strong"), options.flag("no-sugar")], [true, true]);
  assertEquals([options.text("kind"), options.list("guest")], ["tea", ["Ann", "Bob"]]);
  assertEquals(["cups", "time", "volume"].map(options.number), [12, 90_000, 1_500_000]);
});

test("options that are not given are missing", () => {
  const { options } = read(["pot"]);
  assertEquals([options.flag("strong"), options.flag("no-sugar")], [false, false]);
  assertEquals([options.text("kind"), options.list("guest")], [undefined, []]);
  assertEquals(["cups", "time", "volume"].map(options.number), [undefined, undefined, undefined]);
});

test("an environment variable stands in for an option that is not given", () => {
  const environment = { BREW_KIND: "coffee", BREW_TIME: "1h" };
  assertEquals(read(["pot"], environment).options.text("kind"), "coffee");
  assertEquals(read(["pot"], environment).options.number("time"), 3_600_000);
  assertEquals(read(["pot", "--kind", "tea"], environment).options.text("kind"), "tea");
  assertEquals(read(["pot"], { BREW_KIND: "" }).options.text("kind"), undefined);
});

test("arguments are texts: numbers, a dash, and whatever follows two dashes", () => {
  assertEquals(read(["007"]).args, ["007"]);
  assertEquals(read(["-"]).args, ["-"]);
  assertEquals(read(["--", "--strong"]).args, ["--strong"]);
  assertEquals(read(["pot", "--kind", "0x10"]).options.text("kind"), "0x10");
});

test("help is asked for by --help and -h, whatever else is wrong", () => {
  assertEquals(readArguments(brew, ["--help"], {}), null);
  assertEquals(readArguments(brew, ["-h", "a", "b", "--sugar"], {}), null);
});

test("letters can stand together, and the last one before its value", () => {
  for (const words of [["-sk", "tea"], ["-sktea"], ["-sk=tea"], ["-ktea", "-s"]]) {
    const { args, options } = read(["pot", ...words]);
    assertEquals([args, options.flag("strong"), options.text("kind")], [["pot"], true, "tea"]);
  }
  const { options } = read(["-sk2", "--", "pot"]);
  assertEquals([options.flag("strong"), options.text("kind")], [true, "2"]);
  assertEquals(message(["pot", "-s1"]), "brew has no option -1");
  assertEquals(message(["pot", "-1h"]), "brew has no option -1");
  assertEquals(readArguments(brew, ["-sh"], {}), null);
  assertEquals(read(["--", "-sk2"]).args, ["-sk2"]);
});

test("an option that does not exist is named, with the nearest one", () => {
  assertEquals(message(["pot", "--stron"]), "brew has no option --stron; did you mean --strong?");
  assertEquals(
    message(["pot", "--cupps=3"]),
    "brew has no option --cupps=3; did you mean --cups?",
  );
  assertEquals(message(["pot", "--frobnicate"]), "brew has no option --frobnicate");
  assertEquals(message(["pot", "-x"]), "brew has no option -x");
});

test("a flag has no value that would mean its opposite", () => {
  assertEquals(
    message(["pot", "--strong=no"]),
    "--strong=no: a flag is given without a value, or is true or false",
  );
  assertEquals(readArguments(brew, ["pot", "--strong=false"], {})!.options.flag("strong"), false);
});

test("arguments that are missing or too many are named", () => {
  assertEquals(message([]), "brew wants POT");
  assertEquals(message(["pot", "pan"]), 'brew does not know what to do with "pan"');
});

test("a value that is missing or wrong is named, with what would be right", () => {
  assertEquals(message(["pot", "--kind"]), "--kind wants a value: KIND");
  assertEquals(message(["pot", "--kind="]), "--kind wants a value: KIND");
  assertEquals(message(["pot", "--cups"]), "--cups wants a value: N");
  assertEquals(message(["pot", "--guest"]), "--guest wants a value: NAME");
  for (const cups of ["many", "1.5", "1e3", "0x10", "99999999999999999999"]) {
    assertEquals(message(["pot", "--cups", cups]), `--cups ${cups}: that is not a whole number`);
  }
  assert(message(["pot", "--time", "5"]).startsWith("--time 5: that is not a duration such as"));
  assert(message(["pot"], { BREW_TIME: "soon" }).startsWith("BREW_TIME soon: "));
  assert(message(["pot", "--volume", "5q"]).startsWith("--volume 5q: that is not a size such as"));
});

test("an empty value is named with its option, an empty argument by what it should be", () => {
  for (const argv of [["pot", "--kind", ""], ["--kind", "", "pot"], ["pot", "-k", ""]]) {
    assertEquals(message(argv), "--kind wants a value: KIND");
  }
  assertEquals(message(["pot", "--guest", "Ann", "--guest", ""]), "--guest wants a value: NAME");
  assertEquals(message([""]), "brew wants POT, which is empty");
  assertEquals(message(["--strong", ""]), "brew wants POT, which is empty");
  assertEquals(message(["--", "--kind", ""]), 'brew does not know what to do with ""');
});

test("an environment variable that is meant for the command and names no option is an error", () => {
  const hint = "did you mean STREAM_BREW_VOLUME?";
  assertEquals(
    message(["pot"], { STREAM_BREW_VOLUM: "1GB" }),
    `STREAM_BREW_VOLUM is set, and brew has no such option; ${hint}`,
  );
  assert(message(["pot"], { STREAM_BREW_X: "1" }).startsWith("STREAM_BREW_X is set"));
  const others = { STREAM_BREW_X: "", STREAM_SERVE_X: "1", STREAM_BREWER_X: "1", STREAM_X: "1" };
  assertEquals(read(["pot"], { ...others, STREAM_BREW_CUPS: "2" }).options.number("cups"), 2);
});

test("the nearest name is found by typing errors and by its beginning", () => {
  const names = ["serve", "push", "follow", "status", "ls", "rm", "help"];
  const suggestions: [string, string | undefined][] = [
    ["follw", "follow"],
    ["puhs", "push"],
    ["folow-", "follow"],
    ["statsu", "status"],
    ["st", "status"],
    ["foll", "follow"],
    ["lss", "ls"],
    ["frobnicate", undefined],
    ["x", undefined],
    ["-x", undefined],
  ];
  for (const [wrong, right] of suggestions) assertEquals(nearest(wrong, names), right, wrong);
  assertEquals(nearest("anything", []), undefined);
});

test("the help of a command shows usage, options and examples", () => {
  assertEquals(
    commandHelp(brew),
    `make something hot

usage: stream brew POT [options]

options:
  -s, --strong       take more of it
      --no-sugar     leave the sugar out
  -k, --kind KIND    tea or coffee [BREW_KIND]
      --guest NAME   who drinks it; can be repeated
      --cups N       how many cups (default 1)
      --time TIME    how long (default 3m) [BREW_TIME]
      --volume SIZE  how much
      --config FILE  take options from FILE (default ~/.config/stream/stream.toml) [STREAM_CONFIG]
  -h, --help         show this help

examples:
  stream brew kettle
  stream brew kettle --strong --time 4m
`,
  );
});

test("a table has two columns", () => {
  assertEquals(table([["a", "1"], ["long", "2"]]), ["a     1", "long  2"]);
});

test("durations have a unit", () => {
  const durations = {
    "50ms": 50,
    "1.5s": 1500,
    "10m": 600_000,
    "1h": 3_600_000,
    "7d": 604_800_000,
  };
  for (const [text, ms] of Object.entries(durations)) assertEquals(parseDurationMs(text), ms);
  for (const text of ["", "5", "s", "-5s", "5 s", "5S", "1e3s", "5sec", ".5s"]) {
    assertEquals(parseDurationMs(text), null, text);
  }
});

test("times are those of ISO 8601, or durations until now", () => {
  assertEquals(parseTimeMs("2026-11-28"), Date.UTC(2026, 10, 28));
  assertEquals(parseTimeMs("2026-11-28T10:00Z"), Date.UTC(2026, 10, 28, 10));
  assertEquals(parseTimeMs("2026-11-28T10:00:01.5+01:00"), Date.UTC(2026, 10, 28, 9, 0, 1, 500));
  assertEquals(parseTimeMs("2026-11-28 10:00"), new Date(2026, 10, 28, 10).getTime());
  const beforeMs = Date.now();
  const agoMs = parseTimeMs("2h")! + 7_200_000;
  assert(beforeMs <= agoMs && agoMs <= Date.now());
  for (const text of ["", "5", "2h 3m", "yesterday", "Nov 28", "2026-11", "10:00"]) {
    assertEquals(parseTimeMs(text), null, text);
  }
});

test("sizes are bytes, or have a decimal or a binary unit", () => {
  const sizes = {
    ...{ "0": 0, "4096": 4096, "16B": 16, "2kB": 2000, "1.5MB": 1_500_000, "256 MB": 256e6 },
    ...{ "64KiB": 65_536, "1gib": 2 ** 30, "1TiB": 2 ** 40 },
  };
  for (const [text, bytes] of Object.entries(sizes)) {
    assertEquals(parseSizeBytes(text), bytes, text);
  }
  for (const text of ["", "MB", "-1", "1K", "1M", "1MiBs", "1e6", "0x10", "1,5MB"]) {
    assertEquals(parseSizeBytes(text), null, text);
  }
});

test("sizes are shown with three digits", () => {
  const shown = ["0 B", "999 B", "1.00 kB", "15.0 MB", "1.00 GB", "150 GB", "1500 TB"];
  assertEquals([0, 999, 1000, 15e6, 999_999_996, 150e9, 1.5e15].map(formatBytes), shown);
});

test("control characters in a name cannot reach a terminal", () => {
  const name = "a\u001b[31m\n\u009bü\u202e.log";
  assertEquals(visible(name), "a\\x1b[31m\\x0a\\x9bü\\u202e.log");
  assertEquals(visibleJson(name), '"a\\u001b[31m\\n\\u009bü\\u202e.log"');
  assertEquals(JSON.parse(visibleJson(name)), name);
});

async function withDirectory(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "stream-cli-"));
  try {
    await run(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

test("a data directory is made, taken, and can be taken again after it was given back", async () => {
  await withDirectory(async (directory) => {
    const data = join(directory, "new/data");
    await (await lockDirectory(data))();
    assert(existsSync(data));
    await (await lockDirectory(data))();
  });
});

test("what a server that is gone left in the data directory holds nobody up", async () => {
  await withDirectory(async (directory) => {
    const noProcess = 2 ** 22 + 1;
    for (const left of [String(noProcess), "", "what is this?"]) {
      await writeFile(join(directory, "server.lock"), left);
      await (await lockDirectory(directory))();
    }
  });
});

test("a path that cannot be a data directory is named", async () => {
  await withDirectory(async (directory) => {
    const file = join(directory, "file");
    await writeFile(file, "");
    const error = await assertRejects(() => lockDirectory(file), StreamError, file);
    assertEquals(error.code, "STORAGE_FAILED");
  });
});
