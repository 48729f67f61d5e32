#!/usr/bin/env bash
# Writes the generated files; with --check, fails when one is not up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
cargo build -p penstock-proxy --locked --quiet
penstock="$target/debug/penstock"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

mkdir -p "$fresh/docs/generated/completions"
"$penstock" schema >"$fresh/docs/generated/routing-config.schema.json"
"$penstock" reference >"$fresh/docs/configuration.md"
"$penstock" man >"$fresh/docs/generated/penstock.1"
for shell in bash zsh fish; do
  "$penstock" completions "$shell" >"$fresh/docs/generated/completions/penstock.$shell"
done

if [ "${1:-}" = --check ]; then
  stale=0
  while IFS= read -r file; do
    diff -u "$file" "$fresh/$file" >&2 || stale=1
  done < <(cd "$fresh" && find docs -type f)
  [ "$stale" -eq 0 ] || { echo "generated files are stale: run 'make generate' and commit the result" >&2; exit 1; }
else
  cp -r "$fresh/docs" .
fi
