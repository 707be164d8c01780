/** Options from the command line, the environment and the configuration file, by the real program. */
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Command,
  type Options,
  readArguments,
  serverOf,
  settingsOf,
  UsageError,
} from "../../src/cli/command.ts";
import { ls } from "../../src/cli/commands/ls.ts";
import { serve } from "../../src/cli/commands/serve.ts";
import { describe } from "../../src/cli/config.ts";
import { credentialsOf } from "../../src/cli/credentials.ts";
import { userDirectory } from "../../src/cli/home.ts";
import { portOf, settingsOf as serverSettingsOf } from "../../src/cli/serve/settings.ts";
import { eitherRuntime, quickest, Workspace } from "../helpers/cli.ts";

const either = eitherRuntime();

/** A workspace with its usual configuration file. */
async function configured(text: string | Uint8Array): Promise<Workspace> {
  const workspace = await Workspace.open();
  await mkdir(workspace.path("stream"));
  await writeFile(workspace.path("stream/stream.toml"), text);
  return workspace;
}

/** What `stream config` shows of one option: its value and its source. */
async function shown(
  workspace: Workspace,
  command: string,
  option: string,
  env: Record<string, string> = {},
): Promise<string> {
  const { code, stdout, stderr } = await workspace.run(quickest, ["config", command], { env });
  assertEquals([code, stderr], [0, ""]);
  return new RegExp(`^${option} +(.*)$`, "m").exec(stdout)![1];
}

/** What is wrong with a configuration file. */
async function complaint(text: string | Uint8Array, args = ["ls"]): Promise<string> {
  await using workspace = await configured(text);
  const { code, stdout, stderr } = await workspace.run(quickest, args);
  assertEquals([code, stdout], [2, ""]);
  assertStringIncludes(stderr, workspace.path("stream/stream.toml"));
  return stderr.split("\n")[0];
}

either("flags come before the environment, that before the file", async () => {
  await using workspace = await configured('[serve]\nlog-format = "json"\nport = 0\n');
  const started = async (args: string[], env: Record<string, string> = {}) => {
    const server = workspace.start(quickest, ["serve", ...args], { env });
    await server.stdout.until((text) => /"listening"|^listening on/.test(text));
    const log = await server.stderr.until((text) => text.includes("recovered"));
    await server.kill("SIGTERM");
    return log.startsWith("{") ? "json" : "human";
  };
  assertEquals(await started([]), "json");
  assertEquals(await started([], { STREAM_SERVE_LOG_FORMAT: "human" }), "human");
  const env = { STREAM_SERVE_LOG_FORMAT: "human" };
  assertEquals(await started(["--log-format", "json"], env), "json");
});

either("config shows every option with its value and where it comes from", async () => {
  await using workspace = await configured(
    'data = "/srv/data"\n[serve]\nallow-origin = ["https://a.example", "https://b.example"]\n' +
      'min-free = "2GB"\nmax-uploads = 7\nrequire-context = true\n',
  );
  const file = workspace.path("stream/stream.toml");
  const env = { STREAM_SERVE_MIN_FREE: "3GB", STREAM_SERVE_PORT: "99" };
  const of = (option: string) => shown(workspace, "serve", option, env);
  assertEquals(await of("port"), `"99"  # STREAM_SERVE_PORT`);
  assertEquals(await of("min-free"), `"3GB"  # STREAM_SERVE_MIN_FREE`);
  assertEquals(await of("max-uploads"), `"7"  # ${file}: [serve] max-uploads`);
  assertEquals(await of("require-context"), `true  # ${file}: [serve] require-context`);
  assertEquals(
    await of("allow-origin"),
    `["https://a.example","https://b.example"]  # ${file}: [serve] allow-origin`,
  );
  assertEquals(await of("data"), `"/srv/data"  # ${file}: data`);
  assertEquals(await of("host"), "# default: 127.0.0.1");
  assertEquals(await of("base-url"), "# default: the Host of each request");
  assertEquals(await of("step-port"), "# default: none");
});

either("config without a command shows all of them, and names the file", async () => {
  await using workspace = await Workspace.open();
  const { stdout } = await workspace.run(quickest, ["config"]);
  assert(stdout.startsWith(`file: ${workspace.path("stream/stream.toml")}\n`));
  const sections = [...stdout.matchAll(/^\[(\w+)\]$/gm)].map(([, name]) => name);
  assertEquals(sections, [
    ...["serve", "push", "run", "follow", "get", "status", "search", "wait", "ls", "rm", "close"],
    ...["share", "token", "check", "adopt", "cluster"],
  ]);
  const { code, stderr } = await workspace.run(quickest, ["config", "brew"]);
  assertEquals(code, 2);
  assertStringIncludes(stderr, `"brew"`);
});

