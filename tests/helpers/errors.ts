/** What a step must fail with. */
import { assertEquals, assertRejects } from "@std/assert";
import { type ErrorCode, StreamError } from "../../src/protocol.ts";

/** Fails unless the step is rejected with this code; the error, for a look at its message. */
export async function assertFails(
  code: ErrorCode,
  step: () => Promise<unknown>,
): Promise<StreamError> {
  const error = await assertRejects(step, StreamError);
  assertEquals(error.code, code, error.message);
  return error;
}
