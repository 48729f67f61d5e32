#!/usr/bin/env bash
# Proves that people can log in: a real OpenID provider (Dex), two gateways, and a browser's worth of HTTP.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
dex=$(testbed/dex.sh)
# The whole workspace, as the tests build it, so that nothing is built anew.
cargo build --workspace --locked --quiet --bins
exec python3 scripts/login/run.py --dex "$dex" --bin "${CARGO_TARGET_DIR:-target}/debug"
