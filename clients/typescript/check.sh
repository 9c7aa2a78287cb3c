#!/usr/bin/env bash
# Everything the TypeScript client has to pass. DFLOCKD_BIN names the server that the tests start.
set -euo pipefail
: "${DFLOCKD_BIN:?must name the dflockd program that the tests are to start, for example target/debug/dflockd}"
[ -x "$DFLOCKD_BIN" ] || { echo "DFLOCKD_BIN=$DFLOCKD_BIN is not a program" >&2; exit 1; }
DFLOCKD_BIN="$(realpath "$DFLOCKD_BIN")"
export DFLOCKD_BIN
cd "$(dirname "$0")"

for program in node npm; do
  command -v "$program" >/dev/null ||
    { echo "$program is missing: the TypeScript client needs Node.js 20 or newer, with npm" >&2; exit 1; }
done
major="$(node -p 'process.versions.node.split(".")[0]')"
[ "$major" -ge 20 ] || { echo "Node.js $(node --version) is too old: the tests need 20 or newer" >&2; exit 1; }

# Only the compiler and Node's types, in the versions of package-lock.json. What is there already is left alone.
if ! cmp -s package-lock.json node_modules/.installed-from; then
  npm ci --prefer-offline --no-audit --no-fund ||
    { echo "npm could not install what package-lock.json names; is the package registry reachable?" >&2; exit 1; }
  cp package-lock.json node_modules/.installed-from
fi
npm run --silent build
rm -rf dist-test
npx --no-install tsc -p tsconfig.test.json
node --test --test-timeout=600000 dist-test/*.test.js
