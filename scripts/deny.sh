#!/usr/bin/env bash
# Licences, bans and sources of all dependencies. Advisories need a database that is fetched from the network,
# so they are checked only where PENSTOCK_ADVISORIES=1 says that it can be.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_deny_version=0.20.2
if ! cargo deny --version >/dev/null 2>&1; then
  echo "deny: cargo-deny is missing; installing $cargo_deny_version" >&2
  cargo install cargo-deny --version "$cargo_deny_version" --locked --quiet
fi
checks=(bans licenses sources)
[ "${PENSTOCK_ADVISORIES:-0}" = 1 ] && checks+=(advisories)
cargo deny --log-level error check "${checks[@]}"
