#!/usr/bin/env bash
# Writes what is generated: files that the programs print, and the map of the code. With --check, fails when something is not
# up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
# The whole workspace: by themselves, two crates would build their dependencies with fewer features, and so anew.
cargo build --workspace --bins --locked --quiet
penstock=${CARGO_TARGET_DIR:-target}/debug/penstock
operator=${CARGO_TARGET_DIR:-target}/debug/penstock-operator
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

generated=$fresh/docs/generated
mkdir -p "$generated/completions"
"$penstock" schema --format markdown >"$fresh/docs/configuration.md"
"$penstock" schema >"$generated/penstock.schema.json"
"$penstock" schema --kind endpoints >"$generated/penstock-endpoints.schema.json"
"$penstock" man --directory "$generated/man"
"$penstock" completions bash >"$generated/completions/penstock.bash"
"$penstock" completions fish >"$generated/completions/penstock.fish"
"$penstock" completions zsh >"$generated/completions/_penstock"
mkdir -p "$fresh/helm/penstock/files/crds"
"$operator" crds --directory "$fresh/helm/penstock/files/crds"
python3 scripts/map.py "$fresh/docs/map.md"

if [ "${1:-}" = --check ]; then
  stale=0
  for what in docs/generated docs/configuration.md docs/map.md helm/penstock/files/crds; do
    diff -ru "$what" "$fresh/$what" >&2 || stale=1
  done
  [ "$stale" -eq 0 ] || { echo "generated files are out of date: run 'make generate' and commit the result" >&2; exit 1; }
else
  rm -rf docs/generated helm/penstock/files/crds
  mkdir -p helm/penstock/files
  cp -r "$fresh/docs" .
  cp -r "$fresh/helm/penstock/files/crds" helm/penstock/files/
fi
