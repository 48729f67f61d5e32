#!/usr/bin/env bash
# Runs one step of `make test` under a headline, with the time it took.
set -euo pipefail
name=$1
shift
printf '\n== %s\n' "$name"
start=$SECONDS
"$@"
printf '== %s: ok, %d s\n' "$name" "$((SECONDS - start))"
