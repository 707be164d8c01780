/** What survives a broken connection, a killed server and a killed client, by the real program. */
import { Buffer } from "node:buffer";
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { utf8 } from "../helpers/bytes.ts";
import {
  eitherRuntime,
  type Kind,
  kinds,
  own,
  type Program,
  quickest,
  Workspace,
} from "../helpers/cli.ts";
import { assertBytes } from "../helpers/frames/connection.ts";
import { Chance } from "../helpers/random.ts";
import { checksumOf } from "../helpers/resources.ts";
import { known, uploaded } from "../helpers/seen.ts";

const either = eitherRuntime();

const PART_BYTES = 300_000;
/** ASCII, so that characters are bytes. */
const BYTES = new Chance(1).text(3 * PART_BYTES);
const part = (index: number) => BYTES.slice(index * PART_BYTES, (index + 1) * PART_BYTES);

/** A server that comes back at its address, with its data. */
class Server {
  #program!: Program;

  private constructor(
    readonly workspace: Workspace,
    readonly kind: Kind,
    readonly options: string[],
  ) {}

  static async start(workspace: Workspace, kind: Kind, options: string[] = []): Promise<Server> {
    const server = new Server(workspace, kind, options);
    server.#program = await workspace.serve(kind, options);
    return server;
  }

  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.#program.kill(signal);
  }

  async again(): Promise<void> {
    const { port } = new URL(this.workspace.server);
    this.#program = await this.workspace.serve(this.kind, [...this.options, "--port", port]);
  }

  async restart(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.stop(signal);
    await this.again();
  }
}

async function seen({ stdout }: Program, byteCount: number): Promise<void> {
  await stdout.until((text) => text.length >= byteCount);
}

/** Fails unless a resource is COMPLETED with exactly these bytes. */
async function assertCompleted(
  workspace: Workspace,
  reference: string,
  bytes: Uint8Array,
): Promise<void> {
  const { transferStatus, currentSize, digest } = await known(workspace, reference);
  assertEquals([transferStatus, currentSize], ["COMPLETED", bytes.length]);
  assertEquals(digest, { algorithm: "xxh128", value: await checksumOf(bytes) });
}

for (const kind of kinds) {
  test(`${kind}: a push and a follow survive the server's kill -9, twice`, async () => {
    await using workspace = await Workspace.open();
    const server = await Server.start(workspace, kind);
    const path = workspace.path("live.log");
    await writeFile(path, part(0));
    const { push, reference } = await workspace.push(kind, [path, "--until-file", "done"]);
    const follow = workspace.start(kind, ["follow", reference]);
    await seen(follow, PART_BYTES);
    await server.restart("SIGKILL");
    await appendFile(path, part(1));
    await seen(follow, PART_BYTES + 1);
    await server.restart("SIGKILL");
    await appendFile(path, part(2));
    await writeFile(workspace.path("done"), "");
    const pushed = await push.exit();
    assertEquals([pushed.code, pushed.stdout], [0, `${reference}\n`]);
    assertMatch(
      pushed.stderr,
      /^((stream: .*; trying again in \d\.\d s\n)+stream: connected again\n){2,}$/,
    );
    const followed = await follow.exit();
    assertEquals(followed.code, 0);
    assertBytes(follow.stdout.bytes, BYTES);
    await assertCompleted(workspace, reference, BYTES);
    await server.stop("SIGTERM");
    const checked = await workspace.run(kind, ["check", "--data", "data"]);
    assertEquals([checked.code, checked.stdout], [0, "1 resource checked, 0 problems\n"]);
  });
}

either(
  "a push from a pipe survives a restart of the server, with durability `disk`, too",
  async () => {
    await using workspace = await Workspace.open();
    const server = await Server.start(workspace, own, ["--durability", "disk"]);
    const { push, reference } = await workspace.push(own, ["-"]);
    const follow = workspace.start(own, ["follow", reference]);
    await push.write(part(0));
    await seen(follow, 1);
    await server.stop("SIGTERM");
    await push.write(part(1));
    await server.again();
    await push.write(part(2));
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals((await follow.exit()).code, 0);
    assertBytes(follow.stdout.bytes, BYTES);
    await assertCompleted(workspace, reference, BYTES);
  },
);

