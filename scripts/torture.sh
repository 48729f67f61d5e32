#!/usr/bin/env bash
# Attacks the gateway while a good client uses it, and prints what that took: `torture.sh [ATTACK...]`.
#   CHAOS=SECONDS     how long model servers are killed, frozen and replaced (60; an hour before a release)
set -euo pipefail
cd "$(dirname "$0")/.."

PENSTOCK_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
export PENSTOCK_COMMIT
# As perf.sh and the gates build it, so that nothing is built anew.
cargo build --release --locked --quiet -p penstock-perf -p penstock-proxy -p penstock-gates --bins
cargo build --release --locked --quiet -p penstock-sim --bins
h2spec=$(scripts/h2spec.sh)
# Ten thousand streams are twenty thousand sockets.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
exec python3 scripts/torture.py --bin target/release --h2spec "$h2spec" --chaos "${CHAOS:-60}" "$@"
