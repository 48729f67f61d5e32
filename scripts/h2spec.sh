#!/usr/bin/env bash
# Prints the path of h2spec, which checks an HTTP/2 server against its RFCs; builds it first where it is missing.
set -euo pipefail
version=v2.2.1
root=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/tools/h2spec-$version
if [ ! -x "$root/h2spec" ]; then
  echo "setup: h2spec $version is missing: it checks HTTP/2; building it into $root" >&2
  PATH=$("$(dirname "$0")/go.sh" "h2spec is built with it"):$PATH
  CGO_ENABLED=0 GOBIN=$root go install "github.com/summerwind/h2spec/cmd/h2spec@$version+incompatible" >&2
fi
echo "$root/h2spec"