/** A push of a file that was killed when its first part had arrived. */
async function killedPush(workspace: Workspace, bytes: Uint8Array, ...options: string[]) {
  const path = workspace.path("live.log");
  await writeFile(path, bytes);
  const { push, reference } = await workspace.push(own, [path, "--follow", ...options]);
  const follow = workspace.start(quickest, ["follow", reference]);
  await seen(follow, 1);
  await push.kill("SIGKILL");
  return { path, reference, follow };
}

either(
  "a killed push of a file goes on with --resume, once, and only for who has its token",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { path, reference, follow } = await killedPush(workspace, part(0));
    await appendFile(path, BYTES.slice(PART_BYTES));
    const elsewhere = { env: { XDG_STATE_HOME: workspace.path("elsewhere") } };
    const missing = await workspace.run(own, ["push", path, "--resume", reference], elsewhere);
    assertEquals([missing.code, missing.stdout], [5, ""]);
    assertMatch(missing.stderr, /^stream: no token of upload .* is saved .*\(NOT_OWNER\)\n$/);
    await forgeToken(workspace, "elsewhere", reference);
    const wrong = await workspace.run(own, ["push", path, "--resume", reference], elsewhere);
    assertEquals([wrong.code, wrong.stdout], [5, ""]);
    assertMatch(wrong.stderr, /\(NOT_OWNER\)\n$/);
    const resumed = await workspace.run(own, ["push", path, "--resume", reference]);
    assertEquals([resumed.code, resumed.stdout, resumed.stderr], [0, `${reference}\n`, ""]);
    assertEquals((await follow.exit()).code, 0);
    assertBytes(follow.stdout.bytes, BYTES);
    await assertCompleted(workspace, reference, BYTES);
    const again = await workspace.run(own, ["push", path, "--resume", reference]);
    assertEquals(again.code, 5);
  },
);

either("a push under the id of one that was killed says how that goes on", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const path = workspace.path("live.log");
  await writeFile(path, part(0));
  const id = crypto.randomUUID();
  const { push } = await workspace.push(own, [path, "--id", id, "--follow"]);
  await push.kill("SIGKILL");
  const again = await workspace.run(own, ["push", path, "--id", id]);
  assertEquals([again.code, again.stdout], [1, ""]);
  assertMatch(again.stderr, new RegExp(`there is a resource ${id} already; .* --resume ${id} \\(`));
  assertEquals((await workspace.run(own, ["push", path, "--resume", id])).code, 0);
  const over = await workspace.run(own, ["push", path, "--id", id]);
  assertMatch(over.stderr, /already \(CONFLICT\)\n$/);
});

either("a push whose upload another one took over leaves the token to that one", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const path = workspace.path("live.log");
  await writeFile(path, part(0));
  const { push, reference } = await workspace.push(own, [path, "--follow"]);
  const follow = workspace.start(quickest, ["follow", reference]);
  await seen(follow, 1);
  const resume = [path, "--resume", reference];
  push.signal("SIGSTOP"); // It hears of the other one when that has begun.
  const { push: second } = await workspace.push(own, [...resume, "--follow"]);
  push.signal("SIGCONT");
  assertEquals((await push.exit()).code, 5);
  await second.kill("SIGKILL");
  await writeFile(path, BYTES);
  assertEquals((await workspace.run(own, ["push", ...resume])).code, 0);
  assertEquals((await follow.exit()).code, 0);
  assertBytes(follow.stdout.bytes, BYTES);
});

async function forgeToken(workspace: Workspace, home: string, reference: string): Promise<void> {
  const id = reference.split("/").at(-1)!;
  const directory = workspace.path(`${home}/stream/uploads`);
  await mkdir(directory, { recursive: true });
  await writeFile(`${directory}/${id}`, `${id}:${"0".repeat(64)}`);
}

