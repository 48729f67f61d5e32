#!/usr/bin/env bash
# Licences, bans and sources of all dependencies. Advisories need a database that is fetched from the network, so they
# are checked only where PENSTOCK_ADVISORIES=1 says that it can be.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo_deny=$(scripts/tool.sh cargo-deny 0.20.2 "checks the dependencies' licences and sources")
checks=(bans licenses sources)
[ "${PENSTOCK_ADVISORIES:-0}" != 1 ] || checks+=(advisories)
"$cargo_deny" --log-level error check "${checks[@]}"
