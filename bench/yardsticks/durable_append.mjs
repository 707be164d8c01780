/** Appends 100 bytes again and again, each when the last is answered: durable_append.mjs URL COUNT */
import { Agent, request } from "node:http";
import process from "node:process";

/** The first ones start things up. */
const WARM_UP = 300;

const [, , server, appends] = process.argv;
const url = `${server}/small`;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
await send("PUT");
const times = [];
for (let count = 0; count < Number(appends) + WARM_UP; count++) {
  const startedAtMs = performance.now();
  await send("POST", Buffer.alloc(100, "x"));
  if (count >= WARM_UP) times.push(performance.now() - startedAtMs);
}
times.sort((a, b) => a - b);
const quantile = (part) => times[Math.floor(times.length * part)];
console.log(JSON.stringify({ p50Ms: quantile(0.5), p99Ms: quantile(0.99) }));
process.exit(0);

function send(method, body) {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/octet-stream" };
    const asked = request(url, { method, agent, headers }, (answer) => {
      if (answer.statusCode >= 300) reject(new Error(`${method}: ${answer.statusCode}`));
      answer.resume().on("end", resolve);
    });
    asked.on("error", reject).end(body);
  });
}
