#!/usr/bin/env bash
# Installs what building and running Penstock needs and this machine lacks; says what and why. Debian or Ubuntu.
#   setup.sh [gates|e2e]     what the regression gates or the end-to-end tests need, too
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "root or sudo is needed to run: $*"
  fi
}

install_packages() {
  command -v apt-get >/dev/null || die "this script knows apt-get only; install by hand: $*"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# A command, the package that has it, and why it is needed.
missing=()
need() {
  ! command -v "$1" >/dev/null || return 0
  say "$1 is missing: $3; installing $2"
  missing+=("$2")
}
need cc build-essential "jemalloc, ring and zstd are partly C"
need make build-essential "jemalloc builds with make"
need cmake cmake "builds C parts of the dependencies"
need curl curl "the demo sends its requests with it"
need python3 python3 "the demo prints tables with it"
need redis-server redis-server "tests of limits that gateways share need a real one"
need promtool prometheus "a test asks a real one what dashboards ask"
[ "${1:-}" != e2e ] || need node nodejs "an example of Envoy Gateway's for external authorization runs on it"
[ "${1:-}" != gates ] || need valgrind valgrind "it counts the instructions"
[ ${#missing[@]} -eq 0 ] || install_packages ca-certificates "${missing[@]}"

# Where rustup puts cargo; a shell that was opened before does not look there yet.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
if ! command -v rustup >/dev/null && ! command -v cargo >/dev/null; then
  say "Rust is missing: Penstock is written in it; installing rustup, which brings the version that is pinned"
  if apt-cache show rustup >/dev/null 2>&1; then
    install_packages rustup
  else
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --default-toolchain none --profile minimal
  fi
fi

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
if ! command -v rustup >/dev/null; then
  command -v cargo >/dev/null || die "there is still no Rust; install it from https://rustup.rs and run make again"
  cargo --version | grep -q " $channel " || die "this is $(cargo --version), and $channel is needed: install it, or rustup"
  exit 0
fi
if ! rustup run "$channel" cargo --version >/dev/null 2>&1; then
  say "Rust $channel is missing: rust-toolchain.toml pins it, so that everyone has the same lints; installing it"
  rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt >&2
fi
for component in clippy rustfmt; do
  rustup component list --toolchain "$channel" --installed | grep -q "^$component" && continue
  say "$component is missing: make test needs it; installing it"
  rustup component add "$component" --toolchain "$channel" >&2
done