either(
  "a section comes before what holds for all commands, STREAM_SERVER after STREAM_PUSH_SERVER",
  async () => {
    await using workspace = await configured(
      'server = "http://all.example"\n[push]\nserver = "http://push.example"\n',
    );
    const none = { STREAM_SERVER: "" };
    assertMatch(await shown(workspace, "push", "server", none), /^"http:\/\/push.example"/);
    assertMatch(await shown(workspace, "ls", "server", none), /^"http:\/\/all.example"/);
    const both = { STREAM_SERVER: "http://env.example", STREAM_PUSH_SERVER: "http://own.example" };
    assertMatch(await shown(workspace, "push", "server", both), /^"http:\/\/own.example"/);
    assertMatch(await shown(workspace, "ls", "server", both), /^"http:\/\/env.example"/);
  },
);

test("a value that cannot be one says where it was set, whoever finds out", () => {
  const wrong: [Command, (options: Options) => unknown, env: [string, string], why: string][] = [
    [ls, serverOf, ["STREAM_SERVER", "a.example:80"], "is no server address"],
    [ls, serverOf, ["STREAM_LS_SERVER", "http://a.example,"], "is no server address"],
    [ls, serverOf, ["STREAM_SERVER", "http://ann:secret@a.example"], "servers take tokens"],
    [serve, (options) => portOf(options, "port"), ["STREAM_SERVE_PORT", "80000"], "no such port"],
    [serve, serverSettingsOf, ["STREAM_SERVE_BASE_URL", "a.example"], "that is no address"],
    [serve, serverSettingsOf, ["STREAM_SERVE_DURABILITY", "yes"], "neither os nor disk"],
    [serve, serverSettingsOf, ["STREAM_SERVE_ALLOW_ORIGIN", "a.example"], "that is no origin"],
    [serve, serverSettingsOf, ["STREAM_SERVE_ALLOW_ORIGIN", "http://a/"], "that is no origin"],
  ];
  for (const [command, use, [variable, value], why] of wrong) {
    const { options } = readArguments(command, [], { [variable]: value })!;
    const { message } = assertThrows(() => use(options), UsageError, why);
    assert(message.startsWith(`${variable} ${value.replace("ann:secret", "…")}: `), message);
  }
  const origins = { STREAM_SERVE_ALLOW_ORIGIN: "*,null,https://a.example,http://[::1]:80" };
  const { options } = readArguments(serve, [], origins)!;
  assertEquals(serverSettingsOf(options).allowOrigins.length, 4);
});

test("a token that cannot be one says where it was found", async () => {
  await using workspace = await Workspace.open();
  const path = workspace.path("token");
  await writeFile(path, "two words\n");
  const of = (argv: string[]) => credentialsOf(readArguments(ls, argv, {})!.options);
  await assertRejects(() => of(["--token-file", path]), UsageError, `${path}: that is no token`);
  const { STREAM_TOKEN } = process.env;
  process.env.STREAM_TOKEN = "two words";
  try {
    await assertRejects(() => of([]), UsageError, "STREAM_TOKEN: that is no token");
  } finally {
    if (STREAM_TOKEN === undefined) delete process.env.STREAM_TOKEN;
    else process.env.STREAM_TOKEN = STREAM_TOKEN;
  }
});

either(
  "a home that is none, as daemons have it, means no configuration and no saved token",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serve(quickest);
    await writeFile(workspace.path("a.log"), "a\n");
    // Deno itself does not start there.
    const env = { HOME: "/dev/null", XDG_CONFIG_HOME: "", XDG_STATE_HOME: "" };
    const { code, stderr } = await workspace.run(quickest, ["push", "a.log"], { env });
    assertMatch(stderr, /^stream: this push cannot be resumed after it is killed: .+\n$/);
    assertEquals(code, 0);
  },
);

