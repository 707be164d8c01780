import { fuzz } from "./helpers/fuzz.ts";
import { Chance } from "./helpers/random.ts";
import process from "node:process";
const [cases, share, seed] = process.argv.slice(2).map(Number);
const t = performance.now();
const c = process.cpuUsage();
console.log(await fuzz(new Chance(seed || 5), { cases, socketShare: share }));
const u = process.cpuUsage(c);
console.log(
  Math.round(performance.now() - t),
  "ms",
  (u.user + u.system) / 1000,
  "cpu ms",
  process.memoryUsage().rss / 1e6,
  "MB",
);
process.exit(0);
