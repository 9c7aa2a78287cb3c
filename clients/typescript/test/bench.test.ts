// The benchmark script of the package runs and prints what it promises.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RealServer } from "./real_server.js";

const script = fileURLToPath(new URL("../bench.mjs", import.meta.url));
const run = promisify(execFile);

test("the benchmark script measures rounds of several workers over two servers", async (t) => {
  const shards = await Promise.all([RealServer.start(), RealServer.start()]);
  t.after(() => Promise.all(shards.map((shard) => shard.kill())));
  const servers = shards.map(({ port }) => `127.0.0.1:${port}`).join(",");
  const { stdout } = await run(process.execPath, [script, "--workers", "4", "--rounds", "5", "--servers", servers]);
  assert.match(stdout, /^total ops: +20$/m);
  for (const name of ["wall time", "throughput", "mean", "min", "max", "p50", "stdev"]) {
    assert.match(stdout, new RegExp(`^${name}: +[0-9.]+ `, "m"));
  }
});

test("the benchmark script names a wrong argument", async () => {
  await assert.rejects(run(process.execPath, [script, "--workers", "none"]), { code: 2, stderr: /--workers none is not/ });
});
