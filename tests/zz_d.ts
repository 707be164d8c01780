import { createDigest } from "../src/digest.ts";
import process from "node:process";
const keep = [];
const r0 = process.memoryUsage().rss;
let n = 0;
try {
  for (; n < 20000; n++) {
    keep.push(await createDigest("xxh128"));
    if (n % 4000 === 0) console.log(n, Math.round((process.memoryUsage().rss - r0) / 1e6), "MB");
  }
} catch (e) {
  console.log("failed at", n, String(e));
}
console.log(n, (process.memoryUsage().rss - r0) / n / 1000, "kB each");
process.exit(0);
