// Under Deno a file that throws after its first `test()` passes, and so does a test during which a
// stray error is thrown. scripts/test.ts loads this first, and counts what is noted here.
function note(error: unknown): void {
  const line = String(error).split("\n")[0];
  Deno.writeTextFileSync(Deno.env.get("STREAM_UNCAUGHT")!, line + "\n", { append: true });
}

addEventListener("error", (event) => note(event.error));
addEventListener("unhandledrejection", (event) => note(event.reason));
