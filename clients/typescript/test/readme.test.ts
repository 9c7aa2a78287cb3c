// Runs the examples of the README: each `ts` block is a program of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";
import { RealServer } from "./real_server.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1] as string);

async function run(args: string[]): Promise<void> {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  assert.equal(code, 0, output);
}

describe("README", () => {
  let server: RealServer;
  before(async () => {
    server = await RealServer.start();
  });
  after(() => server.kill());

  test("its examples compile and run", async () => {
    assert.ok(blocks.length >= 6, `only ${blocks.length} examples found`);
    const folder = join(root, "dist-test/readme");
    mkdirSync(folder, { recursive: true });
    const files = blocks.map((block, number) => {
      const file = join(folder, `example${number}.mts`);
      // The examples speak of the default port; here the server has one of its own.
      writeFileSync(file, block.replaceAll("6388", String(server.port)));
      return file;
    });
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const flags = "--strict --target ES2022 --module NodeNext --moduleResolution NodeNext --types node --lib ES2022,ESNext.Disposable";
    await run([tsc, ...flags.split(" "), ...files]);
    for (const file of files) {
      await run([file.replace(/\.mts$/, ".mjs")]);
    }
  });
});
