#!/usr/bin/env bash
# Everything the TypeScript client has to pass. DFLOCKD_BIN names the server that the tests start.
set -euo pipefail
: "${DFLOCKD_BIN:?must name the dflockd program that the tests are to start, for example target/debug/dflockd}"
[ -x "$DFLOCKD_BIN" ] || { echo "DFLOCKD_BIN=$DFLOCKD_BIN is not a program" >&2; exit 1; }
DFLOCKD_BIN="$(realpath "$DFLOCKD_BIN")"
export DFLOCKD_BIN
cd "$(dirname "$0")"

npm ci --prefer-offline --no-audit --no-fund
npm run --silent build
rm -rf dist-test
npx --no-install tsc -p tsconfig.test.json
node --test --test-timeout=60000 dist-test/*.test.js
