/** One line that is longer than every buffer on its way. */
import { createHash } from "node:crypto";
import { assertEquals } from "@std/assert";
import { type Kind, Workspace } from "./cli.ts";
import { known } from "./seen.ts";

const PIECE = "a very long line without a break ".repeat(2000);

/**
 * Pushes a long line between two short ones and reads it as a window, live and after the end.
 *
 * @param kind Which program.
 * @param lineBytes Least length of the line.
 */
export async function followLongLine(kind: Kind, lineBytes: number): Promise<void> {
  await using workspace = await Workspace.open();
  await workspace.serve(kind);
  const { push, reference } = await workspace.push(kind, ["-"]);
  const live = digestOfLine(workspace, kind, reference);
  push.write("short\n");
  const written = createHash("sha256");
  for (let bytes = 0; bytes < lineBytes; bytes += PIECE.length) {
    written.update(PIECE);
    await push.write(PIECE);
  }
  assertEquals((await known(workspace, reference)).numberOfLines, 1);
  await push.write("\nshort again");
  const digest = written.update("\n").digest("hex");
  assertEquals(await live, digest);
  assertEquals((await known(workspace, reference)).numberOfLines, 2);
  push.end();
  assertEquals((await push.exit()).code, 0);
  assertEquals((await known(workspace, reference)).numberOfLines, 3);
  assertEquals(await digestOfLine(workspace, kind, reference), digest);
  const { stdout } = await workspace.run(kind, ["follow", reference, "--tail", "1"]);
  assertEquals(stdout, "short again");
}

/** Digest of what following the second line gives. */
async function digestOfLine(workspace: Workspace, kind: Kind, reference: string): Promise<string> {
  const arguments_ = ["follow", reference, "--lines", "1:1"];
  const follow = workspace.start(kind, arguments_, { collect: false });
  const hash = createHash("sha256");
  for await (const chunk of follow.output as AsyncIterable<Uint8Array>) hash.update(chunk);
  assertEquals((await follow.exit()).code, 0);
  return hash.digest("hex");
}
