/** A log of 200 lines that is pushed and followed while it is written. */
import { appendFile, writeFile } from "node:fs/promises";
import { assertEquals } from "@std/assert";
import { type Kind, Workspace } from "./cli.ts";
import { known } from "./seen.ts";

const LOG = Array.from({ length: 200 }, (_, index) => `line ${index} of a log\n`);

/** Who writes the log: into a pipe, or into a file. */
interface Producer {
  write(line: string): void | Promise<void>;
  end(): void | Promise<void>;
}

/**
 * Pushes one log from a pipe and one from a growing file, each with two followers.
 *
 * @param pair Which program is the server, and which one everybody else.
 * @param writtenInMs How long writing a log takes.
 */
export async function followLogs(
  { server, client }: { server: Kind; client: Kind },
  writtenInMs: number,
): Promise<void> {
  await using workspace = await Workspace.open();
  await workspace.serve(server);
  await Promise.all([
    followPipe(workspace, client, writtenInMs),
    followGrowingFile(workspace, client, writtenInMs),
  ]);
}

async function followPipe(workspace: Workspace, kind: Kind, writtenInMs: number): Promise<void> {
  const { push, reference } = await workspace.push(kind, ["-", "--name", "live.log"]);
  const producer = { write: (line: string) => push.write(line), end: () => push.end() };
  await followWhileWritten(workspace, kind, reference, producer, writtenInMs);
  assertEquals(await push.exit(), { code: 0, stdout: `${reference}\n`, stderr: "" });
}

async function followGrowingFile(
  workspace: Workspace,
  kind: Kind,
  writtenInMs: number,
): Promise<void> {
  const [log, done] = ["live.log", "done"].map((name) => workspace.path(name));
  await writeFile(log, "");
  const { push, reference } = await workspace.push(kind, [log, "--follow", "--until-file", done]);
  const producer = {
    write: (line: string) => appendFile(log, line),
    end: () => writeFile(done, ""),
  };
  await followWhileWritten(workspace, kind, reference, producer, writtenInMs);
  assertEquals(await push.exit(), { code: 0, stdout: `${reference}\n`, stderr: "" });
  const { transferStatus, numberOfLines } = await known(workspace, reference);
  assertEquals([transferStatus, numberOfLines], ["COMPLETED", LOG.length]);
}

/** One follower is there from the start, the other one comes late and begins at an offset. */
async function followWhileWritten(
  workspace: Workspace,
  kind: Kind,
  reference: string,
  producer: Producer,
  writtenInMs: number,
): Promise<void> {
  const writeLines = async (lines: string[]) => {
    for (const line of lines) {
      await producer.write(line);
      await new Promise((resolve) => setTimeout(resolve, writtenInMs / LOG.length));
    }
  };
  const whole = LOG.join("");
  const offset = LOG.slice(0, 50).join("").length + 3;
  const early = workspace.start(kind, ["follow", reference]);
  await writeLines(LOG.slice(0, 80));
  // The first line has arrived before the second half is even written.
  await early.stdout.until((text) => text.includes(LOG[0]));
  const late = workspace.start(kind, ["follow", reference, "--from", String(offset)]);
  await writeLines(LOG.slice(80, -1));
  await late.stdout.until((text) => text.includes(LOG[51]));
  await writeLines(LOG.slice(-1));
  await producer.end();
  assertEquals(await early.exit(), { code: 0, stdout: whole, stderr: "" });
  assertEquals(await late.exit(), { code: 0, stdout: whole.slice(offset), stderr: "" });
}
