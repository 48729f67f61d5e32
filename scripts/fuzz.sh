#!/usr/bin/env bash
# Runs the fuzz targets: `fuzz.sh smoke` a few thousand inputs each, `fuzz.sh SECONDS [TARGET]` for longer.
set -euo pipefail
cd "$(dirname "$0")/.."
nightly=${PENSTOCK_NIGHTLY:-nightly}
cargo_fuzz_version=0.13.2

rustup toolchain list | grep -q "^$nightly" || rustup toolchain install "$nightly" --profile minimal
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz: cargo-fuzz is missing; installing $cargo_fuzz_version" >&2
  cargo install cargo-fuzz --version "$cargo_fuzz_version" --locked --quiet
fi

case ${1:-smoke} in
  smoke) limit=(-runs=20000) ;;
  *) limit=("-max_total_time=$1") ;;
esac
targets=$(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | tail -n +2)
for target in ${2:-$targets}; do
  corpus="fuzz/corpus/$target"
  mkdir -p "$corpus"
  seeds=(peek/tests/corpus)
  (cd fuzz && cargo "+$nightly" fuzz run --fuzz-dir . "$target" "../$corpus" "../${seeds[0]}" -- "${limit[@]}" -max_len=16384 -timeout=10)
done
