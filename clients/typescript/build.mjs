// Builds both module formats: tsc twice, then the two small files through which `require` enters.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const compile = (project) =>
  execFileSync(process.execPath, [tsc, "-p", project], { cwd: here, stdio: "inherit" });

rmSync(join(here, "dist"), { recursive: true, force: true });
compile("tsconfig.json");
compile("tsconfig.cjs.json");

// The files below dist/cjs end in .js like their ESM twins; the package.json beside them says what they are.
mkdirSync(join(here, "dist/cjs"), { recursive: true });
writeFileSync(join(here, "dist/cjs/package.json"), '{ "type": "commonjs" }\n');
writeFileSync(join(here, "dist/client.cjs"), 'module.exports = require("./cjs/client.js");\n');
writeFileSync(join(here, "dist/client.d.cts"), 'export * from "./cjs/client.js";\n');