for (const transport of ["ws", "http"]) {
  either(
    `a file too short for --resume by ${transport} ends nothing, the right one goes on`,
    async () => {
      await using workspace = await Workspace.open();
      await workspace.serveBeside();
      const { path, reference, follow } = await killedPush(workspace, part(0));
      const resume = ["--resume", reference, "--transport", transport];
      await writeFile(workspace.path("other.log"), "shorter");
      const wrong = await workspace.run(own, ["push", "other.log", ...resume]);
      assertEquals(wrong.code, 1);
      assertMatch(
        wrong.stderr,
        /the server has \d+ bytes of this upload; the source has 7: .*nothing was changed \(CONFLICT\)\n$/,
      );
      assertEquals((await known(workspace, reference)).transferStatus, "IN_PROGRESS");
      const right = await workspace.run(own, ["push", path, ...resume]);
      assertEquals([right.code, right.stderr], [0, ""]);
      assertEquals((await follow.exit()).code, 0);
      await assertCompleted(workspace, reference, part(0));
      assertEquals(await readdir(workspace.path("stream/uploads")), []);
    },
  );
}

either(
  "a token with which no resume can succeed is removed, and kept when another server was asked",
  async () => {
    await using workspace = await Workspace.open();
    const server = await Server.start(workspace, quickest, ["--resume-window", "300ms"]);
    const { path, reference, follow } = await killedPush(workspace, part(0));
    assertEquals((await follow.exit()).code, 3);
    const tokens = () => readdir(workspace.path("stream/uploads"));
    assertEquals((await tokens()).length, 1);
    const first = workspace.server;
    await workspace.serve(quickest, ["--data", "other"]);
    const id = reference.split("/").at(-1)!;
    const elsewhere = await workspace.run(own, ["push", path, "--resume", id]);
    assertMatch(elsewhere.stderr, /\(NOT_FOUND\)\n$/);
    assertEquals((await tokens()).length, 1);
    const late = await workspace.run(own, ["push", path, "--resume", id, "--server", first]);
    assertMatch(late.stderr, /\(WRONG_STATE\)\n$/);
    assertEquals(await tokens(), []);
    await server.stop("SIGTERM");
  },
);

either("a killed push with --charset goes on where the text in UTF-8 ended", async () => {
  await using workspace = await Workspace.open();
  await workspace.serveBeside();
  const words = "für Äpfel, Öl & Übermut\n".repeat(3000);
  const latin1 = (text: string) => Buffer.from(text, "latin1");
  const charset = ["--charset", "iso-8859-1"];
  const { path, reference } = await killedPush(workspace, latin1(words), ...charset);
  await appendFile(path, latin1("und mehr: ß"));
  const arguments_ = ["push", path, "--resume", reference, ...charset];
  const resumed = await workspace.run(own, arguments_);
  assertEquals([resumed.code, resumed.stderr], [0, ""]);
  await assertCompleted(workspace, reference, utf8(`${words}und mehr: ß`));
});

either(
  "follow -o --continue goes on at the end of a partial file, while the resource grows",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { push, reference } = await workspace.push(own, ["-"]);
    await push.write(part(0));
    const partial = workspace.path("partial.log");
    const to = ["follow", reference, "--to", "1000", "-o", partial];
    assertEquals((await workspace.run(own, to)).code, 0);
    const follow = workspace.start(own, ["follow", reference, "-o", partial, "--continue"]);
    await push.write(part(1));
    await push.write(part(2));
    push.end();
    assertEquals((await push.exit()).code, 0);
    assertEquals((await follow.exit()).code, 0);
    assertBytes(await readFile(partial), BYTES);
  },
);

