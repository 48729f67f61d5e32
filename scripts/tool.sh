#!/usr/bin/env bash
# Prints the path of a cargo tool in exactly this version, and installs it first where it is missing:
#   scripts/tool.sh cargo-deny 0.20.2 "checks licences and sources"
# A folder for each version, so that a newer one in ~/.cargo/bin changes nothing here and a second clone has nothing to
# build. Unoptimised, since these tools wait for others and building them takes longer than running them.
set -euo pipefail
name=$1 version=$2 why=$3
root=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/tools/$name-$version
if [ ! -x "$root/bin/$name" ]; then
  echo "setup: $name $version is missing: it $why; building it into $root" >&2
  # Not in the clone's target folder: what is left of the build there would be of no use to anything else.
  CARGO_TARGET_DIR=$root/build cargo install "$name" --version "=$version" --locked --debug --quiet --root "$root" >&2
  rm -rf "$root/build"
fi
echo "$root/bin/$name"
