/** `stream push -F`: what is at a path, over every way in which logrotate and others rotate logs. */
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { appendFile, mkdir, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inTurn, type Kind, kinds, type Program, quickest, Workspace } from "../helpers/cli.ts";
import { content, known } from "../helpers/seen.ts";

/** A push of `logs/app.log` with its own context. */
class Following implements AsyncDisposable {
  private constructor(readonly workspace: Workspace, readonly push: Program) {}

  static async start(kind: Kind, ...args: string[]): Promise<Following> {
    const workspace = await Workspace.open();
    await workspace.serveBeside();
    return await Following.at(workspace, kind, ...args);
  }

  static async at(workspace: Workspace, kind: Kind, ...args: string[]): Promise<Following> {
    await mkdir(workspace.path("logs"), { mode: 0o755 });
    const push = workspace.start(kind, ["push", "-F", "logs/app.log", "--context", "c", ...args]);
    return new Following(workspace, push);
  }

  get path(): string {
    return this.workspace.path("logs/app.log");
  }

  /** Appends, and waits until the server has it at the end of one of the files. */
  async write(text: string): Promise<void> {
    await appendFile(this.path, text);
    await this.arrived(text);
  }

  async arrived(text: string): Promise<void> {
    const deadlineAtMs = performance.now() + 10_000;
    while (!(await this.contents()).some((content) => content.endsWith(text))) {
      if (performance.now() > deadlineAtMs) {
        throw new Error(`${JSON.stringify(text)} did not arrive: ${this.push.stderr.text}`);
      }
      await sleep(20);
    }
  }

  /** Content of each resource, oldest first. */
  async contents(): Promise<string[]> {
    const list = await fetch(`${this.workspace.server}/resources?context=c`);
    const resources: { id: string }[] = await list.json();
    return await Promise.all(
      resources.reverse().map(async ({ id }) => {
        const all = await fetch(`${this.workspace.server}/resources/${id}/content`, {
          headers: { range: "bytes=0-1000000" },
        });
        return all.ok ? await all.text() : (await all.body?.cancel(), "");
      }),
    );
  }