either(
  "a partial file that is longer than its running resource was not of it: --continue says so",
  async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const { push, reference } = await workspace.push(own, ["-"]);
    await push.write("short");
    const first = workspace.start(own, ["follow", reference]);
    await seen(first, 5);
    const partial = workspace.path("partial.log");
    await writeFile(partial, "longer than that");
    const arguments_ = ["follow", reference, "-o", partial, "--continue"];
    const { code, stderr } = await workspace.run(own, arguments_);
    assertEquals(code, 1);
    assertMatch(stderr, /16.*5 bytes.*\(OFFSET_LOST\)\n$/);
    assertEquals(await readFile(partial, "utf8"), "longer than that");
  },
);

either("a push and a follow give up with exit code 4 when the server stays away", async () => {
  await using workspace = await Workspace.open();
  const server = await Server.start(workspace, quickest);
  const { push, reference } = await workspace.push(own, ["-", "--retry-for", "1s"]);
  await push.write("one\n");
  const follow = workspace.start(own, ["follow", reference, "--retry-for", "1s"]);
  await seen(follow, 4);
  await server.stop("SIGKILL");
  for (const { code, stderr } of [await push.exit(), await follow.exit()]) {
    assertEquals(code, 4);
    assertMatch(stderr, /trying again in .*\n(.*\n)*stream: .*\((UNREACHABLE|INTERRUPTED)\)\n$/);
  }
});

either("a push and a follow wait for a server that starts later", async () => {
  await using workspace = await Workspace.open();
  const server = await Server.start(workspace, quickest);
  const first = await uploaded(workspace, part(0));
  await server.stop("SIGTERM");
  const push = workspace.start(own, ["push", "-", "--retry-for", "1m"]);
  const follow = workspace.start(own, ["follow", first, "--retry-for", "1m"]);
  for (const { stderr } of [push, follow]) {
    await stderr.until((text) => text.includes("trying again"));
  }
  await server.again();
  await push.write(part(1));
  push.end();
  const { code, stdout } = await push.exit();
  assertEquals(code, 0);
  await assertCompleted(workspace, stdout.trim(), part(1));
  assertEquals((await follow.exit()).code, 0);
  assertBytes(follow.stdout.bytes, part(0));
});

either("a push that may not retry gives up at once", async () => {
  await using workspace = await Workspace.open();
  const server = await Server.start(workspace, quickest);
  const { push } = await workspace.push(own, ["-", "--retry-for", "0s"]);
  await server.stop("SIGKILL");
  const { code, stderr } = await push.exit();
  assertEquals(code, 4);
  assert(!stderr.includes("trying again"), stderr);
});

const MIB = 1024 * 1024;

either(
  "a pipe has to wait when its spool is full, and all of it arrives when the server is back",
  async () => {
    await using workspace = await Workspace.open();
    const server = await Server.start(workspace, own);
    const { push, reference } = await workspace.push(own, ["-", "--spool-limit", "1MB"]);
    await push.write(part(0));
    const follow = workspace.start(own, ["follow", reference], { collect: false });
    await follow.output.take(1).toArray();
    await server.stop("SIGKILL");
    const bytes = new Uint8Array(24 * MIB).fill(120);
    let written = 0;
    const writing = (async () => {
      for (; written < bytes.length; written += MIB / 16) {
        await push.write(bytes.subarray(0, MIB / 16));
      }
      push.end();
    })();
    await untilSteady(() => written);
    // The spool, a window, and what pipes hold.
    assert(written < 12 * MIB, `${written} bytes were taken`);
    await server.again();
    await writing;
    assertEquals((await push.exit()).code, 0);
    const whole = new Uint8Array(PART_BYTES + bytes.length);
    whole.set(part(0));
    whole.set(bytes, PART_BYTES);
    await assertCompleted(workspace, reference, whole);
  },
);

/** Waits until a number has been the same for half a second: nothing tells that a pipe goes on being full. */
async function untilSteady(number: () => number): Promise<void> {
  for (let last = -1, same = 0; same < 10; last = number()) {
    same = number() === last ? same + 1 : 0;
    await sleep(50);
  }
}
