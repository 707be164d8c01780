/**
 * A program that appends until its files may not grow any more, for a shell's `ulimit -f`:
 *
 *     full_disk.ts DIRECTORY ID BLOCK
 *
 * BLOCK is the text of one append. Says in JSON how the log stood before and after the append that failed.
 */
import process from "node:process";
import { FileStorage } from "../../../src/storage/file.ts";
import type { StreamError } from "../../../src/protocol.ts";
import type { LogWriter } from "../../../src/storage.ts";
import { utf8 } from "../bytes.ts";

export interface FullDisk {
  /** Code of the error that the failed append threw. */
  code: string;
  before: Standing;
  after: Standing;
  /** After one more byte, for which there is room, and after the log was closed. */
  last: Standing;
}

interface Standing {
  size: number;
  lineBreaks: number;
  lines: number;
}

const standing = ({ size, lineBreaks, lines }: LogWriter): Standing => ({
  size,
  lineBreaks,
  lines,
});

async function fill(directory: string, id: string, block: string): Promise<FullDisk> {
  const log = await new FileStorage(directory).create(id, { lineAccess: true, epoch: 1 });
  const parts = [utf8(block.slice(0, 1)), utf8(block.slice(1).repeat(100_000))];
  for (;;) {
    const before = standing(log);
    try {
      await log.append(log.size, parts);
    } catch (error) {
      const after = standing(log);
      await log.append(log.size, [utf8(".")]);
      await log.close();
      return { code: (error as StreamError).code, before, after, last: standing(log) };
    }
  }
}

const [directory, id, block] = process.argv.slice(2);
if (directory !== undefined) console.log(JSON.stringify(await fill(directory, id, block)));
