#!/usr/bin/env bash
# Proves limits with whole gateways under faults, and prints what each fault did: `limits.sh [--short] [--seconds N] [FAULT...]`.
set -euo pipefail
cd "$(dirname "$0")/.."

PENSTOCK_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
export PENSTOCK_COMMIT
# As perf.sh, torture.sh and the gates build it, so that nothing is built anew.
cargo build --release --locked --quiet -p penstock-perf -p penstock-proxy -p penstock-gates --bins
cargo build --release --locked --quiet -p penstock-sim --bins
exec python3 scripts/limits/run.py --bin "${CARGO_TARGET_DIR:-target}/release" "$@"
