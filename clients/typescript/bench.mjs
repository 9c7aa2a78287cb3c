// Measures connect, acquire, release and close: each round of each worker is a new instance on the worker's own key.
// node bench.mjs --workers 10 --rounds 50 --key bench --timeout 30 --servers 127.0.0.1:6388[,host:port…]
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { DistributedLock } from "./dist/client.js";

function count(name, text, least) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < least) {
    console.error(`--${name} ${text} is not a whole number of at least ${least}`);
    process.exit(2);
  }
  return number;
}

const { values } = parseArgs({
  options: {
    workers: { type: "string", default: "10" },
    rounds: { type: "string", default: "50" },
    key: { type: "string", default: "bench" },
    timeout: { type: "string", default: "30" },
    servers: { type: "string", default: "127.0.0.1:6388" },
  },
});
const workers = count("workers", values.workers, 1);
const rounds = count("rounds", values.rounds, 1);
const acquireTimeoutS = count("timeout", values.timeout, 0);
const servers = values.servers.split(",").map((server) => {
  const colon = server.lastIndexOf(":");
  return [server.slice(0, colon), count("servers", server.slice(colon + 1), 1)];
});

async function work(latencies) {
  const key = `${values.key}_${randomInt(100_000, 10_000_000)}`;
  for (let round = 0; round < rounds; round++) {
    const lock = new DistributedLock({ key, acquireTimeoutS, leaseTtlS: 10, servers });
    const began = performance.now();
    await lock.withLock(() => {});
    latencies.push(performance.now() - began);
  }
}

const latencies = [];
const began = performance.now();
await Promise.all(Array.from({ length: workers }, () => work(latencies)));
const wall = (performance.now() - began) / 1000;

latencies.sort((a, b) => a - b);
const mean = latencies.reduce((sum, value) => sum + value, 0) / latencies.length;
const squares = latencies.reduce((sum, value) => sum + (value - mean) ** 2, 0);
const middle = (latencies.length - 1) / 2;
const p50 = (latencies[Math.floor(middle)] + latencies[Math.ceil(middle)]) / 2;
const line = (name, value) => console.log(`${name.padEnd(12)}${value}`);
line("total ops:", latencies.length);
line("wall time:", `${wall.toFixed(3)} s`);
line("throughput:", `${(latencies.length / wall).toFixed(1)} ops/s`);
for (const [name, value] of [
  ["mean", mean],
  ["min", latencies[0]],
  ["max", latencies.at(-1)],
  ["p50", p50],
  ["stdev", latencies.length > 1 ? Math.sqrt(squares / (latencies.length - 1)) : 0],
]) {
  line(`${name}:`, `${value.toFixed(3)} ms`);
}
