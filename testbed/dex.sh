#!/usr/bin/env bash
# Prints the path of Dex, an OpenID provider, built from its Go module and kept in the cache. Its releases are not in the
# form that Go's proxies have (v2 without /v2), so it is named by its commit: that of September 2021, between v2.30 and v2.31.
# A C compiler is needed for one of its stores, which is not used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/dex"
folder=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/dex-$(cat go.mod go.sum | sha256sum | cut -c1-12)
if [ ! -x "$folder/dex" ]; then
  PATH=$(../../scripts/go.sh "Dex is built with it"):$PATH
  echo "testbed: Dex is missing: people log in there; building it (2 minutes with 2 cores)" >&2
  mkdir -p "$folder"
  CGO_ENABLED=1 GOFLAGS=-buildvcs=false \
    go build -trimpath -ldflags "-s -w" -o "$folder/dex.$$" github.com/dexidp/dex/cmd/dex >&2
  mv "$folder/dex.$$" "$folder/dex"
fi
echo "$folder/dex"
