import { test } from "node:test";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { ByteQueue } from "../src/byte_queue.ts";
import { concat } from "./helpers/bytes.ts";
import { assertBytes } from "./helpers/frames/connection.ts";

/** The bytes of a queue, piece by piece. */
function contentOf(queue: ByteQueue): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = queue.start; at < queue.end; at += pieces.at(-1)!.length) {
    pieces.push(queue.view(at, Infinity));
  }
  return concat(pieces);
}

test("a queue holds what was appended and not let go of, at either end", () => {
  const length = fc.nat({ max: 400_000 });
  const step = fc.record({ name: fc.constantFrom("append", "before", "from"), length });
  fc.assert(
    fc.property(fc.nat({ max: 1000 }), fc.array(step, { maxLength: 8 }), (start, steps) => {
      const queue = new ByteQueue(start);
      let model: Uint8Array = new Uint8Array(0);
      let next = 0;
      for (const { name, length } of steps) {
        const some = Math.min(length, model.length);
        if (name === "append") {
          const bytes = Uint8Array.from({ length }, () => next++);
          queue.append(bytes);
          model = concat([model, bytes]);
        } else if (name === "before") {
          queue.dropBefore(queue.start + some);
          model = model.slice(some);
        } else {
          queue.dropFrom(queue.end - some);
          model = model.slice(0, model.length - some);
        }
      }
      assertEquals(queue.end - queue.start, model.length);
      assertBytes(contentOf(queue), model);
    }),
    { numRuns: 20 },
  );
});