test("a user without a name and without HOME has no directories, and that is no error", () => {
  const none = [() => null, (): string => {
    throw new Error("ENOENT: no such file or directory, uv_os_homedir");
  }];
  const before = process.env.XDG_STATE_HOME;
  delete process.env.XDG_STATE_HOME;
  try {
    const found = none.map((home) => userDirectory("XDG_STATE_HOME", ".local/state", home));
    assertEquals(found, [null, null]);
    const usual = userDirectory("XDG_STATE_HOME", ".local/state", () => "/home/me");
    assertEquals(usual, "/home/me/.local/state/stream");
    process.env.XDG_STATE_HOME = "/state";
    const named = none.map((home) => userDirectory("XDG_STATE_HOME", ".local/state", home));
    assertEquals(named, ["/state/stream", "/state/stream"]);
  } finally {
    if (before === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = before;
  }
});

either("--config and STREAM_CONFIG name another file, which must exist", async () => {
  await using workspace = await configured('[serve]\nhost = "usual"\n');
  await writeFile(workspace.path("a.toml"), '[serve]\nhost = "a"\n');
  await writeFile(workspace.path("b.toml"), '[serve]\nhost = "b"\n');
  const show = async (args: string[], env: Record<string, string>) => {
    const { stdout } = await workspace.run(quickest, ["config", "serve", ...args], { env });
    return /^host +"(\w+)"/m.exec(stdout)?.[1];
  };
  assertEquals(await show([], {}), "usual");
  assertEquals(await show([], { STREAM_CONFIG: "a.toml" }), "a");
  assertEquals(await show(["--config", "b.toml"], { STREAM_CONFIG: "a.toml" }), "b");
  const { code, stderr } = await workspace.run(quickest, ["ls", "--config", "missing.toml"]);
  assertEquals(code, 2);
  assertMatch(
    stderr,
    /^stream: the configuration missing\.toml cannot be read: there is no such file or directory$/m,
  );
});

either("a file in the working directory is not read", async () => {
  await using workspace = await Workspace.open();
  await writeFile(workspace.path("stream.toml"), 'server = "http://stranger.example"\n');
  assertEquals(
    await shown(workspace, "push", "server", { STREAM_SERVER: "" }),
    "# default: http://127.0.0.1:8090",
  );
});

either("what is wrong in a file is named with the file and the key", async () => {
  const wrong: [string, RegExp][] = [
    ["[serve]\nprot = 1\n", /: \[serve\] prot: there is no such option; did you mean port\?$/],
    ["[srve]\nport = 1\n", /: srve: there is no such option; did you mean serve\?$/],
    ["frobnicate = 1\n", /: frobnicate: there is no such option$/],
    ['[serve]\nport = "1"\n', /: \[serve\] port: that is not a whole number$/],
    ["[serve]\nport = -1\n", /: \[serve\] port -1: that is not a whole number$/],
    ["[serve]\nhost = 1\n", /: \[serve\] host: that is not a text in quotes$/],
    [
      '[serve]\nrequire-context = "yes"\n',
      /: \[serve\] require-context: that is not true or false$/,
    ],
    ["[serve]\nresume-window = 60\n", /: \[serve\] resume-window: that is not a duration/],
    ['[serve]\nresume-window = "60"\n', /: \[serve\] resume-window 60: that is not a duration/],
    ['[serve]\nmin-free = "much"\n', /: \[serve\] min-free much: that is not a size/],
    ['[serve]\nallow-origin = "*"\n', /: \[serve\] allow-origin: that is not an array of texts/],
    ["[serve\n", /, line 1 cannot be read: /],
    ["[ls]\nport = 1\n", /: \[ls\] port: there is no such option/],
  ];
  await Promise.all(wrong.map(async ([text, expected]) => {
    assertMatch(await complaint(text), expected);
  }));
});

either("what is wrong in the environment is named with the variable", async () => {
  await using workspace = await Workspace.open();
  const wrong: [Record<string, string>, RegExp][] = [
    [
      { STREAM_SERVE_PORT: "http" },
      /^stream: STREAM_SERVE_PORT http: that is not a whole number\n/,
    ],
    [{ STREAM_SERVE_REQUIRE_CONTEXT: "1" }, /STREAM_SERVE_REQUIRE_CONTEXT 1: .*true nor false\n/],
  ];
  for (const [env, expected] of wrong) {
    const { code, stderr } = await workspace.run(quickest, ["serve"], { env });
    assertEquals(code, 2);
    assertMatch(stderr, expected);
  }
});

/** A command with a list. */
const brew: Command = {
  name: "brew",
  summary: "",
  positionals: ["[POT]"],
  options: {
    guest: { kind: "list", value: "NAME", help: "" },
    strong: { kind: "flag", help: "" },
  },
  examples: ["", ""],
  run: () => Promise.resolve(0),
};

either("a list in the environment is separated by commas, and a flag can be switched off", () => {
  const environment = { STREAM_BREW_GUEST: "Ann,Bob", STREAM_BREW_STRONG: "true" };
  const on = readArguments(brew, [], environment)!.options;
  assertEquals([on.list("guest"), on.flag("strong")], [["Ann", "Bob"], true]);
  const off = readArguments(brew, ["--strong=false", "--guest", "Eve"], environment)!.options;
  assertEquals([off.list("guest"), off.flag("strong")], [["Eve"], false]);
});

either("an argument in brackets may be left out", () => {
  assertEquals(readArguments(brew, [], {})!.args, []);
  assertEquals(readArguments(brew, ["pot"], {})!.args, ["pot"]);
});

either("what is shown says where it was set", () => {
  const text = describe(brew, { STREAM_BREW_GUEST: "Ann,Bob" }, {});
  assertMatch(text, /^guest +\["Ann","Bob"\] {2}# STREAM_BREW_GUEST$/m);
  assertMatch(text, /^strong +# default: not set$/m);
});

either("what nobody set is not there", () => {
  assertEquals(settingsOf(brew, {}, { STREAM_BREW_GUEST: "" }, {}), new Map());
});

either(
  "a configuration that is not UTF-8 is refused instead of read with other characters",
  async () => {
    const latin1 = Uint8Array.from('data = "/srv/Ger\u00e4te"\n', (letter) => letter.charCodeAt(0));
    assertMatch(await complaint(latin1), /stream\.toml cannot be read: it is not UTF-8$/);
  },
);
