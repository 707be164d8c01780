// Declares the tests of all files given after `--` in one isolate. Deno makes one for each file it is
// given, and loads all modules anew: 0.6 s of a processor a file. scripts/test.ts reads what is told
// here, as Deno's report knows this file only.
const { test } = Deno;
let declared = 0;
const counted = (...words: Parameters<typeof test>) => {
  declared++;
  test(...words);
};
// node:test declares by this one, too.
Object.assign(Deno, { test: Object.assign(counted, test) });

for (const file of Deno.args) {
  const before = declared;
  await import(new URL(`../${file}`, import.meta.url).href);
  console.log(`declared ${declared - before} tests in ${file}`);
}
