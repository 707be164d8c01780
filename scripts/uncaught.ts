// Under Deno a file that throws after its first `test()` passes, and so does a test during which a
// stray error is thrown. scripts/test.ts loads this first, and counts what is noted here.
function note(error: unknown): void {
  const path = Deno.env.get("STREAM_UNCAUGHT");
  const line = String(error).split("\n")[0];
  if (path === undefined) console.error(`not caught by any test: ${line}`);
  else Deno.writeTextFileSync(path, line + "\n", { append: true });
}

addEventListener("error", (event) => note(event.error));
addEventListener("unhandledrejection", (event) => note(event.reason));

// Bun limits each test; Deno would wait for ever for one that hangs, and for nothing behind it.
const limitMs = Number(Deno.env.get("STREAM_TEST_LIMIT_MS") ?? Infinity);
const register = Deno.test as (definition: Deno.TestDefinition) => void;

async function within(promise: void | Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`the test ran for ${limitMs} ms`)),
    limitMs,
  );
  try {
    await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

if (limitMs < Infinity) {
  // node:test declares its tests by this, each as an object.
  Object.defineProperty(Deno, "test", {
    value: (definition: Deno.TestDefinition) =>
      register({ ...definition, fn: (context) => within(definition.fn(context)) }),
  });
}