  /** Rotates with the real logrotate, whatever the time. */
  async logrotate(...directives: string[]): Promise<void> {
    const config = this.workspace.path("logrotate.conf");
    await writeFile(config, [`${this.path} {`, "rotate 9", ...directives, "}", ""].join("\n"), {
      mode: 0o644,
    });
    execFileSync("logrotate", ["-f", "-s", this.workspace.path("state"), config], {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
  }

  /** Ends it, and returns the content of each resource. */
  async end(): Promise<string[]> {
    this.push.signal("SIGTERM");
    assertEquals((await this.push.exit()).code, 0);
    return await this.contents();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.workspace[Symbol.asyncDispose]();
  }
}

for (const kind of kinds) {
  const test = inTurn(kind);
  test(`${kind}: -F waits for a file that is not there, and follows it`, async () => {
    await using following = await Following.start(kind);
    await following.write("first\n");
    await following.write("second\n");
    assertEquals(await following.end(), ["first\nsecond\n"]);
  });

  test(`${kind}: logrotate with create: every byte of the old file, then the new one as another resource`, async () => {
    await using following = await Following.start(kind);
    await following.write("first\n");
    // A writer that learns late of the new file still has the old one open.
    await following.logrotate("create 0644");
    await appendFile(`${following.path}.1`, "late\n");
    await following.write("second\n");
    await following.logrotate("create 0644");
    await following.write("third\n");
    assertEquals(await following.end(), ["first\nlate\n", "second\n", "third\n"]);
  });

  test(`${kind}: logrotate with nocreate and compress, as the program makes its file itself`, async () => {
    await using following = await Following.start(kind);
    await following.write("first\n");
    await following.logrotate("nocreate", "compress");
    assertEquals(await readdir(following.workspace.path("logs")), ["app.log.1.gz"]);
    await following.write("second\n");
    assertEquals(await following.end(), ["first\n", "second\n"]);
  });

  test(`${kind}: logrotate with copytruncate: what is written anew is another resource`, async () => {
    await using following = await Following.start(kind);
    await following.write("first, which is longer\n");
    await following.logrotate("copytruncate");
    await following.write("second\n");
    await following.logrotate("copytruncate");
    await following.write("third, longer than that before\n");
    assertEquals(await following.end(), [
      ...["first, which is longer\n", "second\n", "third, longer than that before\n"],
    ]);
  });

  test(`${kind}: logrotate with dateext and olddir`, async () => {
    await using following = await Following.start(kind);
    await following.write("first\n");
    await mkdir(following.workspace.path("logs/old"));
    await following.logrotate("create 0644", "dateext", "olddir old");
    await following.write("second\n");
    assertEquals(await following.end(), ["first\n", "second\n"]);
  });

  test(`${kind}: --join goes on in one resource`, async () => {
    await using following = await Following.start(kind, "--join");
    await following.write("first\n");
    await following.logrotate("create 0644");
    await following.write("second\n");
    await following.logrotate("copytruncate");
    await following.write("third\n");
    assertEquals(await following.end(), ["first\nsecond\nthird\n"]);
  });

  test(`${kind}: with --join each file is decoded by itself, with its byte order mark and a character cut off`, async () => {
    await using following = await Following.start(kind, "--join", "--charset", "UTF-16");
    const { path } = following;
    await writeFile(path, Buffer.from("\ufefffirst\nx", "utf16le").subarray(0, -1));
    await following.arrived("first\n");
    await rename(path, `${path}.1`);
    await writeFile(path, Buffer.from("\ufeffsecond\n", "utf16le").swap16());
    await following.arrived("second\n");
    assertEquals(await following.end(), ["first\n\ufffdsecond\n"]);
  });

  test(`${kind}: a link that moves on is followed to where it leads`, async () => {
    await using following = await Following.start(kind);
    const { workspace, path } = following;
    await writeFile(workspace.path("logs/1.log"), "first\n");
    await symlink("1.log", path);
    await following.arrived("first\n");
    await writeFile(workspace.path("logs/2.log"), "second\n");
    await symlink("2.log", `${path}.new`);
    await rename(`${path}.new`, path);
    await following.arrived("second\n");
    assertEquals(await following.end(), ["first\n", "second\n"]);
  });

  test(`${kind}: files that come and go while the server is away are all there in the end`, async () => {
    await using workspace = await Workspace.open();
    const server = await workspace.serve(quickest);
    const following = await Following.at(workspace, kind);
    const { path } = following;
    await following.write("first\n");
    const { port } = new URL(workspace.server);
    await server.kill("SIGKILL");
    for (const text of ["second\n", "third\n"]) {
      await rename(path, `${path}.old`);
      await writeFile(path, text);
      // Nobody can know of a file that is there for a moment only.
      await sleep(1000);
      await rm(`${path}.old`);
    }
    await workspace.serve(quickest, ["--port", port]);
    await following.arrived("third\n");
    assertEquals(await following.end(), ["first\n", "second\n", "third\n"]);
  });

  test(`${kind}: --wait is for files that do not come, and for those that do not come back`, async () => {
    await using workspace = await Workspace.open();
    await workspace.serveBeside();
    const never = await workspace.run(kind, ["push", "-F", "never.log", "--wait", "300ms"]);
    assertEquals([never.code, never.stdout], [1, ""]);
    assertMatch(never.stderr, /never\.log.*no such file/);
    const stopped = workspace.start(kind, ["push", "-F", "never.log"]);
    await stopped.stderr.until((text) =>
      text === "stream: never.log is not there: waiting for it\n"
    );
    stopped.signal("SIGINT");
    assertEquals((await stopped.exit()).code, 130);
    await writeFile(workspace.path("gone.log"), "first\n");
    const { push, reference } = await workspace.push(kind, ["-F", "gone.log", "--wait", "1s"]);
    await content(workspace, reference, 6);
    await rm(workspace.path("gone.log"));
    assertEquals((await push.exit()).code, 0);
    assertEquals((await known(workspace, reference)).transferStatus, "COMPLETED");
    assertEquals(existsSync(workspace.path("gone.log")), false);
    const wrong = await workspace.run(kind, ["push", "a.log", "--join"]);
    assertEquals(wrong.code, 2);
    assertStringIncludes(wrong.stderr, "--join and --wait go with -F");
  });
}
