#!/usr/bin/env bash
# Every example configuration, and that of the README, passes `penstock validate`.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
shopt -s nullglob
examples=(examples/*.yaml examples/*.json)
[ ${#examples[@]} -gt 0 ] || { echo "no examples found" >&2; exit 1; }
readme=$(mktemp --suffix=-README.yaml)
trap 'rm -f "$readme"' EXIT
sed -n '/^```yaml$/,/^```$/{//!p}' README.md >"$readme"
"$target/debug/penstock" validate "${examples[@]}" "$readme"
