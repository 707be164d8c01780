/** What a command says of something that is not there, or not one: the same rule for all (README, exit codes). */
import { after } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { eitherRuntime, quickest, Workspace } from "../helpers/cli.ts";
import { uploaded } from "../helpers/seen.ts";

const FAILED = 1, USAGE = 2;

/** Commands that take a reference; `REF` stands for it. */
const OF_A_RESOURCE = [
  ["follow", "REF"],
  ["follow", "REF", "-o", "copy"],
  ["get", "REF"],
  ["status", "REF"],
  ["wait", "REF"],
  ["rm", "REF"],
  ["share", "REF"],
  ["search", "REF", "x"],
];
const OF_A_CONTEXT = [
  ["follow", "--context", "nobody"],
  ["get", "--context", "nobody"],
  ["wait", "--context", "nobody"],
  ["rm", "--context", "nobody"],
  ["ls", "--context", "nobody"],
  ["close", "nobody"],
];

/** References, and what is said of them. */
const REFERENCES: Record<string, [says: string, code: number]> = {
  "0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a11": ["NOT_FOUND", FAILED],
  "abcdef": ["NOT_FOUND", FAILED],
  "run/other.log": ["NOT_FOUND", FAILED],
  "nobody/a.log": ["NOT_FOUND", FAILED],
  "run/a.log": ["CONFLICT", FAILED],
  "0e9b": ["CONFLICT", FAILED],
  "?": ["BAD_REQUEST", USAGE],
};

const test = eitherRuntime();

for (const [reference, [says, code]] of Object.entries(REFERENCES)) {
  test(`${reference} is ${says} to every command`, async () => {
    const workspace = await twins();
    for (const words of OF_A_RESOURCE) {
      const args = words.map((word) => word === "REF" ? reference : word);
      const ended = await workspace.run(quickest, args);
      // With grep 1 means that nothing was found.
      const wanted = words[0] === "search" ? USAGE : code;
      assertEquals([args, ended.code, ended.stdout], [args, wanted, ""]);
      assertStringIncludes(ended.stderr, says);
    }
  });
}

test("a context that nobody made is CONTEXT_UNKNOWN to every command", async () => {
  const workspace = await twins();
  for (const args of OF_A_CONTEXT) {
    const { code, stdout, stderr } = await workspace.run(quickest, args);
    assertEquals([args, code, stdout], [args, FAILED, ""]);
    assertStringIncludes(stderr, 'there is no upload context "nobody" (CONTEXT_UNKNOWN)');
  }
  const none = await workspace.run(quickest, ["ls", "--context", "run", "--name", "none"]);
  assertEquals([none.code, none.stdout, none.stderr], [0, "", ""]);
});

let opened: Promise<Workspace> | null = null;

/** Two resources with one name in a context, and two ids that begin alike: nothing here changes them. */
function twins(): Promise<Workspace> {
  return opened ??= withTwins();
}

after(async () => await (await opened)?.[Symbol.asyncDispose]());

async function withTwins(): Promise<Workspace> {
  const workspace = await Workspace.open();
  await workspace.serveBeside();
  for (const last of ["21", "22"]) {
    const id = `0e9b1f9e-6c53-4f7c-a5a8-3b6d1f1c8a${last}`;
    await uploaded(workspace, "one\n", { contextId: "run", id });
  }
  return workspace;
}
