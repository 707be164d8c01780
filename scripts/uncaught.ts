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
