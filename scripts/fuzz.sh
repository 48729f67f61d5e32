#!/usr/bin/env bash
# Runs the fuzz targets: `fuzz.sh smoke` some thousand inputs each, for 8 s at most; `fuzz.sh SECONDS [TARGET]` for longer.
set -euo pipefail
cd "$(dirname "$0")/.."
nightly=${PENSTOCK_NIGHTLY:-nightly} # instrumentation needs one; any will do

if ! rustup run "$nightly" rustc --version >/dev/null 2>&1; then
  echo "setup: Rust $nightly is missing: fuzz targets are built with instrumentation that stable Rust lacks; installing it" >&2
  rustup toolchain install "$nightly" --profile minimal >&2
fi
cargo_fuzz=$(scripts/tool.sh cargo-fuzz 0.13.2 "builds and runs the fuzz targets")

case ${1:-smoke} in
  smoke) limits=(-runs=20000 -max_total_time=8) ;;
  *) limits=(-max_total_time="$1") ;;
esac
# The first `name` is the package's.
targets=${2:-$(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | tail -n +2)}
for target in $targets; do
  # What was found so far, which is not committed, then seeds: the test corpus of the crate of that name.
  inputs=("fuzz/corpus/$target")
  mkdir -p "${inputs[0]}"
  for seeds in "$target/tests/corpus" "fuzz/seeds/$target"; do
    [ ! -d "$seeds" ] || inputs+=("$seeds")
  done
  # cargo-fuzz runs `cargo`, which is the toolchain's own under `rustup run`. No sanitizer: no crate here has unsafe code.
  rustup run "$nightly" "$cargo_fuzz" run --sanitizer none --fuzz-dir fuzz "$target" "${inputs[@]}" -- "${limits[@]}" -max_len=16384 -timeout=10 \
    -print_final_stats=1 2> >(grep -vE '^#[0-9]' >&2)
done
