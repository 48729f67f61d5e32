#!/usr/bin/env bash
# Fails when a crate has a dependency that none of its code names, or the workspace has one that no crate takes.
# cargo-shear finds both and more; it was turned down since its newest release does not build with the pinned compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_machete=$(scripts/tool.sh cargo-machete 0.9.2 "finds dependencies that nothing uses")
status=0
# With metadata it looks at the dependencies of tests and benches too.
"$cargo_machete" --with-metadata --skip-target-dir . 2>/dev/null || status=1

mapfile -t manifests < <(git ls-files -co --exclude-standard '*/Cargo.toml')
for name in $(sed -n '/^\[workspace\.dependencies\]/,/^\[/s/^\([A-Za-z0-9_-]*\) *=.*/\1/p' Cargo.toml); do
  grep -qE "^$name(\.workspace *= *true| *= *\{.*workspace *= *true)" "${manifests[@]}" || {
    echo "Cargo.toml: no crate takes the workspace's dependency $name" >&2
    status=1
  }
done
exit $status
